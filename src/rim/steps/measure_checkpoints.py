"""Measure every checkpoint of one fine-tune against its base, and let each answer the harmful evaluation requests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from rim.analysis import checkpoints, texts
from rim.core import contracts, tables
from rim.core.conditions import Condition
from rim.core.precision import significant
from rim.core.progress import log
from rim.core.receipts import verified, write_receipt
from rim.models import loading
from rim.models.benchmarks import Questions
from rim.models.engines import iter_checkpoint_backends, move_off_gpu
from rim.models.families import ModelView
from rim.models.generate import Backend, answer
from rim.settings import jobs
from rim.settings.common import Think
from rim.settings.inference import Inference

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Job(jobs.Job):
    model: jobs.ModelReference  # the base
    inference: Inference
    max_new_tokens: int
    harmful: str
    task: str
    think: Think
    neuron_type: str
    pool_over: str
    dtype: Literal["float32", "own"]
    held_out: bool  # read and ask harmful requests of the evaluation split only
    texts: int
    batch_size: int
    neurons: Path
    base_replies: Path  # a receipt
    datasets: list[Path]  # receipts, of the harmful requests and of the task
    steps: Path  # a receipt
    metrics: Path
    replies: Path


def run(job: Job) -> None:
    safety, task, questions = read_base(job)
    folders = sorted(path for path in verified(job.steps).iterdir() if path.is_dir())
    measured, tokenizer = measure(job, folders, safety, task)
    engines = iter_checkpoint_backends(folders, job.model.dtype, job.inference, tokenizer)
    replies = [ask(job, engine, tokenizer, questions, name) for name, engine in engines]
    metrics = pl.DataFrame(measured, schema=dict(contracts.CHECKPOINTS))
    metrics = metrics.with_columns(significant("estimate", "ci_low", "ci_high"))
    tables.write(metrics, contracts.CHECKPOINTS, job.metrics)
    tables.write(pl.concat(replies), contracts.RESPONSE, job.replies)
    write_receipt(job.replies)


def measure(
    job: Job, folders: list[Path], safety: pl.DataFrame, task: pl.DataFrame
) -> tuple[list[dict[str, Any]], PreTrainedTokenizerBase]:
    """The rows of the table of checkpoints, and the tokenizer. One model at a time is on the GPU."""
    dtype = job.model.dtype if job.dtype == "own" else job.dtype
    base, tokenizer = loading.open_model(job.model.model_copy(update={"dtype": dtype}))
    read = [
        texts.forced_texts(tokenizer, tables.first_by_id(part, job.texts), job.pool_over) for part in (safety, task)
    ]
    neurons = tables.read(job.neurons, contracts.NEURONS)
    reference = checkpoints.ReferenceModel(base, read[0], read[1], neurons, job.neuron_type, job.batch_size)
    measured = []
    move_off_gpu(base)
    for folder in folders:
        tuned = ModelView(loading.load_model(str(folder), dtype))
        measured += [{"step": step_of(folder.name), **row} for row in reference.with_checkpoint(tuned, str(folder))]
        move_off_gpu(tuned)
        del tuned  # before the next is loaded
    return measured, tokenizer


def read_base(job: Job) -> tuple[pl.DataFrame, pl.DataFrame, Questions]:
    """The base's replies to the harmful requests and to the task, and the requests that checkpoints answer."""
    harmful, task = (tables.read(verified(path), contracts.DATASET) for path in job.datasets)
    asked = tables.read(verified(job.base_replies), contracts.RESPONSE)
    every = texts.base_replies(asked, job.harmful, job.think, harmful)
    if job.held_out:
        every = every.filter(pl.col("split") == "evaluation")
    rows = harmful.filter(pl.col("id").is_in(every["id"].to_list()))
    questions = Questions({job.harmful: rows}, {job.harmful: job.max_new_tokens})
    on_task = texts.base_replies(asked, job.task, job.think, task)
    return texts.nonempty_replies(every), texts.nonempty_replies(on_task), questions


def ask(
    job: Job, backend: Backend, tokenizer: PreTrainedTokenizerBase, questions: Questions, folder: str
) -> pl.DataFrame:
    """A checkpoint's replies to the harmful requests."""
    condition = Condition("finetune", step=step_of(folder))
    label = f"measure_checkpoints {job.model.label} {condition}"
    inference = job.inference.model_copy(update={"think": [job.think]})
    replies = answer(backend, tokenizer, job.model, questions, inference, label, condition)
    log(f"{label}: done")
    return replies


def step_of(folder: str) -> int:
    """The optimizer steps of a checkpoint, by which its folder is named."""
    return int(folder.removeprefix("step"))
