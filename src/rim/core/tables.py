"""Tables as Parquet files that keep their contract, checked on write and on read."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import TypeVar

import polars as pl

from rim.core.contracts import MAY_BE_NULL, Contract
from rim.core.errors import UserError
from rim.core.files import replacing

Key = TypeVar("Key", bound=Hashable)


def check(table: pl.DataFrame, contract: Contract, where: Path) -> pl.DataFrame:
    """Return `table` if it keeps the contract.

    Raises:
        UserError: naming the file and the first column that does not.
    """
    advice = "delete the file and run the workflow again"
    if dict(table.schema) != dict(contract):
        wrong = (
            [name for name in contract if table.schema.get(name) != contract[name]]
            or sorted(set(table.columns) - set(contract))
            or table.columns
        )
        raise UserError(f"{where}: column '{wrong[0]}' is missing, misplaced or of the wrong type; {advice}")
    for name in contract:
        if name not in MAY_BE_NULL and table[name].null_count():
            raise UserError(f"{where}: column '{name}' has empty values; {advice}")
    return table


def write(table: pl.DataFrame, contract: Contract, path: Path) -> None:
    """Check and write a table, whole or not at all."""
    check(table, contract, path)
    with replacing(path) as temporary:
        table.write_parquet(temporary)


def read(path: Path, contract: Contract) -> pl.DataFrame:
    """Read and check a table."""
    try:
        table = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(
            f"{path}: is not a readable Parquet file ({str(error).splitlines()[0]}); delete it and run the workflow again"
        ) from None
    return check(table, contract, path)


def first_by_id(rows: pl.DataFrame, count: int | None) -> pl.DataFrame:
    """So many rows, the first by their ids, which are hashes: files often are in the order of their categories."""
    return rows.sort("id").head(count) if count else rows


def read_each(keys: Iterable[Key], paths: Iterable[Path], contract: Contract) -> dict[Key, pl.DataFrame]:
    """Read one table per key, in order."""
    return {key: read(path, contract) for key, path in zip(keys, paths, strict=True)}
