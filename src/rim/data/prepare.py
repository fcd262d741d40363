"""Turn the sources of a dataset into one table: de-duplicated across sources, split by category, ids that do not move."""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Any

import polars as pl

from rim.core import contracts
from rim.core.errors import UserError
from rim.data.adapters import ADAPTERS
from rim.settings.datasets import Dataset


def prompt_key(prompt: str) -> str:
    """Two prompts with the same key are the same prompt: case, spacing, Unicode form and a final mark do not matter."""
    folded = " ".join(unicodedata.normalize("NFKC", prompt).casefold().split())
    return hashlib.sha256((folded.rstrip(".!? ") or folded).encode()).hexdigest()[:16]


def split_by_category(categories: list[str], keys: list[str], calibration: float) -> list[str]:
    """Assign each row to "calibration" or "evaluation", the given share of every category to the former.

    Within a category rows are ordered by their key, a hash, so the split needs no seed and does not depend on the order
    of the file.
    """
    split = ["evaluation"] * len(keys)
    members: dict[str, list[int]] = {}
    for i in sorted(range(len(keys)), key=lambda i: keys[i]):
        members.setdefault(categories[i], []).append(i)
    for rows in members.values():
        for i in rows[: round(calibration * len(rows))]:
            split[i] = "calibration"
    return split


def prepare(name: str, dataset: Dataset) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The table of a dataset (contract: tables.DATASET) and its receipt.

    Raises:
        UserError: a source cannot be read, holds something else than text, or nothing is left.
    """
    try:
        return _prepare(name, dataset)
    except (pl.exceptions.PolarsError, UnicodeEncodeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"dataset '{name}': holds a value that is no text ({reason}); mend the file") from None


def _prepare(name: str, dataset: Dataset) -> tuple[pl.DataFrame, dict[str, Any]]:
    kept: dict[str, dict[str, Any]] = {}
    facts = []
    for source in dataset.sources:
        rows, receipt = ADAPTERS[source.adapter].load(source)
        before = len(kept)
        for row in rows:
            kept.setdefault(prompt_key(row["prompt"]), row)
        facts.append(
            {
                "adapter": source.adapter,
                **receipt,
                "kept": len(kept) - before,
                "duplicates": len(rows) - (len(kept) - before),
            }
        )
    if any(source.dataset for source in dataset.sources):  # so that the first rows are a sample of all that is mixed
        kept = dict(sorted(kept.items()))
    if not kept:
        raise UserError(f"dataset '{name}': its sources hold no rows; check them")
    split = split_by_category([row["category"] for row in kept.values()], list(kept), dataset.calibration)
    table = pl.DataFrame(
        [{"id": f"{name}-{key}", "split": part, **row} for (key, row), part in zip(kept.items(), split, strict=True)],
        schema_overrides=dict(contracts.DATASET),
    )
    missing = [pl.lit(None, pl.String).alias(column) for column in contracts.DATASET if column not in table.columns]
    return table.with_columns(missing).select(list(contracts.DATASET)), {
        "dataset": name,
        "rows": table.height,
        "sources": facts,
    }
