"""Let one annotator look for effort-minimizing patterns in training data and in replies before fine-tuning."""

from __future__ import annotations

from pathlib import Path

from rim.core import contracts, tables
from rim.core.receipts import verified, write_receipt
from rim.instruments.annotate import annotate, annotation_table, texts_of_dataset, texts_of_responses
from rim.instruments.llm.client import open_client
from rim.settings import jobs
from rim.settings.instruments import Annotator


class Job(jobs.Job):
    name: str
    annotator: Annotator
    endpoint: jobs.NamedEndpoint | None
    dataset_names: list[str]
    models: list[str]
    datasets: list[Path]  # receipts, in the order of their names
    replies: list[Path]  # receipts, in the order of the models
    requests: Path  # keeps what a language model answered
    table: Path


def run(job: Job) -> None:
    texts = []
    for name, path in zip(job.dataset_names, job.datasets, strict=True):
        texts += texts_of_dataset(name, tables.read(verified(path), contracts.DATASET), job.annotator.rows)
    for model, path in zip(job.models, job.replies, strict=True):
        texts += texts_of_responses(model, tables.read(verified(path), contracts.RESPONSE), job.annotator.rows)
    client = open_client(job.endpoint, job.requests)
    findings = annotate(job.annotator, client, [text["text"] for text in texts], f"annotate {job.name}")
    tables.write(annotation_table(job.name, texts, findings), contracts.ANNOTATION, job.table)
    write_receipt(job.table)
