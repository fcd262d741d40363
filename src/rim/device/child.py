"""One item in this process. Each of its rows is on disk as soon as it is measured."""

from __future__ import annotations

import importlib
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

from rim.core import gpus
from rim.core.errors import UserError
from rim.device import rows
from rim.device.cards import hardware
from rim.device.program import ENVIRONMENT, ITEMS, PACKAGE, Item
from rim.device.rows import Outcome, Row, Skipped


def measure(item: Item, folder: Path) -> Outcome:
    """Run an item to its end, whatever that is, and write what it measured."""
    outcome = Outcome(item.name, "running", {})
    outcome.write(folder)
    try:
        for row in _rows(item, folder):
            outcome.rows.append(row)
            outcome.write(folder)
        outcome.state = "done"
    except Skipped as reason:
        outcome.state, outcome.note = "skipped", str(reason)
    except Exception as error:
        if not isinstance(error, UserError):
            traceback.print_exc()
        first = next(iter(str(error).strip().splitlines()), "")
        outcome.state, outcome.note = (
            "failed",
            first if isinstance(error, UserError) else f"{type(error).__name__}: {first}",
        )
    outcome.write(folder)
    return outcome


def _rows(item: Item, folder: Path) -> Iterator[Row]:
    gpus.claim(1)  # as a job of the workflow does, before torch is imported
    import torch
    from transformers.utils import logging

    logging.set_verbosity_error()
    warnings.simplefilter("ignore", FutureWarning)  # of libraries to each other
    module = importlib.import_module(f"{PACKAGE}.{item.module}")
    if item.name == ENVIRONMENT:
        return module.run("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[no-any-return]
    from rim.device.shapes import Setup

    known = rows.read(folder, ENVIRONMENT)
    assert known is not None
    values = known.values()
    card = hardware(*(float(values[name]) for name in ("memory", "peak", "bandwidth")))  # type: ignore[arg-type]
    return module.run(Setup(str(values["device"]), folder, card, item.shape))  # type: ignore[no-any-return]


def main() -> None:
    """Measure the item of the first argument into the folder of the second."""
    [chosen] = [each for each in ITEMS if each.name == sys.argv[1]]
    measure(chosen, Path(sys.argv[2]))
