"""Train one organism from nothing and save it as an ordinary Hugging Face folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.organism.training import train_organism
from rim.provenance import write_receipt
from rim.settings.models import Organism


def run(settings: dict[str, Any], output: Path) -> None:
    facts = train_organism(Organism(**settings["organism"]), settings["seed"], output, settings["label"])
    write_receipt(output, settings=settings, **facts)
