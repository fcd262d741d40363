"""Train one organism from nothing and save it as an ordinary Hugging Face folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.core.receipts import write_receipt
from rim.settings.models import Organism
from rim.training.organism import train_organism


def run(settings: dict[str, Any], output: Path) -> None:
    facts = train_organism(Organism(**settings["organism"]), settings["seed"], output, settings["label"])
    write_receipt(output, settings=settings, **facts)
