"""Turn neurons, ablations and checkpoints of all runs into their tables of results."""

from __future__ import annotations

from pathlib import Path

from rim.config import runs
from rim.config.study import Study
from rim.core import contracts, tables
from rim.results import forgetting, neurons
from rim.results.tables import write_results
from rim.settings import jobs


class Job(jobs.Job):
    study: Study
    bases: list[jobs.Run]
    runs: list[jobs.Run]  # fine-tunes whose checkpoints were measured
    neurons: list[Path]  # of the bases, as curves, judgements and grades
    curves: list[Path]
    gradients: list[Path]  # of the bases of the fine-tunes, or none
    metrics: list[Path]  # of the fine-tunes
    judgements: list[Path]
    ablated_judgements: list[Path]
    counterfactual_judgements: list[Path]  # of the bases, or none
    checkpoint_judgements: list[Path]  # of the fine-tunes
    grades: list[Path]
    ablated_grades: list[Path]
    folder: Path


def run(job: Job) -> None:
    judged = tables.read_each(job.bases, job.judgements, contracts.JUDGEMENT)
    parts = [
        judged,
        tables.read_each(job.bases, job.grades, contracts.GRADE),
        tables.read_each(job.bases, job.ablated_judgements, contracts.JUDGEMENT),
        tables.read_each(job.bases, job.ablated_grades, contracts.GRADE),
    ]
    found = neurons.Inputs(
        job.study,
        tables.read_each(job.bases, job.neurons, contracts.NEURONS),
        tables.read_each(job.bases, job.curves, contracts.CURVE),
        {base: [part[base] for part in parts] for base in job.bases},
        judged,
        tables.read_each(
            job.bases if job.counterfactual_judgements else [], job.counterfactual_judgements, contracts.JUDGEMENT
        ),
    )
    write_results(neurons.TABLES, found, job.folder)
    metrics = tables.read_each(job.runs, job.metrics, contracts.CHECKPOINTS)
    gradients = tables.read_each(runs.gradient_runs(job.study), job.gradients, contracts.GRADIENTS)
    for run in job.runs if gradients else []:
        base, lesson = runs.base_run(job.study, run), runs.lesson(job.study, run[1])
        metrics[run] = forgetting.with_gradients(metrics[run], gradients[base], lesson)
    followed = forgetting.Inputs(
        job.study,
        metrics,
        tables.read_each(job.runs, job.checkpoint_judgements, contracts.JUDGEMENT),
        {run: judged[runs.base_run(job.study, run)] for run in job.runs},
    )
    write_results(forgetting.TABLES, followed, job.folder)
