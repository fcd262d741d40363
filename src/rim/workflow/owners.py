"""Which file a study was run from, in this folder, so that another file with a study of the same name does not overwrite it.

It is written when a run starts, under .snakemake: data that were pulled, or whose folder was moved, belong to no file yet.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from rim.core.files import write_text

FOLDER = Path(".snakemake/studies")


def own(study: str, files: Iterable[Path]) -> None:
    """Write down that the data of a study are made from these configuration files."""
    write_text(FOLDER / study, "".join(f"{name}\n" for name in _names(files)))


def owners(study: str) -> list[str]:
    """The files that the study was last run from, those of them that are still there."""
    try:
        names = (FOLDER / study).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [name for name in names if Path(name).is_file()]


def is_own(study: str, files: Iterable[Path]) -> bool:
    """Whether one of these files is among those that the study was last run from."""
    return not set(owners(study)).isdisjoint(_names(files))


def _names(files: Iterable[Path]) -> list[str]:
    return [os.path.relpath(file) for file in files]
