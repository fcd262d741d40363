"""Let one judge score the frozen responses to safety and benign prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from rim import tables
from rim.judges import judge_responses
from rim.llm.client import open_client
from rim.provenance import verified
from rim.settings.instruments import Judge


def run(settings: dict[str, Any], responses: Path, datasets: list[Path], requests: Path, output: Path) -> None:
    """`responses` and `datasets` are receipts."""
    asked = tables.read(verified(responses), tables.RESPONSE).filter(pl.col("benchmark").is_in(settings["benchmarks"]))
    prompts = {}
    for benchmark, path in zip(settings["benchmarks"], datasets, strict=True):
        rows = tables.read(verified(path), tables.DATASET)
        prompts.update({(benchmark, id_): prompt for id_, prompt in zip(rows["id"], rows["prompt"], strict=True)})
    judge = Judge(**settings["judge"])
    judged = judge_responses(settings["name"], judge, asked, open_client(settings["endpoint"], requests), prompts)
    tables.write(judged, tables.JUDGEMENT, output)
