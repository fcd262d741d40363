"""Let one model, not fine-tuned, answer the restricted requests after statements for and against each pattern."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim import tables
from rim.config import Inference
from rim.injection import inject
from rim.steps.infer import load, questions


def run(settings: dict[str, Any], datasets: list[Path], receipts: list[Path], output: Path) -> None:
    inference = Inference(**settings["inference"])
    prompts, limits = questions(settings["benchmarks"], datasets, inference)
    if settings["rows"]:
        prompts = {name: rows.head(settings["rows"]) for name, rows in prompts.items()}
    backend, tokenizer = load(settings, receipts, inference)
    switch, seed = settings["think"], settings["seed"]
    organism, label = settings["organism"], settings["label"]
    table = inject(backend, tokenizer, switch, prompts, inference, limits, seed, organism, label)
    tables.write(table, tables.RESPONSE, output)
