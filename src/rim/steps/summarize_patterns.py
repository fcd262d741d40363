"""Turn annotations, rewrites and the replies after injection into tables of results."""

from __future__ import annotations

from pathlib import Path

from rim.core import contracts, tables
from rim.core.receipts import verified
from rim.results import patterns
from rim.results.tables import write_results
from rim.settings import jobs


class Job(jobs.Job):
    annotators: list[str]
    arm_names: list[str]  # training sets
    pairs: list[tuple[str, str]]  # which of them are compared: target, control
    rewrite_names: list[str]
    runs: list[jobs.Run]  # with patterns injected
    annotations: list[Path]  # receipts, as arms and rewrites
    arms: list[Path]
    rewrites: list[Path]
    injected: list[Path]  # judgements of the runs
    plain: list[Path]
    folder: Path


def run(job: Job) -> None:
    keys = [(model, seed) for model, _, seed in job.runs]
    inputs = patterns.Inputs(
        tables.read_each(job.annotators, map(verified, job.annotations), contracts.ANNOTATION),
        tables.read_each(job.arm_names, map(verified, job.arms), contracts.DATASET),
        job.pairs,
        tables.read_each(job.rewrite_names, map(verified, job.rewrites), contracts.REWRITE),
        tables.read_each(keys, job.injected, contracts.JUDGEMENT),
        tables.read_each(keys, job.plain, contracts.JUDGEMENT),
    )
    write_results(patterns.TABLES, inputs, job.folder)
