"""Fine-tune one model on one arm's rows and keep evenly spaced checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim import models, tables
from rim.errors import UserError
from rim.finetune import finetune
from rim.provenance import verified, write_receipt
from rim.settings.models import Finetune


def run(settings: dict[str, Any], dataset: Path, checkpoints: list[Path], output: Path, steps: Path) -> None:
    """`dataset` and `checkpoints` are receipts."""
    table = verified(dataset)
    rows = tables.read(table, tables.DATASET)
    if settings["rows"]:
        rows = rows.head(settings["rows"])
    if rows["answer"].null_count():
        raise UserError(
            f"{table}: has rows without an answer, so it cannot be trained on; choose another dataset for this variant"
        )
    base, revision = models.located(settings["base"], settings["revision"], checkpoints)
    facts = finetune(
        base,
        revision,
        settings["dtype"],
        settings["think"],
        Finetune(**settings["recipe"]),
        rows.select("prompt", "cot", "answer").to_dicts(),
        settings["seed"],
        output,
        steps,
        settings["label"],
    )
    write_receipt(steps)
    write_receipt(output, settings=settings, **facts)
