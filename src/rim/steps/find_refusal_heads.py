"""Find the refusal heads of one variant of one model by their attention shift."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim import mechanism, mechanism_tables, tables
from rim.cache import Cache
from rim.heads import find_refusal_heads
from rim.provenance import verified


def run(
    settings: dict[str, Any], cache: Path, judgements: Path, datasets: list[Path], checkpoints: list[Path], output: Path
) -> None:
    """`cache`, `datasets` and `checkpoints` are receipts."""
    checkpoint = mechanism.checkpoint_identity(settings["base"], settings["revision"], checkpoints)
    groups = mechanism.read_groups(settings, judgements, datasets)
    opened = Cache(verified(cache), checkpoint=checkpoint)
    tables.write(
        find_refusal_heads(opened, groups, settings["mechanism"]["head_share"]), mechanism_tables.HEADS, output
    )
