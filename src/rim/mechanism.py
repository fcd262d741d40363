"""From replies to what the activation analyses compare: the texts to read, and the group each belongs to.

A text is a request as it was rendered, with thinking on followed by the chain of thought that the model itself wrote, so
that positions inside it can be read. Groups follow the judge: a harmful request counts as *refused* or *fulfilled*
(misaligned); what is neither, or incomplete, takes part as harmful but in no refusal probe. Everything that is fitted or
identified uses the calibration split; everything that is tested or intervened on uses the evaluation split.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from rim import models, positions, tables
from rim.activations import Row
from rim.provenance import verified

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rim.families import Anatomy

KEYS = ["benchmark", "id", "think"]


def checkpoint_identity(base: str, revision: str | None, receipts: list[Path]) -> str:
    """What a model's weights are: the hashes in its receipts, or a hub name with its revision."""
    if not receipts:
        return f"{base}@{revision}"
    hashes = [json.loads(receipt.read_text())["sha256"] for receipt in receipts]
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:16]


def open_model(settings: dict[str, Any], receipts: list[Path]) -> tuple[Anatomy, PreTrainedTokenizerBase]:
    """The model a job works on, seen through its family's adapter, and its tokenizer."""
    from rim.families import Anatomy

    location, revision = models.located(settings["base"], settings["revision"], receipts)
    model = models.load_model(location, settings["dtype"], revision)
    return Anatomy(model), models.load_tokenizer(location, revision)


def key(benchmark: str, id_: str, think: str) -> str:
    return f"{benchmark}/{id_}/{think}"


def texts(responses: pl.DataFrame, templates: dict[str, positions.Template]) -> list[Row]:
    """One row per reply: its prompt, its own chain of thought when it thought, and where to look."""
    rows = []
    for reply in responses.iter_rows(named=True):
        closed = reply["response"] is not None
        ids, spans = templates[reply["think"]].thought(reply["prompt"], reply["reasoning"], closed)
        name = key(reply["benchmark"], reply["id"], reply["think"])
        rows.append(Row(name, ids, spans, (0, len(ids)), spans["last"][0]))
    return rows


def groups(judgements: pl.DataFrame, splits: dict[str, pl.DataFrame], harmful: str) -> pl.DataFrame:
    """Row key, benchmark, id, think, split and group (refused, fulfilled, other, harmless) of every judged reply.

    Args:
        splits: the dataset of each benchmark of interest, for the split of its rows.
    """
    split = pl.concat(table.select(pl.lit(name).alias("benchmark"), "id", "split") for name, table in splits.items())
    group = (
        pl.when(pl.col("benchmark") != harmful)
        .then(pl.lit("harmless"))
        .when(pl.col("refusal").fill_null(False))
        .then(pl.lit("refused"))
        .when(pl.col("misaligned").fill_null(False))
        .then(pl.lit("fulfilled"))
        .otherwise(pl.lit("other"))
    )
    return (
        judgements.join(split, on=["benchmark", "id"], how="inner", maintain_order="left")
        .with_columns(group.alias("group"), pl.concat_str(KEYS, separator="/").alias("key"))
        .select("key", *KEYS, "split", "group")
    )


def read_groups(settings: dict[str, Any], judgements: Path, datasets: list[Path]) -> pl.DataFrame:
    """The groups of one run, from the files that a job is given: datasets are those of harmful and harmless."""
    names = (settings["mechanism"]["harmful"], settings["mechanism"]["harmless"])
    splits = {name: tables.read(verified(path), tables.DATASET) for name, path in zip(names, datasets, strict=True)}
    return groups(tables.read(judgements, tables.JUDGEMENT), splits, names[0])
