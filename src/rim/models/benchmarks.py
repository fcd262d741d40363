"""The rows of its dataset that a benchmark asks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from rim.core import contracts, tables
from rim.core.errors import UserError
from rim.core.progress import log
from rim.core.receipts import verified
from rim.core.sampling import sample
from rim.settings.inference import ASKED, Benchmark


@dataclass(frozen=True)
class Questions:
    """What is asked: the dataset rows of each benchmark, and its bound on the tokens of a reply."""

    rows: dict[str, pl.DataFrame]
    limits: dict[str, int]


def read_questions(
    benchmarks: dict[str, Benchmark], datasets: list[Path], max_new_tokens: int, evaluation_only: bool = False
) -> Questions:
    """What benchmarks ask, from the receipts of their datasets.

    Args:
        max_new_tokens: the bound where a benchmark has none of its own.
        evaluation_only: leave out the calibration split, by which what is ablated was found.

    Raises:
        UserError: a benchmark asks nothing.
    """
    rows = {}
    for (name, benchmark), path in zip(benchmarks.items(), datasets, strict=True):
        dataset = tables.read(verified(path), contracts.DATASET)
        rows[name] = asked_rows(name, benchmark, dataset)
        _log_sample(name, rows[name], dataset.filter(pl.col("kind").is_in(ASKED[benchmark.measure])))
        if evaluation_only:
            rows[name] = rows[name].filter(pl.col("split") == "evaluation")
        if rows[name].is_empty():
            raise UserError(
                f"benchmarks.{name}: asks no rows of the evaluation split, on which ablations are tried; ask more rows, or those of every split"
            )
        if benchmark.answer_format:
            rows[name] = rows[name].with_columns(pl.col("prompt") + f"\n\n{benchmark.answer_format}")
    return Questions(rows, {name: each.max_new_tokens or max_new_tokens for name, each in benchmarks.items()})


def asked_rows(name: str, benchmark: Benchmark, dataset: pl.DataFrame) -> pl.DataFrame:
    """The rows of its dataset that a benchmark asks.

    Raises:
        UserError: there are none.
    """
    rows = dataset.filter(pl.col("kind").is_in(ASKED[benchmark.measure]))
    if benchmark.split != "all":
        rows = rows.filter(pl.col("split") == benchmark.split)
    if rows.is_empty():
        raise UserError(
            f"benchmarks.{name}: dataset {benchmark.dataset} has no {' or '.join(ASKED[benchmark.measure])} rows in split '{benchmark.split}'; choose another dataset, split or measure"
        )
    return sample(rows, benchmark.rows)


def _log_sample(name: str, rows: pl.DataFrame, among: pl.DataFrame) -> None:
    """Say what was taken of a dataset's rows, unless it is all of them."""
    fitted, tested = (rows.filter(pl.col("split") == split).height for split in ("calibration", "evaluation"))
    taken, available = rows["category"].n_unique(), among["category"].n_unique()
    if rows.height < among.height:
        log(
            f"benchmark {name}: {rows.height} of {among.height} rows, {fitted} calibration, {tested} evaluation, "
            f"{taken} of {available} categories"
        )
