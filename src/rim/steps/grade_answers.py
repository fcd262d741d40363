"""Grade the frozen responses to maths problems against their references."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.core import contracts, tables
from rim.core.receipts import verified
from rim.instruments.grading import grade_answers


def run(settings: dict[str, Any], responses: Path, datasets: list[Path], output: Path) -> None:
    """`responses` and `datasets` are receipts."""
    references = {}
    for benchmark, path in zip(settings["benchmarks"], datasets, strict=True):
        rows = tables.read(verified(path), contracts.DATASET)
        references.update({(benchmark, id_): answer for id_, answer in zip(rows["id"], rows["answer"], strict=True)})
    tables.write(
        grade_answers(tables.read(verified(responses), contracts.RESPONSE), references), contracts.GRADE, output
    )
