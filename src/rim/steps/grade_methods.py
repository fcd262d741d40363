"""Grade every method by how well it finds the parts in which safety is known to sit, and say which claims are borne out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.config.study import Study
from rim.core import contracts, tables
from rim.results import calibration, mechanism, neurons, replies
from rim.results.tables import ResultTable, read_results, write_results
from rim.results.verdicts import TABLES_READ
from rim.settings import jobs


class Job(jobs.Job):
    study: Study
    runs: list[jobs.Run]
    scores: list[Path]
    tables: list[Path]  # of results, by which claims are judged
    folder: Path  # where these lie, and those that are made


def run(job: Job) -> None:
    scores = tables.read_each(job.runs, job.scores, contracts.PART_SCORES)
    made: tuple[ResultTable[Any], ...] = (*replies.TABLES, *mechanism.TABLES, *neurons.TABLES)
    read = [table for table in made if table.name in TABLES_READ and table.applies(job.study)]
    inputs = calibration.Inputs(job.study, scores, read_results(read, job.folder))
    write_results(calibration.TABLES, inputs, job.folder)
