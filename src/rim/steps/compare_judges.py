"""Compare the judges of a study on the same replies, and sweep the threshold of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.core import contracts
from rim.core import tables as core_tables
from rim.results.judges import TABLES, Inputs
from rim.results.tables import write_results


def run(settings: dict[str, Any], judgements: list[Path], output: Path) -> None:
    judged = {
        (judge, (model, variant, seed)): core_tables.read(path, contracts.JUDGEMENT)
        for (judge, model, variant, seed), path in zip(settings["judgements"], judgements, strict=True)
    }
    restricted = [name for name, measure in settings["benchmarks"].items() if measure == "misalignment"]
    write_results(TABLES, Inputs(judged, restricted), output)
