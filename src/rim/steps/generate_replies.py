"""Load one variant of one model and let it answer every benchmark in every think mode."""

from __future__ import annotations

from pathlib import Path

from rim.core import contracts, tables
from rim.core.receipts import write_receipt
from rim.models.benchmarks import read_questions
from rim.models.engines import open_backend
from rim.models.generate import answer
from rim.settings import jobs
from rim.settings.inference import Benchmark, Inference


class Job(jobs.Job):
    model: jobs.ModelReference
    inference: Inference
    benchmarks: dict[str, Benchmark]
    datasets: list[Path]  # receipts, in the order of the benchmarks
    replies: Path


def run(job: Job) -> None:
    questions = read_questions(job.benchmarks, job.datasets, job.inference.max_new_tokens)
    backend, tokenizer = open_backend(job.model, job.inference)
    replies = answer(backend, tokenizer, job.model, questions, job.inference, job.model.label)
    tables.write(replies, contracts.RESPONSE, job.replies)
    write_receipt(job.replies)
