"""Tables of results: how one is declared, written and read as CSV, and what figures and report ask of it.

To add a table, write in the module of its subject a contract and the function that makes it, and put both into the tuple
`TABLES` there: the summary step writes it, and rules, figures and report find it in `rim.results.catalogue`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import polars as pl

from rim.config.study import Study
from rim.core import statistics
from rim.core.contracts import Contract
from rim.core.errors import UserError
from rim.core.files import replacing
from rim.core.tables import check

Inputs = TypeVar("Inputs")
SMALL = 0.001  # numbers of which six decimals are less than four digits
NOISE = 1e-12  # what rounding leaves of nothing
RESULT_KEYS = ("model", "variant", "plain", "positive", "negative", "contrast", "think", "measure", "benchmark", "seed")


@dataclass(frozen=True)
class ResultTable(Generic[Inputs]):
    """One table of results."""

    name: str  # of its file
    subject: str  # category of Snakemake's own report
    contract: Contract
    make: Callable[[Inputs], pl.DataFrame]
    applies: Callable[[Study], bool] = lambda study: True  # whether a study has it


def check_results(table: pl.DataFrame, contract: Contract, path: Path) -> pl.DataFrame:
    """Return a table of results if it keeps its contract; in CSV a number that is not defined (nan) is an empty one.

    Raises:
        UserError: naming the file, the column, what was expected and what was found.
    """
    check(table.with_columns(pl.selectors.float().fill_null(math.nan)), contract, path)
    return table


def rounded(table: pl.DataFrame) -> pl.DataFrame:
    """Numbers rounded so that a CSV file reads well, to six decimals or, where that is finer, four digits; and nan as null."""
    numbers = [pl.col(name) for name, dtype in table.schema.items() if dtype.is_float()]
    return table.with_columns(
        pl.when(each.abs() >= SMALL)
        .then(each.round(6))
        .when(each.abs() < NOISE)
        .then(0.0)
        .otherwise(each.round_sig_figs(4))
        .fill_nan(None)
        for each in numbers
    )


def results_table(contract: Contract, rows: list[dict[str, Any]], *family: str) -> pl.DataFrame:
    """One of the tables of results; `p_holm` is added over the rows that are equal in the columns `family`, if it is given."""
    table = pl.DataFrame(rows, schema=dict(contract))
    return rounded(with_holm(table, *family) if family else table)


def with_holm(table: pl.DataFrame, *family: str) -> pl.DataFrame:
    """The column `p_holm`: p after Holm's correction over the rows that are equal in these columns, or over all rows.

    Of ablations, those of found sets are tested, and random sets are not.
    """
    tested = pl.col("kind") == "found" if "kind" in table.columns else pl.lit(True)
    p = pl.when(tested).then("p").fill_null(math.nan)
    corrected = p.map_batches(lambda p: pl.Series(statistics.holm(p.to_list()), dtype=pl.Float64), pl.Float64)
    return table.with_columns((corrected.over(family) if family else corrected).alias("p_holm"))


def headline(table: pl.DataFrame, *more: str) -> pl.DataFrame:
    """The rows to show first: those over all seeds where there are several seeds, else those of the only one.

    A hub model before fine-tuning has one seed in a study of several.

    Args:
        more: keys of this table beside the usual ones.
    """
    keys = [name for name in (*RESULT_KEYS, *more) if name in table.columns and name != "seed"]
    over_all = pl.col("seed") == "all"
    return table.filter(over_all | ~over_all.any().over(keys))


def is_significant(row: Mapping[str, Any]) -> bool:
    """Whether an effect is significant: its interval excludes none, and so do its corrected test and incomplete replies.

    A table that tests nothing has no column for that; an effect that its table could not test is not significant, nor is
    one that would be gone if incomplete replies counted another way.
    """
    if row["ci_low"] is None or row["ci_low"] <= 0 <= row["ci_high"]:
        return False
    if row.get("bound_low") is not None and row["bound_low"] <= 0 <= row["bound_high"]:
        return False
    return "p_holm" not in row or (row["p_holm"] is not None and bool(row["p_holm"] < 0.05))


def write_results(tables: Iterable[ResultTable[Inputs]], inputs: Inputs, folder: Path) -> dict[str, pl.DataFrame]:
    """Make every table and write it as a CSV file; returns them by name."""
    made = {}
    for each in tables:
        path = folder / f"{each.name}.csv"
        made[each.name] = check_results(each.make(inputs), each.contract, path)
        with replacing(path) as temporary:
            made[each.name].write_csv(temporary)
    return made


def read_results(tables: Iterable[ResultTable[Any]], folder: Path) -> dict[str, pl.DataFrame]:
    """Tables of results in a folder, by name."""
    found = {}
    for each in tables:
        path = folder / f"{each.name}.csv"
        try:
            table = pl.read_csv(path, schema_overrides=dict(each.contract))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise UserError(
                f"{path}: cannot be read ({str(error).splitlines()[0]}); delete it and run the workflow again"
            ) from None
        found[each.name] = check_results(table, each.contract, path)
    return found
