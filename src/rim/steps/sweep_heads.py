"""Measure the effect of every single head on the next token's refusal, exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim import mechanism, mechanism_tables, tables
from rim.provenance import verified
from rim.sweep import effects_table


def run(
    settings: dict[str, Any],
    responses: Path,
    judgements: Path,
    datasets: list[Path],
    checkpoints: list[Path],
    output: Path,
) -> None:
    """`responses`, `datasets` and `checkpoints` are receipts."""
    groups = mechanism.read_groups(settings, judgements, datasets)
    anatomy, tokenizer = mechanism.open_model(settings, checkpoints)
    effects = effects_table(
        anatomy,
        tokenizer,
        tables.read(verified(responses), tables.RESPONSE),
        groups,
        settings["mechanism"]["sweep_prompts"],
        settings["mechanism"]["batch_size"],
        f"sweep_heads {settings['label']}",
    )
    tables.write(effects, mechanism_tables.EFFECTS, output)
