"""Read the sources of one dataset and write its table and receipt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim import tables
from rim.datasets.prepare import prepare
from rim.progress import say
from rim.provenance import write_receipt
from rim.settings.datasets import Dataset


def run(settings: dict[str, Any], output: Path) -> None:
    name = settings["name"]
    table, facts = prepare(name, Dataset(**settings["dataset"]))
    tables.write(table, tables.DATASET, output)
    write_receipt(output, **facts)
    say(f"prepare_dataset {name}: {table.height} rows")
