"""Fine-tune one model on one arm's rows and keep evenly spaced checkpoints."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import torch

from rim.core import contracts, tables
from rim.core.errors import UserError
from rim.core.receipts import verified, write_receipt
from rim.models import loading
from rim.models.families import Neuron
from rim.settings.models import Finetune, Mitigation
from rim.training import distributed
from rim.training.finetune import finetune


def run(
    settings: dict[str, Any],
    dataset: Path,
    checkpoints: list[Path],
    requests: list[Path],
    neurons: list[Path],
    output: Path,
    steps: Path,
) -> None:
    """All but `neurons`, a table of sets, and the outputs are receipts; a mitigation needs one of `requests` and `neurons`."""
    mitigation = Mitigation(**settings["mitigation"]) if settings["mitigation"] else None
    table = verified(dataset)
    rows = tables.read(table, contracts.DATASET)
    if settings["rows"]:
        rows = rows.head(settings["rows"])
    if rows["answer"].null_count():
        raise UserError(
            f"{table}: has rows without an answer, so it cannot be trained on; choose another dataset for this variant"
        )
    base, revision = loading.resolve_model(settings["base"], settings["revision"], checkpoints)
    recipe = Finetune(**settings["recipe"])
    count = max(1, torch.cuda.device_count())  # of processes, or one over whose GPUs the blocks are spread
    side_by_side = recipe.method == "lora" and recipe.batch_size % count == 0 and not requests
    train = partial(
        finetune,
        base,
        revision,
        settings["dtype"],
        settings["think"],
        recipe,
        rows.select("prompt", "cot", "answer").to_dicts(),
        settings["seed"],
        output,
        steps,
        settings["label"],
        mitigation,
        [prompt for path in requests for prompt in asked(path, settings["mitigation"]["rows"])],
        [place for path in neurons for place in critical(path)],
    )
    facts = distributed.run_distributed(count if side_by_side else 1, train)
    write_receipt(steps)
    write_receipt(output, settings=settings, **facts)


def asked(receipt: Path, count: int) -> list[str]:
    """So many requests of a dataset that should be refused.

    Raises:
        UserError: there are none.
    """
    table = verified(receipt)
    rows = tables.first_by_id(tables.read(table, contracts.DATASET).filter(pl.col("kind") == "safety"), count)
    if rows.is_empty():
        raise UserError(f"{table}: has no safety rows, so there is nothing to refuse; name another mitigation dataset")
    return rows["prompt"].to_list()


def critical(table: Path) -> list[Neuron]:
    """The safety-critical neurons of the base.

    Raises:
        UserError: too few were found, so none are listed.
    """
    found = tables.read(table, contracts.NEURONS).filter(pl.col("kind") == "found")
    if found.is_empty():
        raise UserError(
            f"{table}: lists no safety-critical neurons, so none can be frozen; lower forgetting.frequency, or leave this "
            "variant out for this model"
        )
    return found.select("layer", "expert", "neuron").rows()
