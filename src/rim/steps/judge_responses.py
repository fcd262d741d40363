"""Let one judge score the frozen responses to safety and benign prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from rim import tables
from rim.config import Judge
from rim.judges import judge_responses
from rim.provenance import verified


def run(settings: dict[str, Any], responses: Path, output: Path) -> None:
    """`responses` is a receipt."""
    asked = tables.read(verified(responses), tables.RESPONSE).filter(pl.col("benchmark").is_in(settings["benchmarks"]))
    tables.write(judge_responses(settings["name"], Judge(**settings["judge"]), asked), tables.JUDGEMENT, output)
