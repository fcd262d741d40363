"""Tables of results as CSV files, and what figures and report ask of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from rim.core.contracts import Contract
from rim.core.errors import UserError
from rim.core.files import replacing
from rim.results.contracts import REPLY_TABLES, RESULT_KEYS


def rounded(table: pl.DataFrame) -> pl.DataFrame:
    """Numbers rounded so that a CSV file reads well, and nan as null."""
    return table.with_columns(pl.selectors.float().round(6).fill_nan(None))


def results_table(
    name: str, rows: list[dict[str, Any]], contracts: Mapping[str, Contract] = REPLY_TABLES
) -> pl.DataFrame:
    """One of the tables of results."""
    return rounded(pl.DataFrame(rows, schema=dict(contracts[name])))


def headline(table: pl.DataFrame) -> pl.DataFrame:
    """The rows to show first: those over all seeds where there are several seeds, else those of the only one.

    A hub model before fine-tuning has one seed in a study of several.
    """
    keys = [name for name in RESULT_KEYS if name in table.columns and name != "seed"]
    over_all = pl.col("seed") == "all"
    return table.filter(over_all | ~over_all.any().over(keys))


def is_significant(row: Mapping[str, Any]) -> bool:
    """Whether an effect is significant: its interval excludes none, and so does its corrected test where there is one."""
    if row["ci_low"] is None or row["ci_low"] <= 0 <= row["ci_high"]:
        return False
    corrected = row.get("p_holm")
    return corrected is None or bool(corrected < 0.05)


def write_results(table: pl.DataFrame, folder: Path, name: str) -> None:
    with replacing(folder / f"{name}.csv") as temporary:
        table.write_csv(temporary)


def read_results(folder: Path, contracts: Mapping[str, Contract] = REPLY_TABLES) -> dict[str, pl.DataFrame]:
    """All tables of results of one family in a folder, by name."""
    found = {}
    for name, schema in contracts.items():
        path = folder / f"{name}.csv"
        try:
            found[name] = pl.read_csv(path, schema=dict(schema))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise UserError(
                f"{path}: cannot be read ({str(error).splitlines()[0]}); delete it and run the workflow again"
            ) from None
    return found
