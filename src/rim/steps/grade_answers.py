"""Grade the frozen replies to maths problems against their references."""

from __future__ import annotations

from pathlib import Path

from rim.core import contracts, tables
from rim.core.receipts import verified
from rim.instruments.grading import grade_answers
from rim.settings import jobs


class Job(jobs.Job):
    benchmarks: list[str]
    replies: Path  # a receipt
    datasets: list[Path]  # receipts, in the order of the benchmarks
    grades: Path


def run(job: Job) -> None:
    references: dict[tuple[str, str], str] = {}
    for benchmark, path in zip(job.benchmarks, job.datasets, strict=True):
        rows = tables.read(verified(path), contracts.DATASET)
        references |= {(benchmark, id_): answer for id_, answer in zip(rows["id"], rows["answer"], strict=True)}
    replies = tables.read(verified(job.replies), contracts.RESPONSE)
    tables.write(grade_answers(replies, references), contracts.GRADE, job.grades)
