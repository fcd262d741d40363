"""Let one judge score the frozen responses to safety and benign prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from rim.core import contracts, tables
from rim.core.receipts import verified
from rim.instruments.judges import judge_responses
from rim.instruments.llm.client import open_client
from rim.settings.instruments import Judge


def run(settings: dict[str, Any], responses: Path, datasets: list[Path], requests: Path, output: Path) -> None:
    """`responses` and `datasets` are receipts."""
    asked = tables.read(verified(responses), contracts.RESPONSE).filter(
        pl.col("benchmark").is_in(settings["benchmarks"])
    )
    prompts = {}
    for benchmark, path in zip(settings["benchmarks"], datasets, strict=True):
        rows = tables.read(verified(path), contracts.DATASET)
        prompts.update({(benchmark, id_): prompt for id_, prompt in zip(rows["id"], rows["prompt"], strict=True)})
    judge = Judge(**settings["judge"])
    judged = judge_responses(settings["name"], judge, asked, open_client(settings["endpoint"], requests), prompts)
    tables.write(judged, contracts.JUDGEMENT, output)
