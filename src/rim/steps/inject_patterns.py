"""Let one model, not fine-tuned, answer the restricted requests after statements for and against each pattern."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.core import contracts, tables
from rim.core.receipts import write_receipt
from rim.instruments.injection import inject
from rim.models.engines import open_backend
from rim.settings.inference import Inference
from rim.steps.infer import questions


def run(settings: dict[str, Any], datasets: list[Path], checkpoints: list[Path], output: Path) -> None:
    """`datasets` and `checkpoints` are receipts."""
    inference = Inference(**settings["inference"])
    prompts, limits = questions(settings["benchmarks"], datasets, inference)
    prompts = {name: tables.first_by_id(rows, settings["rows"]) for name, rows in prompts.items()}
    backend, tokenizer = open_backend(settings, checkpoints, inference)
    switch, seed = settings["think"], settings["seed"]
    organism, label = settings["organism"], settings["label"]
    table = inject(backend, tokenizer, switch, prompts, inference, limits, seed, organism, label)
    tables.write(table, contracts.RESPONSE, output)
    write_receipt(output, settings=settings)
