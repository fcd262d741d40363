"""Write whole files and folders or nothing: everything is made under a temporary name and renamed when complete."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rim.core.progress import log


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the place of `path`, on any error it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    _remove(temporary)  # of a killed process that had this number
    try:
        yield temporary
        _as_readable_as_any(temporary)
        if path.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    """Delete a file or a folder, if there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def _as_readable_as_any(path: Path) -> None:
    """Give files the mode of any new file: safetensors lets only their owner read them, on a disk that a lab shares."""
    mask = os.umask(0)
    os.umask(mask)
    for file in [path, *path.rglob("*")]:
        if file.is_file():
            file.chmod(0o666 & ~mask)


MARK = "settings.txt"


def working_folder(output: Path, identity: str) -> Path:
    """The folder beside `output` in which a long job keeps what a killed run should go on from.

    It is emptied first when it was left by a job of another identity, and this is said.

    Args:
        identity: all that the result depends on, contents of inputs and code included.
    """
    working = output.with_name(f".{output.name}.working")
    mark = working / MARK
    if working.exists() and (not mark.is_file() or mark.read_text() != identity):
        if mark.is_file():
            log(f"{output}: starts anew, since what an ended run left was made with other settings, inputs or code")
        discard(working)
    write_text(mark, identity)
    return working


def discard(working: Path) -> None:
    """Delete a working folder; nobody goes on from one of which a part is gone."""
    (working / MARK).unlink(missing_ok=True)
    shutil.rmtree(working)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
