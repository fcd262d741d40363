"""Read the activations of one variant of one model over all harmful and harmless requests, in one pass."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from rim.analysis.cache import checkpoint_identity, identity, write_cache
from rim.analysis.texts import probe_texts
from rim.core import contracts, tables
from rim.core.receipts import verified, write_receipt
from rim.models import loading, positions
from rim.settings import jobs


class Job(jobs.Job):
    model: jobs.ModelReference
    harmful: str
    harmless: str
    positions: list[str] | None
    neurons: bool
    batch_size: int
    code: str  # of this step; what a killed run left behind is gone on from only by the same
    replies: Path  # a receipt
    folder: Path


def run(job: Job) -> None:
    asked = pl.col("benchmark").is_in([job.harmful, job.harmless])
    replies = tables.read(verified(job.replies), contracts.RESPONSE).filter(asked)
    view, tokenizer = loading.open_model(job.model)
    templates = positions.templates(tokenizer, job.model.think_switch, list(dict.fromkeys(replies["think"])))
    write_cache(
        view,
        probe_texts(replies, templates),
        positions.chosen(templates, job.positions),
        job.batch_size,
        identity(checkpoint_identity(job.model), tokenizer),
        job.folder,
        f"cache_activations {job.model.label}",
        neurons=job.neurons,
        code=job.code,
    )
    write_receipt(job.folder)
