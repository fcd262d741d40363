"""Read a study from YAML: `load_study` turns a mapping into a `Study`, or names the path of each key that is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rim.config import checks
from rim.config.study import Study
from rim.core.errors import UserError

MESSAGES = {
    "extra_forbidden": "unknown key; workflow/config/README.md lists the known ones",
    "missing": "this key is required",
}


def load_study(mapping: dict[str, Any], name: str = "configuration") -> Study:
    """Check a mapping read from YAML, each setting by itself and then all together.

    Raises:
        UserError: one line per wrong key, each with the key's path.
    """
    try:
        study = Study.model_validate(mapping)
        checks.check(study)
        return study
    except UserError as error:
        raise UserError("\n".join(f"{name}: {line}" for line in str(error).splitlines())) from None
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_url=False):
            path = ".".join(str(part) for part in problem["loc"] if part != "[key]")
            message = MESSAGES.get(problem["type"], problem["msg"])
            if problem["type"] == "float_type" and isinstance(problem["input"], str):
                message += f"; YAML reads {problem['input']!r} as text, write it with a point as in 1.0e-5"
            lines.append(f"{name}: {path}: {message}" if path else f"{name}: {message}")
        raise UserError("\n".join(lines)) from None


def _duplicate_keys(root: Any) -> Iterator[Any]:
    """The keys of a YAML tree that stand in their mapping already."""
    import yaml

    waiting, known = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in known or not isinstance(node, yaml.CollectionNode):
            continue
        known.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
            continue
        seen = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                yield key
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
            waiting.append(value)


def read_yaml(path: Path) -> Any:
    """What a YAML file says.

    Raises:
        UserError: it cannot be read, or a key stands twice in it, of which YAML would take the last.
    """
    import yaml

    try:
        loader = yaml.SafeLoader(path.read_text())
        root = loader.get_single_node()
        for key in _duplicate_keys(root):
            raise UserError(
                f"{path}:{key.start_mark.line + 1}: the key '{key.value}' stands here twice; leave one of them out"
            )
        return loader.construct_document(root)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give the path of a study's YAML file") from None
    except (yaml.YAMLError, TypeError) as error:  # a key that is a list or mapping is a TypeError
        raise UserError(f"{path}: is not valid YAML ({' '.join(str(error).split())})") from None


def load_study_file(path: Path) -> Study:
    """Read and check a study's YAML file."""
    return load_study(read_yaml(path), str(path))
