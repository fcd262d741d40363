"""Fine-tune one model on one arm's rows and keep evenly spaced checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim import tables
from rim.config import Finetune
from rim.errors import UserError
from rim.finetune import finetune
from rim.provenance import verified, write_receipt


def run(settings: dict[str, Any], dataset: Path, receipts: list[Path], output: Path, receipt: Path) -> None:
    rows = (
        tables.read(dataset, tables.DATASET).head(settings["rows"])
        if settings["rows"]
        else tables.read(dataset, tables.DATASET)
    )
    if rows["answer"].null_count():
        raise UserError(
            f"{dataset}: has rows without an answer, so it cannot be trained on; choose another dataset for this variant"
        )
    for base in receipts:
        verified(base)
    facts = finetune(
        settings["base"],
        settings["revision"],
        settings["dtype"],
        settings["think"],
        Finetune(**settings["recipe"]),
        rows.select("prompt", "cot", "answer").to_dicts(),
        settings["seed"],
        output,
        settings["label"],
    )
    write_receipt(receipt, output, settings=settings, **facts)
