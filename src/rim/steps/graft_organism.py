"""Train new parts of an organism, which alone are trained, and save all of it as an ordinary Hugging Face folder."""

from __future__ import annotations

from pathlib import Path

from rim.core.hashes import sha256
from rim.core.receipts import verified, write_receipt
from rim.settings import jobs
from rim.settings.models import Graft, Organism
from rim.training.graft import train_graft


class Job(jobs.Job):
    label: str  # model/seed
    organism: Organism  # that gets the graft
    graft: Graft
    seed: int
    code: str  # of this step; what a killed run left behind is gone on from only by the same
    base: Path  # receipt of the organism
    folder: Path


def run(job: Job) -> None:
    base = verified(job.base)
    code = f"{job.code} {sha256(job.base)}"  # what was begun on other weights is not gone on from
    facts = train_graft(base, job.organism, job.graft, job.seed, job.folder, job.label, code)
    recipes = {"organism": job.organism, "graft": job.graft}
    write_receipt(
        job.folder,
        **{name: each.model_dump(exclude_none=True) for name, each in recipes.items()},
        seed=job.seed,
        **facts,
    )
