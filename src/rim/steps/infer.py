"""Load one variant of one model and let it answer every benchmark in every think mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from rim.core import contracts, tables
from rim.core.receipts import verified, write_receipt
from rim.models.engines import open_backend
from rim.models.generate import answer, asked_rows
from rim.settings.inference import Benchmark, Inference


def run(settings: dict[str, Any], datasets: list[Path], checkpoints: list[Path], output: Path) -> None:
    """`datasets` and `checkpoints` are receipts."""
    inference = Inference(**settings["inference"])
    prompts, limits = questions(settings["benchmarks"], datasets, inference)
    backend, tokenizer = open_backend(settings, checkpoints, inference)
    table = answer(
        backend, tokenizer, settings["think"], prompts, inference, limits, settings["seed"], settings["label"]
    )
    tables.write(table, contracts.RESPONSE, output)
    write_receipt(output, settings=settings)


def questions(
    benchmarks: dict[str, Any], datasets: list[Path], inference: Inference
) -> tuple[dict[str, pl.DataFrame], dict[str, int]]:
    """The rows that each benchmark asks, from the receipts of its dataset, and its bound on new tokens."""
    prompts, limits = {}, {}
    for (name, chosen), path in zip(benchmarks.items(), datasets, strict=True):
        benchmark = Benchmark(**chosen)
        prompts[name] = asked_rows(name, benchmark, tables.read(verified(path), contracts.DATASET))
        limits[name] = benchmark.max_new_tokens or inference.max_new_tokens
    return prompts, limits
