"""Read the activations of one variant of one model over all harmful and harmless requests, in one pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from rim import mechanism, positions, tables
from rim.cache import identity, write_cache
from rim.config import Mechanism
from rim.provenance import write_receipt


def run(settings: dict[str, Any], responses: Path, receipts: list[Path], output: Path, receipt: Path) -> None:
    wanted = Mechanism(**settings["mechanism"])
    replies = tables.read(responses, tables.RESPONSE).filter(
        pl.col("benchmark").is_in([wanted.harmful, wanted.harmless])
    )
    anatomy, tokenizer = mechanism.open_model(settings, receipts)
    templates = positions.templates(tokenizer, settings["think"], list(dict.fromkeys(replies["think"])))
    write_cache(
        anatomy,
        mechanism.texts(replies, templates),
        positions.chosen(templates, wanted.positions),
        wanted.batch_size,
        identity(mechanism.checkpoint_identity(settings["base"], settings["revision"], receipts), tokenizer),
        output,
        f"cache_activations {settings['label']}",
        neurons=wanted.neurons,
    )
    write_receipt(receipt, output, settings=settings)
