"""Find the refusal heads of one variant of one model by their attention shift."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.analysis import cache as analysis_cache
from rim.analysis import texts
from rim.analysis.cache import Cache
from rim.analysis.heads import find_refusal_heads
from rim.core import contracts, tables
from rim.core.receipts import verified


def run(
    settings: dict[str, Any], cache: Path, judgements: Path, datasets: list[Path], checkpoints: list[Path], output: Path
) -> None:
    """`cache`, `datasets` and `checkpoints` are receipts."""
    checkpoint = analysis_cache.checkpoint_identity(settings["base"], settings["revision"], checkpoints)
    groups = texts.read_groups(settings, judgements, datasets)
    opened = Cache(verified(cache), checkpoint=checkpoint)
    tables.write(find_refusal_heads(opened, groups, settings["mechanism"]["head_share"]), contracts.HEADS, output)
