"""Tables as Parquet files that keep their contract, checked on write and on read."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import polars as pl

from rim.core.contracts import Contract
from rim.core.errors import UserError
from rim.core.files import replacing

Key = TypeVar("Key", bound=Hashable)


def check(table: pl.DataFrame, contract: Contract, where: Path) -> pl.DataFrame:
    """Return `table` if it keeps the contract.

    Raises:
        UserError: naming the file, the first column that does not, what was expected and what was found.
    """
    for problem in _problems(table, contract):
        raise UserError(f"{where}: {problem}; delete the file and run the workflow again")
    return table


def _problems(table: pl.DataFrame, contract: Contract) -> Iterator[str]:
    """In what a table does not keep its contract."""
    for name in contract:
        if name not in table.columns:
            yield f"column '{name}' is missing; there are: {', '.join(table.columns)}"
    for name in table.columns:
        if name not in contract:
            yield f"column '{name}' is not expected; expected are: {', '.join(contract)}"
    if table.columns != list(contract):
        yield f"its columns should be in the order {', '.join(contract)}, and are {', '.join(table.columns)}"
    for name, column in contract.columns.items():
        values = table[name]
        if values.dtype != column.dtype:
            yield f"column '{name}' should hold {column.dtype.__name__}, and holds {values.dtype}"
        if values.null_count() and not column.optional:
            yield f"column '{name}' should have no empty values, and {values.null_count()} of {len(values)} are empty"
        for value in values.drop_nulls().unique(maintain_order=True) if column.values else ():
            if value not in column.values:
                yield f"column '{name}' should be one of {', '.join(map(repr, column.values))}, and has {value!r}"


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
