"""Grade every method by how well it finds the parts in which safety is known to sit."""

from __future__ import annotations

from pathlib import Path

from rim.config.study import Study
from rim.core import contracts, tables
from rim.results import calibration
from rim.results.tables import write_results
from rim.settings import jobs


class Job(jobs.Job):
    study: Study
    runs: list[jobs.Run]
    scores: list[Path]
    folder: Path


def run(job: Job) -> None:
    scores = tables.read_each(job.runs, job.scores, contracts.PART_SCORES)
    write_results(calibration.TABLES, calibration.Inputs(job.study, scores), job.folder)
