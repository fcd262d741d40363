"""Lines that tell how far a long job is, in the job's log, or on stderr where it has none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

EVERY = 2.0  # seconds between lines, and later a fiftieth of the time so far
_log: list[Path] = []
_aloud = True


def log_to(path: Path) -> None:
    """Send every later line to this file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    _log[:] = [path]


def logs() -> list[Path]:
    """The files that lines are sent to."""
    return list(_log)


def configure(paths: list[Path], aloud: bool) -> None:
    """Speak for the process that started this one, or be silent."""
    global _aloud
    _log[:], _aloud = paths, aloud


def log(line: str) -> None:
    """Write one line into the log, or to stderr where there is none."""
    if not _aloud:
        return
    if not _log:
        print(line, file=sys.stderr, flush=True)
    for path in _log:
        with path.open("a") as stream:
            stream.write(line + "\n")


def counter(label: str, total: int, start: int = 0) -> Callable[..., None]:
    """Make a function `report(done, note)` that says every few seconds, and at the end, how far the work is."""
    begun = last = time.monotonic()

    def report(done: int, note: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < max(EVERY, (now - begun) / 50) and done < total:
            return
        last = now
        rate = (done - start) / max(now - begun, 1e-9)
        left = int((total - done) / rate) if rate else 0
        log(f"{label} {done}/{total}, {rate:.1f}/s, {left // 60}:{left % 60:02d} left{', ' + note if note else ''}")

    return report
