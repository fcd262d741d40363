"""Read the activations of one variant of one model over all harmful and harmless requests, in one pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from rim.analysis import cache, texts
from rim.analysis.cache import identity, write_cache
from rim.core import contracts, tables
from rim.core.receipts import verified, write_receipt
from rim.models import loading, positions
from rim.settings.mechanism import Mechanism


def run(settings: dict[str, Any], responses: Path, checkpoints: list[Path], output: Path) -> None:
    """`responses` and `checkpoints` are receipts."""
    wanted = Mechanism(**settings["mechanism"])
    replies = tables.read(verified(responses), contracts.RESPONSE).filter(
        pl.col("benchmark").is_in([wanted.harmful, wanted.harmless])
    )
    anatomy, tokenizer = loading.open_model(settings, checkpoints)
    templates = positions.templates(tokenizer, settings["think"], list(dict.fromkeys(replies["think"])))
    write_cache(
        anatomy,
        texts.probe_texts(replies, templates),
        positions.chosen(templates, wanted.positions),
        wanted.batch_size,
        identity(cache.checkpoint_identity(settings["base"], settings["revision"], checkpoints), tokenizer),
        output,
        f"cache_activations {settings['label']}",
        neurons=wanted.neurons,
    )
    write_receipt(output, settings=settings)
