"""Rewrite the chains of thought of one dataset into its arms, and verify them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from rim.core import contracts, tables
from rim.core.errors import UserError
from rim.core.progress import log
from rim.core.receipts import verified, write_receipt
from rim.instruments.annotate import Finding, annotate
from rim.instruments.llm.client import Client, open_client
from rim.instruments.rewrite import rewrite_arm, rewrite_table, write_literal
from rim.settings import jobs
from rim.settings.instruments import Annotator, Rewrite


class Job(jobs.Job):
    name: str
    rewrite: Rewrite
    endpoint: jobs.NamedEndpoint
    annotator: Annotator
    annotator_endpoint: jobs.NamedEndpoint | None
    dataset: Path  # a receipt
    requests: Path  # keeps what the language model answered, beside what the annotator's did
    table: Path


def run(job: Job) -> None:
    source = verified(job.dataset)
    rows = tables.read(source, contracts.DATASET).filter(pl.col("cot").is_not_null())
    if rows.is_empty():
        raise UserError(f"{source}: holds no chains of thought to rewrite; choose another dataset for this rewrite")
    originals = tables.first_by_id(rows, job.rewrite.rows).to_dicts()
    client = Client(job.endpoint.name, job.endpoint.endpoint, job.requests)
    verify = _verifier(job)
    rewrites = []
    for arm in job.rewrite.arms:
        if arm == "literal":
            rewrites += write_literal(originals, client, job.rewrite.attempts, job.rewrite.demonstrations)
        else:
            bounds = (job.rewrite.min_length_ratio, job.rewrite.max_length_ratio)
            rewrites += rewrite_arm(originals, arm, client, verify, bounds, job.rewrite.attempts)
    table = rewrite_table(rewrites)
    for (arm, accepted), part in table.group_by(["arm", "accepted"], maintain_order=True):
        log(f"rewrite_cot {job.name} {arm}: {part.height} {'accepted' if accepted else 'rejected'}")
    tables.write(table, contracts.REWRITE, job.table)
    write_receipt(job.table)


def _verifier(job: Job) -> Callable[[Sequence[str]], list[list[Finding]]]:
    """What finds patterns in the rewrites."""
    store = job.requests.with_suffix(".annotator.jsonl")
    checker = open_client(job.annotator_endpoint, store)
    return lambda texts: annotate(job.annotator, checker, texts, "annotate the rewrites")
