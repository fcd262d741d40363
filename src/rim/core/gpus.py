"""Which GPUs a job sees: as many as it asked for, and none that another job of the same user has on this machine.

Snakemake counts GPUs and does not say which; a scheduler for clusters hides all others by itself. A job holds a lock per
GPU until its process ends, however it ends.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rim.core.progress import log

if TYPE_CHECKING:
    from filelock import FileLock

VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
_held: list[FileLock] = []


def visible() -> list[str]:
    """The names by which CUDA knows the GPUs that this process may use: numbers where nothing else was set, which vLLM wants."""
    if VISIBLE in os.environ:
        return [name for name in os.environ[VISIBLE].split(",") if name]
    try:
        query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return []


def claim(count: int, every: float = 5.0) -> None:
    """Let this process see `count` of the GPUs only, waiting for others to be given back where too few are free.

    Where it may use no more than these anyway, as on a cluster, nothing is locked; where the GPUs have no known names,
    nothing is changed.
    """
    names = visible()
    if count and not names:
        return
    if len(names) > count > 0:
        names = _lock(names, count, every)
    if VISIBLE not in os.environ:
        os.environ[ORDER] = "PCI_BUS_ID"  # the order in which the driver numbers them
    os.environ[VISIBLE] = ",".join(names[:count])


def _lock(names: list[str], count: int, every: float) -> list[str]:
    """The names of `count` GPUs, locked as soon as so many are free at once."""
    folder = Path(tempfile.gettempdir(), f"rim-gpus-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    waits = False
    while len(locked := _free(folder, names, count)) < count:
        for lock in locked.values():  # two jobs that each have a part would wait for each other
            lock.release()
        if not waits:
            log(f"waits for {count} of {len(names)} GPUs, which other jobs of yours are using")
            waits = True
        time.sleep(every)
    _held.extend(locked.values())
    return list(locked)


def _free(folder: Path, names: list[str], count: int) -> dict[str, FileLock]:
    """Lock up to `count` GPUs that nobody has."""
    from filelock import FileLock, Timeout

    locked: dict[str, FileLock] = {}
    for name in names:
        # Only the kernel's own lock ends with its process, however that ends.
        lock = FileLock(folder / name, blocking=False, fallback_to_soft=False)
        with suppress(Timeout):
            lock.acquire()
            locked[name] = lock
        if len(locked) == count:
            break
    return locked
