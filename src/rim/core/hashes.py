"""Hashes of files and folders; a large file is read once for as long as it stays as it is.

The hash of a file of a megabyte or more is kept in a small file under `.snakemake/hashes` of the working directory,
with the file's size, inode and times of change: as long as these are the same, so is the hash. The last of them is the
system's own, which nobody can set back. A file that was changed a moment ago is not kept, since a second change might
get the same time from a coarse clock. Deleting the folder costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from rim.core.files import write_text

FOLDER = Path(".snakemake/hashes")
SMALLEST = 1 << 20  # bytes; a smaller file is read as fast as its hash is looked up
SETTLED = 2_000_000_000  # nanoseconds without a change after which a hash is kept


def sha256(path: Path) -> str:
    """Hash of a file, or of the names and hashes of all files under a folder.

    Hidden files do not count: Snakemake leaves a time stamp of its own in folders.
    """
    if not path.is_dir():
        return _of_file(path)
    files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    lines = [f"{file.relative_to(path)}:{_of_file(file)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _of_file(path: Path) -> str:
    """Hash of a file, looked up where it is known."""
    if path.stat().st_size < SMALLEST or not FOLDER.parent.is_dir():  # outside a working directory nothing is kept
        return _read(path)
    place = FOLDER / hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]
    before = _state(path)
    known, _, kept = place.read_text().partition(" is ") if place.is_file() else ("", "", "")
    if known == before:
        return kept
    found = _read(path)
    if _state(path) == before and time.time_ns() - path.stat().st_ctime_ns > SETTLED:
        write_text(place, f"{before} is {found}")
    return found


def _state(path: Path) -> str:
    """What changes with a file's content: size in bytes, inode, times of change in nanoseconds."""
    found = path.stat()
    return f"{found.st_size} {found.st_ino} {found.st_mtime_ns} {found.st_ctime_ns}"


def _read(path: Path) -> str:
    """Hash of a file, from its content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
