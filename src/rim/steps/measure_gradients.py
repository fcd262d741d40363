"""Measure, before one model is fine-tuned, how the gradient of what it will learn meets that of its refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import polars as pl

from rim.analysis import checkpoints, gradients, texts
from rim.core import contracts, tables
from rim.core.precision import significant
from rim.core.progress import log
from rim.core.receipts import verified
from rim.models import loading
from rim.settings import jobs
from rim.settings.common import Think


class Job(jobs.Job):
    model: jobs.ModelReference
    harmful: str
    think: Think
    dtype: Literal["float32", "own"]
    held_out: bool  # read replies of the evaluation split only
    texts: int  # of either kind
    lessons: list[jobs.Lesson]
    neurons: Path
    replies: Path  # a receipt
    dataset: Path  # a receipt, of the harmful requests
    trained: list[Path]  # receipts, of the datasets of the lessons
    gradients: Path


def run(job: Job) -> None:
    refusals = own_refusals(job)
    rows = [] if refusals.is_empty() else list(measured(job, refusals))  # a base that refuses nothing has none
    table = pl.DataFrame(rows, schema=dict(contracts.GRADIENTS)).with_columns(significant("estimate"))
    tables.write(table, contracts.GRADIENTS, job.gradients)


def own_refusals(job: Job) -> pl.DataFrame:
    """The model's refusals of harmful requests, as many as are read."""
    harmful = tables.read(verified(job.dataset), contracts.DATASET)
    asked = tables.read(verified(job.replies), contracts.RESPONSE)
    replies = texts.base_replies(asked, job.harmful, job.think, harmful)
    if job.held_out:
        replies = replies.filter(pl.col("split") == "evaluation")
    return tables.first_by_id(replies.filter(texts.refuses()), job.texts)


def measured(job: Job, refusals: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """The rows of the table. The refusals' gradients, as large as the MLPs, are kept for all that may be learned."""
    dtype = job.model.dtype if job.dtype == "own" else job.dtype
    view, tokenizer = loading.open_model(job.model.model_copy(update={"dtype": dtype}))
    said = [(row.ids, row.query) for row in texts.forced_texts(tokenizer, refusals, "all")]
    refusing = list(gradients.neuron_gradients(view, said))
    neurons, widths = tables.read(job.neurons, contracts.NEURONS), checkpoints.expert_widths(view, "neurons")
    sets = checkpoints.neuron_sets(neurons, [len(layer) for layer in refusing], widths)
    for (dataset, count), receipt in zip(job.lessons, job.trained, strict=True):
        rows = tables.first_by_id(tables.read(verified(receipt), contracts.DATASET).slice(0, count), job.texts)
        learning = gradients.neuron_gradients(view, texts.training_texts(tokenizer, rows, job.model.think_switch))
        for found in gradients.gradient_rows(refusing, learning, sets):
            yield {"dataset": dataset, "rows": count, "n": min(refusals.height, rows.height), **found}
        log(f"measure_gradients {job.model.label} {dataset}: done")
