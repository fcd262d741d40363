"""Is a model there and whole, and what is it: seen from its small files, no weights loaded.

A folder is looked at as it lies. Of a model of the hub the cache is looked at, then the hub is asked whether it may be read,
and for its configuration and chat template, which are kilobytes. A hub that is out of reach is no verdict on a model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from rim.core.errors import UserError
from rim.models import headers, hub
from rim.preflight import endings, templates
from rim.preflight.findings import Finding, Findings, error
from rim.preflight.templates import Template

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TIMEOUT = 5.0  # seconds, for the hub to answer at all
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "tekken.json")
SMALL = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    f"{templates.SEVERAL}/*.jinja",
)
ADAPTER = "adapter_config.json"
T = TypeVar("T")
KINDS = {dict: "mapping", int: "whole number", str: "text"}


@dataclass(frozen=True)
class Named:
    """A model that the configuration names, by the path of the key that does."""

    path: str
    name: str
    revision: str | None
    model: str | None  # its name in the study; None for one that only an instrument asks
    fetch: bool  # whether it has still to be downloaded by a job of its own
    was_folder: bool = False  # when the study was run before
    chat: bool = True  # whether its chat template is used
    weights: bool = True  # whether its weights are; without them it may still be seen what it is


@dataclass(frozen=True)
class Seen:
    """What small files say of a model: its family (`model_type`), the positions it was made for, how it reads a chat, and why
    it cannot be trained, where it would never end a reply."""

    family: str | None = None
    positions: int | None = None
    template: Template | None = None
    tokenizer: Tokenizer | None = None
    endless: str | None = None


def look_at(named: Named) -> tuple[list[Finding] | None, Seen | None]:
    """What is wrong with a model by itself, and what can be seen of it; no findings at all from a hub out of reach."""
    if Path(named.name).is_dir():
        return _looked_into(named, Path(named.name))
    if named.was_folder:
        return [
            error(named.path, f"there is no folder '{named.name}', from which this study was run; copy it here")
        ], None
    if wrong := _no_folder(named.name):
        return [error(named.path, wrong)], None
    return _on_hub(named)


def _no_folder(name: str) -> str | None:
    """What is wrong with the path of a folder that is not there; None for what is a hub name."""
    if address := re.match(r"https?://([^/]+)/?([^/?#]*/?[^/?#]*)", name):
        of_model = address[1].removeprefix("www.") in ("huggingface.co", "hf.co") and "/" in address[2]
        return f"'{name}' is an address; write {address[2] if of_model else 'a name of the hub or a folder'}"
    path = Path(name)
    is_path = name.startswith(("/", "./", "../", "~")) or name.endswith("/") or name.count("/") > 1 or path.exists()
    if not is_path and (path.parent == Path() or not path.parent.is_dir()):
        return None
    if path.is_file():
        return f"'{name}' is a file; give the folder of the model"
    if name.startswith("~"):
        return f"there is no folder '{name}', and ~ is not filled in here; write the whole path"
    beside = [each.name for each in path.parent.iterdir() if each.is_dir()] if path.parent.is_dir() else []
    near = get_close_matches(path.name, beside, 1)
    hint = f"; did you mean '{path.parent / near[0]}'?" if near else "; correct the path, or copy the model there"
    return f"there is no folder '{name}'{hint}"


def _looked_into(named: Named, folder: Path) -> tuple[list[Finding], Seen | None]:
    """What is wrong with a folder, and what its small files say where nothing is; of adapters, those of their base."""
    try:
        if (folder / ADAPTER).is_file():
            return list(_adapters(named.path, folder)), None
        found = list(_folder(named.path, folder, named.weights))
        return found, None if found else _see(folder)
    except UserError as problem:
        return [error(named.path, str(problem))], None


def _adapters(path: str, folder: Path) -> Findings:
    """What a folder lacks to be the adapters of a model."""
    adapter = folder / "adapter_model.safetensors"
    if (folder / "config.json").is_file() and headers.weight_files(folder)[0].is_file() and not adapter.is_file():
        left = f"'{folder}' holds a whole model, and beside it {ADAPTER} of an adapter that is not there, for which it would be taken"
        yield error(path, f"{left}; take that file out of the folder")
        return
    base = headers.read_json(folder / ADAPTER).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        yield error(path, f"{folder / ADAPTER}: names no 'base_model_name_or_path'; copy the model again")
    elif Path(base).is_dir():
        yield from _folder(path, Path(base))
    elif wrong := _no_folder(base):
        yield error(path, f"{folder / ADAPTER}: {wrong}, or correct 'base_model_name_or_path'")
    yield from _whole(path, folder, [adapter])


def _folder(path: str, folder: Path, weights: bool = True) -> Findings:
    """What a folder lacks to be a model, or to be seen as one without its `weights`."""
    if not (folder / "config.json").is_file():
        yield error(path, f"'{folder}' holds no model (there is no config.json in it); give the folder that does")
        return
    try:
        headers.read_json(folder / "config.json")
        files = headers.weight_files(folder)
    except UserError as problem:
        yield error(path, f"'{folder}' is no model: {problem}")
        return
    if not files[0].exists() and (pickled := [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")]):
        advice = "and only safetensors are loaded; save it again with save_pretrained"
        yield error(path, f"'{folder}' has its weights in {pickled[0].name}, {advice}")
    elif weights or any(file.exists() for file in files):
        yield from _whole(path, folder, files)
    if not any((folder / each).is_file() for each in TOKENIZERS):
        yield error(path, f"'{folder}' has no tokenizer (tokenizer.json); copy it there too")


def _whole(path: str, folder: Path, files: list[Path]) -> Findings:
    """What of a model's weights is missing or cut off, in one line."""
    wrong = []
    named = headers.tensors(folder)
    for file in files:
        try:
            if absent := sorted(named.get(file, set()) - headers.shapes(file).keys()):
                raise UserError(
                    f"{file}: lacks '{absent[0]}', which {headers.INDEX} says is in it; copy the model again"
                )
        except UserError as problem:
            wrong.append(str(problem))
    if wrong:
        more = f" ({len(wrong)} of {len(files)} files of weights are not whole)" if len(files) > 1 else ""
        yield error(path, wrong[0] + more)


def _see(folder: Path) -> Seen:
    """What the small files in a folder say.

    Raises:
        UserError: one of them cannot be read.
    """
    config = headers.read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    within = _value(folder, config, "text_config", dict) or {}
    positions = [_value(folder, each, "max_position_embeddings", int) for each in (config, within)]
    family = _value(folder, config, "model_type", str)
    template, tokenizer = templates.read(folder), _tokenizer(folder)
    tokens = tokenizer.get_added_tokens_decoder() if tokenizer else templates.added_tokens(folder)
    endless = endings.never_ends(template, tokens, endings.read_ends(folder)) if template else None
    return Seen(family, positions[0] or positions[1], template, tokenizer, endless)


def _value(folder: Path, config: dict[str, Any], key: str, kind: type) -> Any:
    """The value of a key of the configuration, None where it is absent."""
    if (value := config.get(key)) is None or isinstance(value, kind):
        return value
    wrong = f"'{key}' is {json.dumps(value)[:40]}, which is no {KINDS[kind]}"
    raise UserError(f"{folder / 'config.json'}: {wrong}; copy the model again")


def _tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer in tokenizer.json, with what is added to it; None where there is no such file, but perhaps another kind."""
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as problem:  # tokenizers raises nothing more special
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        raise headers.broken(file, f"is no tokenizer ({reason})") from None
    tokenizer.add_tokens(list(templates.added_tokens(folder).values()))
    return tokenizer


def _on_hub(named: Named) -> tuple[list[Finding] | None, Seen | None]:
    """The same of a model of the hub: the one in the cache, and what the hub says."""
    from huggingface_hub import constants

    cached = headers.location(named.name, named.revision)
    if cached and not named.fetch:
        return _looked_into(named, cached)
    if constants.HF_HUB_OFFLINE:
        if cached is None:
            wrong = f"'{named.name}' is neither a folder here nor in the cache, and HF_HUB_OFFLINE is set"
            advice = (
                "copy the folder there, or download it where there is a network, with HF_HOME on a disk that both see"
            )
            return [error(named.path, f"{wrong}; {advice}")], None
        return _looked_into(named, cached)
    try:
        with hub.explained(named.name, named.revision), TemporaryDirectory() as folder:
            found = list(_download(named, Path(folder)))
            return found, None if found else _see(Path(folder))
    except UserError as problem:
        return [error(named.path, str(problem))], None
    except Exception:  # no verdict on the model; should it matter, the download will say so
        return None, _looked_into(named, cached)[1] if cached else None


def _in_time(ask: Callable[[], T]) -> T:
    """What the hub answers first; given up after `TIMEOUT` on the whole, since a client tries each address of a host for that long.

    Raises:
        TimeoutError: there was no answer; whoever waits for one does not keep the program from ending.
    """
    answer: Future[T] = Future()

    def wait() -> None:
        try:
            answer.set_result(ask())
        except Exception as problem:
            answer.set_exception(problem)

    Thread(target=wait, daemon=True).start()
    return answer.result(TIMEOUT)


def _download(named: Named, folder: Path) -> Findings:
    """Get a model's small files; it may be that it has no weights that are loaded here."""
    from huggingface_hub import HfApi

    about = _in_time(lambda: HfApi().model_info(named.name, revision=named.revision, timeout=TIMEOUT))
    HfApi().auth_check(named.name)
    files = {each.rfilename for each in about.siblings or []}
    for name in (name for name in files if any(fnmatch(name, each) for each in SMALL)):
        HfApi().hf_hub_download(named.name, name, revision=about.sha, local_dir=folder, etag_timeout=TIMEOUT)
    if not any(name.endswith(".safetensors") for name in files):
        yield error(
            named.path, f"'{named.name}' has no weights in safetensors, and nothing else is loaded; choose another"
        )
