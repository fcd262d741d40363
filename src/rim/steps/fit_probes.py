"""Fit the probes of one variant of one model on its cached activations, and test them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rim.analysis import cache as analysis_cache
from rim.analysis import texts
from rim.analysis.cache import Cache
from rim.analysis.probes import fit_probes
from rim.core import contracts, tables
from rim.core.files import replacing
from rim.core.receipts import verified, write_receipt


def run(
    settings: dict[str, Any],
    cache: Path,
    judgements: Path,
    datasets: list[Path],
    checkpoints: list[Path],
    output: Path,
    scores: Path,
    directions: Path,
) -> None:
    """`cache`, `datasets` and `checkpoints` are receipts."""
    from safetensors.numpy import save_file

    checkpoint = analysis_cache.checkpoint_identity(settings["base"], settings["revision"], checkpoints)
    groups = texts.read_groups(settings, judgements, datasets)
    found, above, vectors = fit_probes(Cache(verified(cache), checkpoint=checkpoint), groups)
    tables.write(found, contracts.PROBES, output)
    tables.write(above, contracts.SCORES, scores)
    with replacing(directions) as temporary:
        save_file({name: vector.astype(np.float64) for name, vector in vectors.items()}, temporary)
    write_receipt(directions)
