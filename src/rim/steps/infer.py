"""Load one variant of one model and let it answer every benchmark in every think mode."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from rim import chat, models, tables
from rim.config import Inference
from rim.errors import UserError
from rim.generate import TransformersBackend, answer
from rim.provenance import verified, write_receipt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ASKED = {"misalignment": "safety", "false_refusal": "benign", "accuracy": "math"}  # measure -> kind of rows


def run(settings: dict[str, Any], datasets: list[Path], checkpoints: list[Path], output: Path) -> None:
    """`datasets` and `checkpoints` are receipts."""
    inference = Inference(**settings["inference"])
    prompts, limits = questions(settings["benchmarks"], datasets, inference)
    backend, tokenizer = load(settings, checkpoints, inference)
    table = answer(
        backend, tokenizer, settings["think"], prompts, inference, limits, settings["seed"], settings["label"]
    )
    tables.write(table, tables.RESPONSE, output)
    write_receipt(output, settings=settings)


def questions(
    benchmarks: dict[str, Any], datasets: list[Path], inference: Inference
) -> tuple[dict[str, pl.DataFrame], dict[str, int]]:
    """The rows that each benchmark asks, from the receipts of its dataset, and its bound on new tokens."""
    prompts, limits = {}, {}
    for (name, benchmark), path in zip(benchmarks.items(), datasets, strict=True):
        rows = tables.read(verified(path), tables.DATASET).filter(pl.col("kind") == ASKED[benchmark["measure"]])
        if benchmark["split"] != "all":
            rows = rows.filter(pl.col("split") == benchmark["split"])
        if rows.is_empty():
            raise UserError(
                f"benchmarks.{name}: dataset {benchmark['dataset']} has no {ASKED[benchmark['measure']]} rows in split '{benchmark['split']}'; choose another dataset, split or measure"
            )
        prompts[name] = rows.head(benchmark["rows"]) if benchmark["rows"] else rows
        limits[name] = benchmark["max_new_tokens"] or inference.max_new_tokens
    return prompts, limits


def load(
    settings: dict[str, Any], checkpoints: list[Path], inference: Inference
) -> tuple[TransformersBackend, PreTrainedTokenizerBase]:
    """The model of a job, checked against its receipts, ready to generate."""
    location, revision = settings["base"], settings["revision"]
    for receipt in checkpoints:  # the organism, then the variant
        location, revision = str(verified(receipt)), None
    tokenizer = models.load_tokenizer(location, revision)
    if settings["think"] == "tags":
        chat.check_think_tags(tokenizer, location)
    model = models.load_model(location, settings["dtype"], revision)
    return TransformersBackend(model, tokenizer, inference.batch_size), tokenizer
