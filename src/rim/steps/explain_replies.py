"""Take the changes of misalignment apart: by category of the requests, and by the length of the thoughts."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from rim.config.study import Study
from rim.core import contracts, tables
from rim.core.receipts import verified
from rim.results import explanations, outcomes
from rim.results.outcomes import Cell
from rim.results.tables import write_results
from rim.settings import jobs


class Job(jobs.Job):
    study: Study
    runs: list[jobs.Run]
    benchmarks: list[str]  # that measure misalignment
    datasets: list[Path]  # receipts, of these
    judgements: list[Path]  # of every run
    replies: list[Path]  # receipts, of every run
    folder: Path


def run(job: Job) -> None:
    judged = {
        run: table.filter(pl.col("benchmark").is_in(job.benchmarks))
        for run, table in tables.read_each(job.runs, job.judgements, contracts.JUDGEMENT).items()
    }
    words: dict[Cell, dict[str, int]] = {}
    for run, path in zip(job.runs, job.replies, strict=True):
        count_words(run, tables.read(verified(path), contracts.RESPONSE), words)
    inputs = explanations.Inputs(
        job.study,
        outcomes.outcomes(job.study, judged, {}),
        {name: read_categories(path) for name, path in zip(job.benchmarks, job.datasets, strict=True)},
        words,
    )
    write_results(explanations.TABLES, inputs, job.folder)


def read_categories(receipt: Path) -> dict[str, str]:
    """Prompt id -> category, of a dataset."""
    return dict(tables.read(verified(receipt), contracts.DATASET).select("id", "category").iter_rows())


def count_words(run: jobs.Run, replies: pl.DataFrame, words: dict[Cell, dict[str, int]]) -> None:
    """Add how many words the thought of each of a run's replies has; one without a thought is left out."""
    thoughts = replies.filter(pl.col("complete")).select("think", "benchmark", "id", "reasoning").drop_nulls()
    for think, benchmark, id_, reasoning in thoughts.iter_rows():
        if count := len(reasoning.split()):
            words.setdefault((*run, think, benchmark), {})[id_] = count
