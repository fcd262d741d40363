"""Let one model, not fine-tuned, answer the restricted requests after statements for and against each pattern."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rim.core import contracts, tables
from rim.core.receipts import write_receipt
from rim.instruments.injection import inject
from rim.models.benchmarks import read_questions
from rim.models.engines import open_backend
from rim.settings import jobs
from rim.settings.inference import Benchmark, Inference


class Job(jobs.Job):
    model: jobs.ModelReference
    inference: Inference
    benchmarks: dict[str, Benchmark]
    rows: int | None  # requests of each benchmark
    organism: bool
    datasets: list[Path]  # receipts, in the order of the benchmarks
    replies: Path


def run(job: Job) -> None:
    questions = read_questions(job.benchmarks, job.datasets, job.inference.max_new_tokens)
    asked = {name: tables.first_by_id(rows, job.rows) for name, rows in questions.rows.items()}
    backend, tokenizer = open_backend(job.model, job.inference)
    replies = inject(backend, tokenizer, job.model, replace(questions, rows=asked), job.inference, job.organism)
    tables.write(replies, contracts.RESPONSE, job.replies)
    write_receipt(job.replies)
