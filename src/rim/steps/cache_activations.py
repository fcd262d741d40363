"""Read the activations of one variant of one model over all harmful and harmless requests, in one pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from rim import mechanism, positions, tables
from rim.cache import identity, write_cache
from rim.provenance import verified, write_receipt
from rim.settings.mechanism import Mechanism


def run(settings: dict[str, Any], responses: Path, checkpoints: list[Path], output: Path) -> None:
    """`responses` and `checkpoints` are receipts."""
    wanted = Mechanism(**settings["mechanism"])
    replies = tables.read(verified(responses), tables.RESPONSE).filter(
        pl.col("benchmark").is_in([wanted.harmful, wanted.harmless])
    )
    anatomy, tokenizer = mechanism.open_model(settings, checkpoints)
    templates = positions.templates(tokenizer, settings["think"], list(dict.fromkeys(replies["think"])))
    write_cache(
        anatomy,
        mechanism.texts(replies, templates),
        positions.chosen(templates, wanted.positions),
        wanted.batch_size,
        identity(mechanism.checkpoint_identity(settings["base"], settings["revision"], checkpoints), tokenizer),
        output,
        f"cache_activations {settings['label']}",
        neurons=wanted.neurons,
    )
    write_receipt(output, settings=settings)
