"""Measure the effect of every single head on the next token's refusal, exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.analysis import texts
from rim.analysis.head_effects import effects_table
from rim.core import contracts, tables
from rim.core.receipts import verified
from rim.models import loading


def run(
    settings: dict[str, Any],
    responses: Path,
    judgements: Path,
    datasets: list[Path],
    checkpoints: list[Path],
    output: Path,
) -> None:
    """`responses`, `datasets` and `checkpoints` are receipts."""
    groups = texts.read_groups(settings, judgements, datasets)
    anatomy, tokenizer = loading.open_model(settings, checkpoints)
    effects = effects_table(
        anatomy,
        tokenizer,
        tables.read(verified(responses), contracts.RESPONSE),
        groups,
        settings["mechanism"]["sweep_prompts"],
        settings["mechanism"]["batch_size"],
        f"sweep_heads {settings['label']}",
    )
    tables.write(effects, contracts.EFFECTS, output)
