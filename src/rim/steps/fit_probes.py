"""Fit the probes of one variant of one model on its cached activations, and test them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rim.analysis.cache import Cache, checkpoint_identity
from rim.analysis.probes import fit_probes
from rim.analysis.texts import read_groups
from rim.core import contracts, tables
from rim.core.files import replacing
from rim.core.receipts import verified, write_receipt
from rim.settings import jobs


class Job(jobs.Job):
    model: jobs.ModelReference
    harmful: str
    harmless: str
    cache: Path  # a receipt
    judgements: Path
    datasets: list[Path]  # receipts, of harmful and harmless requests
    probes: Path
    scores: Path
    directions: Path


def run(job: Job) -> None:
    from safetensors.numpy import save_file

    groups = read_groups(job.harmful, job.harmless, job.judgements, job.datasets)
    cache = Cache(verified(job.cache), checkpoint=checkpoint_identity(job.model))
    probes, scores, directions = fit_probes(cache, groups)
    tables.write(probes, contracts.PROBES, job.probes)
    tables.write(scores, contracts.SCORES, job.scores)
    with replacing(job.directions) as temporary:
        save_file({name: vector.astype(np.float64) for name, vector in directions.items()}, temporary)
    write_receipt(job.directions)
