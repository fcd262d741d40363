"""Load one variant of one model and let it answer every benchmark in every think mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim import chat, models, tables
from rim.config import Benchmark, Inference
from rim.generate import TransformersBackend, answer, asked_rows
from rim.provenance import verified


def run(settings: dict[str, Any], datasets: list[Path], receipts: list[Path], output: Path) -> None:
    inference = Inference(**settings["inference"])
    prompts, limits = {}, {}
    for (name, chosen), path in zip(settings["benchmarks"].items(), datasets, strict=True):
        benchmark = Benchmark(**chosen)
        prompts[name] = asked_rows(name, benchmark, tables.read(path, tables.DATASET))
        limits[name] = benchmark.max_new_tokens or inference.max_new_tokens
    location, revision = settings["base"], settings["revision"]
    for receipt in receipts:  # the organism, then the variant
        location, revision = str(models.last_checkpoint(verified(receipt))), None
    tokenizer = models.load_tokenizer(location, revision)
    if settings["think"] == "tags":
        chat.check_think_tags(tokenizer, location)
    backend = TransformersBackend(
        models.load_model(location, settings["dtype"], revision), tokenizer, inference.batch_size
    )
    table = answer(
        backend,
        tokenizer,
        settings["think"],
        prompts,
        inference,
        limits,
        settings["seed"],
        f"infer {settings['label']}",
    )
    tables.write(table, tables.RESPONSE, output)
