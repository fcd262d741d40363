"""Read the sources of one dataset and write its table and receipt."""

from __future__ import annotations

from pathlib import Path

from rim.core import contracts, tables
from rim.core.progress import log
from rim.core.receipts import write_receipt
from rim.data.prepare import prepare
from rim.settings import jobs
from rim.settings.datasets import Dataset


class Job(jobs.Job):
    name: str
    dataset: Dataset
    table: Path


def run(job: Job) -> None:
    table, facts = prepare(job.name, job.dataset)
    tables.write(table, contracts.DATASET, job.table)
    write_receipt(job.table, **facts)
    log(f"prepare_dataset {job.name}: {table.height} rows")
