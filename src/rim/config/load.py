"""Read a study from YAML: `load_study` turns a mapping into a `Study`, or names the path of each key that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from yaml.error import MarkedYAMLError

from rim.config import partial
from rim.config.lines import ConfigFiles
from rim.config.messages import one_line
from rim.config.study import Study
from rim.core.errors import UserError


def load_study(mapping: dict[str, Any], files: ConfigFiles | None = None) -> Study:
    """Check a mapping read from YAML, each setting by itself and then all together.

    Args:
        files: where it was read from, for messages.

    Raises:
        UserError: one line per wrong key, each with its file, its line there, and the key's path.
    """
    study, problems, _ = partial.read(mapping)
    if study is None or problems:
        raise UserError("\n".join(_line(files or ConfigFiles(), *problem) for problem in problems))
    return study


def _line(files: ConfigFiles, path: str, message: str) -> str:
    """What is wrong with a key, behind the place where it stands."""
    return one_line(": ".join(filter(None, (files.place(path) or files.name, path, message))))


class _Loader(yaml.SafeLoader):
    """PyYAML's own loader, with which Snakemake reads the file too, so that values are the same; it refuses what that one
    would read in silence as something else than is meant."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping as it stands in the file, `<<` not merged yet; no key may stand twice, of which the last would count."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                problem = f"the key '{key.value}' stands here twice; leave one of them out"
                raise MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add((key.tag, str(key.value)))
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        """A value. `on`, `off`, `yes` and `no` without quotes would be truth values, and modes of thinking are called so; text
        that begins with # would be a comment, and nothing be set."""
        node = super().compose_scalar_node(anchor)
        if node.tag == "tag:yaml.org,2002:null" and not node.value and _rest_of_line(node.start_mark).startswith("#"):
            problem = "YAML reads what begins with # as a comment, and no value; put it in quotes, or write null if that is meant"
            raise MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        if node.tag == "tag:yaml.org,2002:bool" and node.value.lower() not in ("true", "false"):
            meant = str(self.bool_values[node.value.lower()]).lower()
            problem = (
                f'YAML reads {node.value} without quotes as {meant}; write "{node.value}", or {meant} if that is meant'
            )
            raise MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return node


def _rest_of_line(mark: yaml.Mark) -> str:
    return (mark.buffer or "")[mark.pointer :].split("\n", 1)[0].strip()


def read_yaml(path: Path) -> Any:
    """What a YAML file says.

    Raises:
        UserError: it cannot be read, is not YAML, or YAML would read it in silence as something else than is meant.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give the path of a study's YAML file") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}:{line}: is not UTF-8 text (byte {error.object[error.start]:#x}); save the file as UTF-8"
        ) from None
    except MarkedYAMLError as error:
        raise UserError(one_line(f"{path}:{_explain(error)}")) from None
    except yaml.YAMLError as error:  # a character that may not stand in YAML
        raise UserError(f"{path}: is not valid YAML ({' '.join(str(error).split())})") from None
    except RecursionError:
        raise UserError(f"{path}: is nested too deep to be read; give a study's YAML file") from None
    # of Python, about a value that YAML reads as a number or a date: a month of 13, five thousand digits
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise UserError(
            f"{path}: a value is not what it looks like ({' '.join(str(error).split())}); mend it, or quote it if it is text"
        ) from None


def _explain(error: MarkedYAMLError) -> str:
    """The line of a YAML error and what is wrong there."""
    line = error.problem_mark.line + 1 if error.problem_mark else 1
    problem = str(error.problem)
    if type(error) is MarkedYAMLError:  # our own
        return f"{line}: {problem}"
    if "'\\t'" in problem:
        return f"{line}: is not valid YAML (a tab); indent with spaces"
    if problem.startswith("mapping values are not allowed"):
        return f"{line}: is not valid YAML (a second ': '); put text with a colon and a space in it in quotes, or begin a new line"
    if problem.startswith("expected <block end>, but found '<block"):
        return f"{line}: is not valid YAML (the indentation differs from that of the lines above); indent alike what belongs together"
    opened = str(error.context) in ("while parsing a flow mapping", "while parsing a flow sequence")
    if opened or "'<stream end>'" in problem:
        begun = error.context_mark.line + 1 if opened and error.context_mark else line
        return f"{begun}: is not valid YAML (what a bracket opens is not closed); a '}}' or ']' is missing, or a comma"
    context = f"{error.context}, " if error.context else ""
    return f"{line}: is not valid YAML ({context}{problem}); mend this line or the one before it"


def read_mapping(path: Path) -> dict[str, Any]:
    """The keys of a study's YAML file, not checked yet."""
    mapping = read_yaml(path)
    if not isinstance(mapping, dict):
        holds = "is empty" if mapping is None else f"holds a {type(mapping).__name__} and no keys"
        raise UserError(f"{path}: {holds}; give a study's YAML file, as those in workflow/config")
    return mapping


def load_study_file(path: Path) -> Study:
    """Read and check a study's YAML file."""
    return load_study(read_mapping(path), ConfigFiles([path]))
