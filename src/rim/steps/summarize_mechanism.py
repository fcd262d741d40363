"""Turn the activation analyses of all runs into their tables of results."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from rim.config.study import Study
from rim.core import contracts, tables
from rim.results import mechanism
from rim.results.tables import write_results
from rim.settings import jobs


class Job(jobs.Job):
    study: Study
    runs: list[jobs.Run]  # with activations
    head_runs: list[jobs.Run]
    ablated_runs: list[jobs.Run]
    probes: list[Path]
    scores: list[Path]
    heads: list[Path]  # of the head runs
    attention: list[Path]  # likewise
    effects: list[Path]  # of the ablated runs, as all that follows
    skewness: list[Path]
    sets: list[Path]
    ablated_scores: list[Path]
    judgements: list[Path]
    ablated_judgements: list[Path]
    grades: list[Path]  # none where no benchmark is of maths
    ablated_grades: list[Path]
    folder: Path


def run(job: Job) -> None:
    def each(runs: list[jobs.Run], paths: list[Path], contract: contracts.Contract) -> mechanism.Parts:
        return {run: [table] for run, table in tables.read_each(runs, paths, contract).items()}

    scores = each(job.runs, job.scores, contracts.SCORES)
    for run, tables_ in each(job.ablated_runs, job.ablated_scores, contracts.SCORES).items():
        scores[run] += tables_
    inputs = mechanism.Inputs(
        job.study,
        each(job.runs, job.probes, contracts.PROBES),
        scores,
        each(job.head_runs, job.heads, contracts.HEADS),
        each(job.head_runs, job.attention, contracts.ATTENTION),
        each(job.ablated_runs, job.effects, contracts.EFFECTS),
        each(job.ablated_runs, job.skewness, contracts.EFFECT_SKEWNESS),
        read_scored(job),
        tables.read_each(job.ablated_runs, job.sets, contracts.ABLATED_HEADS),
    )
    write_results(mechanism.TABLES, inputs, job.folder)


def read_scored(job: Job) -> dict[jobs.Run, list[pl.DataFrame]]:
    """Judgements and grades of the ablated runs, of the models as they are and without heads."""
    scored: dict[jobs.Run, list[pl.DataFrame]] = {run: [] for run in job.ablated_runs}
    for paths, contract in (
        (job.judgements, contracts.JUDGEMENT),
        (job.ablated_judgements, contracts.JUDGEMENT),
        (job.grades, contracts.GRADE),
        (job.ablated_grades, contracts.GRADE),
    ):
        for run, table in tables.read_each(job.ablated_runs, paths, contract).items() if paths else ():
            scored[run].append(table)
    return scored
