"""The rows that a dataset will have, as far as that can be known before its job: read now, read by an earlier run, or guessed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from rim.config.study import Study
from rim.core import contracts, tables
from rim.core.errors import UserError
from rim.data.adapters import ADAPTERS, Published
from rim.data.prepare import prepare, split_by_category
from rim.data.prepared import by_share
from rim.settings.datasets import Dataset, Source

ENOUGH = 10_000  # rows of a source of unknown size, so that none are said to lack


@dataclass(frozen=True)
class KnownRows:
    """The rows of a dataset.

    Attributes:
        table: keeps the contract of datasets; of expected rows there are only id, split, kind and category.
        source: "read" now from its sources, from an "earlier" run, whose sources may have been others, or "expected".
    """

    table: pl.DataFrame
    source: Literal["read", "earlier", "expected"]

    @property
    def certain(self) -> bool:
        """Whether the workflow will find just these rows."""
        return self.source == "read"


def known_rows(study: Study, name: str, to_prepare: bool) -> KnownRows:
    """The rows of one dataset. Nothing is loaded from the hub.

    Args:
        to_prepare: its job is to run, so an earlier run's table does not stand in for a file that is gone.

    Raises:
        UserError: a local source cannot be read.
    """
    dataset = study.datasets[name]
    if any(source.dataset for source in dataset.sources):
        return _taken_rows(study, name, to_prepare)
    local = [source for source in dataset.sources if not comes_later(source)]
    gone = any(source.path and not Path(source.path).exists() for source in local)
    if len(local) == len(dataset.sources) and not gone:
        return KnownRows(prepare(name, dataset)[0], "read")
    earlier = _earlier_rows(study, name)
    if earlier is None or to_prepare or not gone:
        for source in local:
            ADAPTERS[source.adapter].load(source)
    return KnownRows(_expected_rows(study, dataset), "expected") if earlier is None else KnownRows(earlier, "earlier")


def _taken_rows(study: Study, name: str, to_prepare: bool) -> KnownRows:
    """The rows of a dataset that takes those of others; which of them a filter leaves out is not known."""
    dataset, parts, certainty = study.datasets[name], [], set[str]()
    for source in dataset.sources:
        if source.dataset is None:
            origin = known_rows(
                _with(study, name, Dataset(sources=[source], calibration=dataset.calibration)), name, to_prepare
            )
            keys = prompt_keys(name, origin.table)
        else:
            origin = known_rows(study, source.dataset, False)
            keys = prompt_keys(source.dataset, origin.table)
        if origin.source == "expected":
            return KnownRows(_expected_rows(study, dataset), "expected")
        table = by_share(origin.table, source.share) if source.share is not None else origin.table
        taken = origin.table.with_columns(key=keys).filter(pl.col("id").is_in(table["id"].to_list()))
        certainty |= {"earlier" if source.without is not None else origin.source}
        parts.append(taken)
    rows = pl.concat(parts).unique("key", keep="first", maintain_order=True).sort("key")
    split = split_by_category(rows["category"].to_list(), rows["key"].to_list(), dataset.calibration)
    table = rows.with_columns(pl.format(f"{name}-{{}}", "key").alias("id"), pl.Series("split", split, pl.String))
    return KnownRows(table.drop("key"), "read" if certainty == {"read"} else "earlier")


def _with(study: Study, name: str, dataset: Dataset) -> Study:
    return study.model_copy(update={"datasets": {**study.datasets, name: dataset}})


def comes_later(source: Source) -> bool:
    """Whether a source is read from the hub, or made by the workflow."""
    adapter = ADAPTERS[source.adapter]
    made = source.rewrite is not None or source.dataset is not None
    return made or ("path" in adapter.takes + adapter.needs and source.path is None)


def _earlier_rows(study: Study, name: str) -> pl.DataFrame | None:
    """The table that an earlier run made, split as the study says now."""
    try:
        table = tables.read(Path(f"data/{study.study}/datasets/{name}.parquet"), contracts.DATASET)
    except UserError:  # there is none, or the workflow makes it again
        return None
    keys = prompt_keys(name, table).to_list()
    split = split_by_category(table["category"].to_list(), keys, study.datasets[name].calibration)
    return table.with_columns(pl.Series("split", split, pl.String))


def prompt_keys(name: str, table: pl.DataFrame) -> pl.Series:
    """What is the same for the same prompts in every dataset."""
    return table["id"].str.strip_prefix(f"{name}-")


def _expected_rows(study: Study, dataset: Dataset) -> pl.DataFrame:
    """As many rows as are published, each of every kind that its source has and in one category."""
    rows = []
    originals = [
        each
        for source in dataset.sources
        for each in (study.sources_of(source.dataset) if source.dataset else [source])
    ]
    for number, source in enumerate(originals):
        adapter = ADAPTERS[source.adapter]
        usual = isinstance(adapter, Published) and source.hub is None and source.split in (None, adapter.split)
        size = adapter.rows if isinstance(adapter, Published) and usual else ENOUGH
        for kind in adapter.kinds(source):
            keys = [f"{number}-{kind}-{row:06}" for row in range(size)]
            split = split_by_category([kind] * size, keys, dataset.calibration)
            rows += [(key, part, kind, kind) for key, part in zip(keys, split, strict=True)]
    return pl.DataFrame(rows, ["id", "split", "kind", "category"], orient="row")
