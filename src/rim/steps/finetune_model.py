"""Fine-tune one model on one arm's rows and keep evenly spaced checkpoints."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from rim.analysis.cache import checkpoint_identity
from rim.core import contracts, tables
from rim.core.errors import UserError
from rim.core.progress import log
from rim.core.receipts import verified, write_receipt
from rim.models import loading
from rim.models.families import Neuron
from rim.settings import jobs
from rim.settings.common import identity
from rim.settings.models import Finetune, Mitigation
from rim.training import distributed
from rim.training.finetune import Training, finetune


class Job(jobs.Job):
    model: jobs.ModelReference  # the base
    recipe: Finetune
    rows: int | None  # the first rows only
    mitigation: Mitigation | None
    code: str  # of this step; what a killed run left behind is gone on from only by the same
    dataset: Path  # a receipt
    requests: list[Path]  # receipt of the dataset that a mitigation has the base refuse, if it does
    neurons: list[Path]  # the table of the neurons that a mitigation freezes, if it does
    folder: Path
    steps: Path


def run(job: Job) -> None:
    location, revision = loading.resolve_model(job.model)
    training = Training(
        location,
        revision,
        job.model.dtype,
        job.model.think_switch,
        job.model.seed,
        job.model.label,
        job.recipe,
        read_rows(job),
        job.folder,
        job.steps,
        job.mitigation,
        [prompt for path in job.requests for prompt in read_requests(path, job.mitigation)],
        [neuron for path in job.neurons for neuron in critical_neurons(path, job.model.label)],
        f"{job.code} {checkpoint_identity(job.model)}",
        job.model.prompt,
    )
    facts = distributed.run_distributed(processes(job), partial(finetune, training))
    write_receipt(job.steps)
    write_receipt(job.folder, recipe=identity(job.recipe), seed=job.model.seed, **facts)


def processes(job: Job) -> int:
    """One per GPU where adapters can be trained side by side, else one, over whose GPUs the blocks are spread."""
    import torch

    count = max(1, torch.cuda.device_count())
    side_by_side = job.recipe.method == "lora" and job.recipe.batch_size % count == 0 and not job.requests
    return count if side_by_side else 1


def read_rows(job: Job) -> list[dict[str, Any]]:
    """The rows to train on.

    Raises:
        UserError: some have no answer.
    """
    table = verified(job.dataset)
    rows = tables.read(table, contracts.DATASET)
    if job.rows:
        rows = rows.head(job.rows)
    if rows["answer"].null_count():
        raise UserError(
            f"{table}: has rows without an answer, so it cannot be trained on; choose another dataset for this variant"
        )
    return rows.select("prompt", "cot", "answer").to_dicts()


def read_requests(receipt: Path, mitigation: Mitigation | None) -> list[str]:
    """As many requests of a dataset that should be refused as the mitigation asks for.

    Raises:
        UserError: there are none.
    """
    table = verified(receipt)
    safety = tables.read(table, contracts.DATASET).filter(pl.col("kind") == "safety")
    rows = tables.first_by_id(safety, mitigation.rows if mitigation else None)
    if rows.is_empty():
        raise UserError(f"{table}: has no safety rows, so there is nothing to refuse; name another mitigation dataset")
    return rows["prompt"].to_list()


def critical_neurons(table: Path, label: str) -> list[Neuron]:
    """The safety-critical neurons of the base; none where too few were found, so that the arm is trained as it is."""
    found = tables.read(table, contracts.NEURONS).filter(pl.col("kind") == "found")
    if found.is_empty():
        log(f"finetune {label}: no safety-critical neurons were found, so none are frozen")
    return found.select("layer", "expert", "neuron").rows()
