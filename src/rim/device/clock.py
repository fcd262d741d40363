"""Seconds and memory of work on a device, which is waited for before a clock is read."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

ROUNDS = 3


def wait(device: str) -> None:
    """Until the device has done all that it was given."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def seconds(work: Callable[[], Any], device: str) -> float:
    """How long some work takes, once."""
    wait(device)
    begun = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - begun


def medians(tasks: Mapping[str, Callable[[], Any]], device: str, rounds: int = ROUNDS) -> dict[str, float]:
    """Median seconds of every task, in rotating order after a round that warms up."""
    spent: dict[str, list[float]] = {name: [] for name in tasks}
    names = list(tasks)
    for number in range(rounds + 1):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            taken = seconds(tasks[name], device)
            if number:
                spent[name].append(taken)
    return {name: statistics.median(taken) for name, taken in spent.items()}


def peak(work: Callable[[], Any], device: str) -> float | None:
    """Gigabytes of the GPU's memory at the peak of some work, all that is held meanwhile included; None without a GPU."""
    if device != "cuda":
        work()
        return None
    import torch

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    work()
    wait(device)
    return torch.cuda.max_memory_allocated() / 1e9


def free(device: str) -> None:
    """Give back what nothing refers to any more."""
    import gc

    import torch

    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
