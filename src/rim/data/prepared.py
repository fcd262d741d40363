"""Which rows of a prepared dataset another one takes: a share of them, or those without effort-minimizing patterns."""

from __future__ import annotations

import polars as pl

from rim.core.contracts import TRAINING_DATA
from rim.core.errors import UserError


def by_share(rows: pl.DataFrame, share: float) -> pl.DataFrame:
    """The share of the rows that come first by the hashes of their prompts, of each category in proportion, in the order of the table.

    Of two datasets with the same prompts and categories the same are taken, and a smaller share is part of a larger one.
    """
    hashed = pl.col("id").str.split("-").list.last()
    place = (hashed.rank("ordinal").over("category") - 0.5) / pl.len().over("category")
    ordered = rows.with_columns(_place=place, _hash=hashed).sort("_place", "_hash")
    taken = ordered["id"].head(round(share * rows.height))
    return rows.filter(pl.col("id").is_in(taken.to_list()))


def without_patterns(rows: pl.DataFrame, annotations: pl.DataFrame, dataset: str) -> pl.DataFrame:
    """Rows whose chain of thought shows no pattern, nor could not be annotated; those without one are kept.

    Raises:
        UserError: some have a chain of thought that nobody looked at.
    """
    own = annotations.filter((pl.col("origin") == TRAINING_DATA) & (pl.col("benchmark") == dataset))
    seen = set(own["id"])
    if unseen := rows.filter(pl.col("cot").is_not_null() & ~pl.col("id").is_in(seen)).height:
        raise UserError(
            f"dataset '{dataset}': {unseen} of its rows were not annotated; let the annotator read all of them"
        )
    minimizing = pl.col("pattern").is_not_null() & (pl.col("pattern") != "other")
    shown = set(own.filter(minimizing | pl.col("error").is_not_null())["id"])
    return rows.filter(~pl.col("id").is_in(shown))
