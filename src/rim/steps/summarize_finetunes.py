"""List the fine-tunes of a study with what their receipts say: rows, rows that were cut, steps and loss."""

from __future__ import annotations

import json
from pathlib import Path

from rim.results import finetunes
from rim.results.tables import write_results
from rim.settings import jobs


class Job(jobs.Job):
    runs: list[jobs.Run]
    receipts: list[Path]  # of every fine-tune
    folder: Path


def run(job: Job) -> None:
    facts = {run: json.loads(path.read_text()) for run, path in zip(job.runs, job.receipts, strict=True)}
    write_results(finetunes.TABLES, finetunes.Inputs(facts), job.folder)
