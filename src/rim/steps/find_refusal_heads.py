"""Find the refusal heads of one variant of one model by their attention shift, and where its heads look."""

from __future__ import annotations

from pathlib import Path

from rim.analysis.cache import Cache, checkpoint_identity
from rim.analysis.heads import attention, find_refusal_heads
from rim.analysis.texts import read_groups
from rim.core import contracts, tables
from rim.core.receipts import verified
from rim.settings import jobs


class Job(jobs.Job):
    model: jobs.ModelReference
    harmful: str
    harmless: str
    head_share: float
    cache: Path  # a receipt
    judgements: Path
    datasets: list[Path]  # receipts, of harmful and harmless requests
    heads: Path
    attention: Path


def run(job: Job) -> None:
    groups = read_groups(job.harmful, job.harmless, job.judgements, job.datasets)
    cache = Cache(verified(job.cache), checkpoint=checkpoint_identity(job.model))
    heads = find_refusal_heads(cache, groups, job.head_share)
    tables.write(heads, contracts.HEADS, job.heads)
    tables.write(attention(cache, groups, heads), contracts.ATTENTION, job.attention)
