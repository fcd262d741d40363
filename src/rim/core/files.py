"""Write whole files and folders or nothing: everything is made under a temporary name and renamed when complete."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the place of `path`, on any error it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _as_readable_as_any(temporary)
        if path.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


def _as_readable_as_any(path: Path) -> None:
    """Give files the mode of any new file: safetensors lets only their owner read them, on a disk that a lab shares."""
    mask = os.umask(0)
    os.umask(mask)
    for file in [path, *path.rglob("*")]:
        if file.is_file():
            file.chmod(0o666 & ~mask)


def working_folder(output: Path, settings: str) -> Path:
    """The folder beside `output` in which a long job keeps what a killed run should go on from.

    It is emptied first when it was left by a job with other settings.
    """
    working = output.with_name(f".{output.name}.working")
    mark = working / "settings.txt"
    if working.exists() and (not mark.is_file() or mark.read_text() != settings):
        shutil.rmtree(working)
    write_text(mark, settings)
    return working


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
