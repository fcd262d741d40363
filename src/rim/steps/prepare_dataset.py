"""Read the sources of one dataset and write its table and receipt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.core import contracts, tables
from rim.core.progress import log
from rim.core.receipts import write_receipt
from rim.data.prepare import prepare
from rim.settings.datasets import Dataset


def run(settings: dict[str, Any], output: Path) -> None:
    name = settings["name"]
    table, facts = prepare(name, Dataset(**settings["dataset"]))
    tables.write(table, contracts.DATASET, output)
    write_receipt(output, **facts)
    log(f"prepare_dataset {name}: {table.height} rows")
