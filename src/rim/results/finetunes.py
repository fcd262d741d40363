"""The fine-tunes as they were trained: how many rows, how many of them were cut, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from polars import DataFrame

from rim.config import runs
from rim.config.study import Study
from rim.core.contracts import INTEGER, NUMBER, RUN, Contract
from rim.results.tables import ResultTable, results_table
from rim.settings.jobs import Run

FINETUNES = Contract(
    **RUN,
    max_length=INTEGER,  # tokens of a row that are trained on
    rows=INTEGER,
    cut=INTEGER,  # rows that are longer, and lost their end
    cut_before_answer=INTEGER,  # of these, those that lost all of their answer
    steps=INTEGER,
    train_loss=NUMBER,  # mean over all steps
)


def finetunes(receipts: Mapping[Run, Mapping[str, Any]]) -> DataFrame:
    """A row for every fine-tune, from its receipt."""
    rows = []
    for (model, variant, seed), receipt in receipts.items():
        keys = {"model": model, "variant": variant, "seed": seed, "max_length": receipt["recipe"]["max_length"]}
        rows.append({name: {**receipt, **keys}[name] for name in FINETUNES})
    return results_table(FINETUNES, rows)


@dataclass(frozen=True)
class Inputs:
    """What the step `summarize_finetunes` has read."""

    receipts: Mapping[Run, Mapping[str, Any]]


def _applies(study: Study) -> bool:
    return bool(runs.tuned_runs(study))


TABLES: tuple[ResultTable[Inputs], ...] = (
    ResultTable("finetunes", "fine-tuning", FINETUNES, lambda given: finetunes(given.receipts), _applies),
)
