"""The items in their order, each in a process of its own, within a time; what is finished is not done again.

A process of its own gives an item a memory peak of its own, and lets the others go on where it crashes, runs out of memory or
hangs. An item is repeated when it has not finished, or when the machine, its software or the code of the item is another:
`items/NAME.json` in the program's folder holds all of that, `items/NAME.log` what the item printed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rim.core.errors import UserError
from rim.device import page, rows
from rim.device.items.environment import MACHINE
from rim.device.rows import MODELS, SCRATCH, Outcome
from rim.workflow.fingerprint import fingerprint

PACKAGE = "rim.device.items"
ENVIRONMENT = "environment"
LEAST = 20.0  # seconds in which an item can measure anything
OFFLINE = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True)
class Item:
    """A module of `PACKAGE`, what the page calls it, the minutes that it may take, and the model that it is about.

    With `hidden`, the item sees no GPU.
    """

    name: str
    title: str
    module: str
    minutes: float
    shape: str = ""
    hidden: bool = False


ITEMS = (
    Item(ENVIRONMENT, "The machine", "environment", 2),
    Item("correctness", "The card against the CPU", "correctness", 4),
    Item("study", "A whole study, on the card and on the CPU", "study", 6),
    Item("reading_4b", "Reading texts with Qwen3-4B's shape", "reading", 4, "4b"),
    Item("training_4b", "Fine-tuning Qwen3-4B's shape", "training", 4, "4b"),
    Item("plain_4b", "vLLM by itself, Qwen3-4B's shape", "plain_engine", 4, "4b"),
    Item("ours_4b", "Our engine, Qwen3-4B's shape", "our_engine", 5, "4b"),
    Item("plain_8b", "vLLM by itself, Qwen3-8B's shape", "plain_engine", 4, "8b"),
    Item("ours_8b", "Our engine, Qwen3-8B's shape", "our_engine", 5, "8b"),
    Item("mixture", "A mixture of the shape of Qwen3-30B-A3B", "mixture", 5, "mixture"),
    Item("organism_cpu", "An organism on the CPU", "organism", 3, hidden=True),
    Item("organism", "An organism on the card", "organism", 3),
    Item("faults", "Faults", "faults", 3),
    Item("plain_mixture", "vLLM by itself, the mixture", "plain_engine", 6, "mixture"),
    Item("ours_mixture", "Our engine, the mixture", "our_engine", 6, "mixture"),
)
Say = Callable[[str], None]


def run(folder: Path, minutes: float, say: Say, items: Sequence[Item] = ITEMS) -> list[Outcome]:
    """Run the items that are not finished; the JSON and the page are written anew after each of them.

    Raises:
        UserError: not even the machine could be looked at.
    """
    end = time.monotonic() + 60 * minutes
    folder = folder.resolve()
    outcomes: list[Outcome] = []
    machine: dict[str, Any] = {}
    for item in items:
        outcome = _one(item, folder, machine, end - time.monotonic(), say)
        outcomes.append(outcome)
        page.write(folder, {each.name: each.title for each in items}, outcomes)
        if item.name == ENVIRONMENT:
            if outcome.state != "done":
                raise UserError(f"the machine cannot be looked at: {outcome.note}; {_log(folder, item)} says more")
            machine = {name: value for name, value in outcome.values().items() if name in MACHINE}
    if all(each.finished or each.state == "skipped" for each in outcomes):
        shutil.rmtree(folder / MODELS, ignore_errors=True)  # which only items need that are still to run
    return outcomes


def _one(item: Item, folder: Path, machine: dict[str, Any], left: float, say: Say) -> Outcome:
    """An item as it was left by an earlier run, or run now."""
    identity = {**machine, "code": fingerprint(item.module, PACKAGE)}
    kept = rows.read(folder, item.name) if item.name != ENVIRONMENT else None
    if kept and kept.finished and kept.identity == identity:
        say(f"{item.title}: kept from an earlier run ({kept.state})")
        return kept
    if left < LEAST and item.name != ENVIRONMENT:
        say(f"{item.title}: no time is left")
        return kept if kept and kept.identity == identity else Outcome(item.name, "out of time", identity)
    say(f"{item.title} …")
    limit = min(left, 60 * item.minutes)
    begun = time.monotonic()
    status = _process(item, folder, limit)
    outcome = rows.read(folder, item.name) or Outcome(item.name, "running", {})
    outcome.identity, outcome.seconds = identity, round(time.monotonic() - begun, 1)
    if status is None:
        outcome.state = "too slow" if limit == 60 * item.minutes else "out of time"
        outcome.note = f"ended after {limit:.0f} s"
    elif outcome.state == "running":
        outcome.state, outcome.note = "failed", _last_words(status, _log(folder, item))
    outcome.write(folder)
    say(f"{item.title}: {outcome.state} after {outcome.seconds:.0f} s{f' ({outcome.note})' if outcome.note else ''}")
    return outcome


def command(item: Item, folder: Path) -> list[str]:
    """What measures one item."""
    return [sys.executable, "-c", "from rim.device.child import main; main()", item.name, str(folder)]


def _log(folder: Path, item: Item) -> Path:
    return rows.place(folder, item.name).with_suffix(".log")


def _process(item: Item, folder: Path, limit: float) -> int | None:
    """The exit status of an item's process, None of one that had to be ended, with all that it had started."""
    rows.Outcome(item.name, "running", {}).write(folder)
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if item.hidden else {}
    with _log(folder, item).open("w") as log:
        process = subprocess.Popen(
            command(item, folder),
            env={**os.environ, **OFFLINE, **hidden},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(process)
            shutil.rmtree(folder / SCRATCH, ignore_errors=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of a process and of those that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_words(status: int, log: Path) -> str:
    """Why a process ended before its item did."""
    said = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    how = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
    return f"{how}: {said[-1]}" if said else how
