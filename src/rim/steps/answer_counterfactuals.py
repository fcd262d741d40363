"""Let a model before fine-tuning answer the harmful requests with malicious intent spelled out, and with a placebo in its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from rim.analysis import texts
from rim.core import contracts, tables
from rim.core.conditions import Condition
from rim.core.receipts import write_receipt
from rim.models.benchmarks import Questions, read_questions
from rim.models.engines import open_backend
from rim.models.generate import answer
from rim.settings import jobs
from rim.settings.inference import Benchmark, Inference


class Job(jobs.Job):
    model: jobs.ModelReference
    inference: Inference
    benchmarks: dict[str, Benchmark]  # the one of harmful requests
    datasets: list[Path]  # its receipt
    replies: Path


def run(job: Job) -> None:
    questions = read_questions(job.benchmarks, job.datasets, job.inference.max_new_tokens)
    backend, tokenizer = open_backend(job.model, job.inference)
    replies = []
    for number, added in enumerate(texts.ADDED):
        label = f"answer_counterfactuals {job.model.label} {added}"
        asked = reworded(questions, number)
        replies.append(answer(backend, tokenizer, job.model, asked, job.inference, label, Condition("add", added)))
    tables.write(pl.concat(replies), contracts.RESPONSE, job.replies)
    write_receipt(job.replies)


def reworded(questions: Questions, added: int) -> Questions:
    """The same questions with one of `texts.ADDED` in every prompt."""
    rows = {}
    for name, asked in questions.rows.items():
        prompts = [texts.wordings(row["prompt"], row)[added] for row in asked.iter_rows(named=True)]
        rows[name] = asked.with_columns(pl.Series("prompt", prompts, pl.String))
    return replace(questions, rows=rows)
