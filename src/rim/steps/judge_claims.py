"""Say in how many organisms each claim of the paper is borne out, from the other tables of results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.config.study import Study
from rim.results import mechanism, neurons, patterns, replies, verdicts
from rim.results.tables import ResultTable, read_results, write_results
from rim.settings import jobs


class Job(jobs.Job):
    study: Study
    tables: list[Path]  # of results, by which claims are judged
    folder: Path  # where these lie, and the one that is made


def run(job: Job) -> None:
    made: tuple[ResultTable[Any], ...] = (*replies.TABLES, *patterns.TABLES, *mechanism.TABLES, *neurons.TABLES)
    read = [table for table in made if table.name in verdicts.TABLES_READ and table.applies(job.study)]
    write_results(verdicts.TABLES, verdicts.Inputs(job.study, read_results(read, job.folder)), job.folder)
