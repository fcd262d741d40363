"""Snakemake's records of jobs, kept under data/ so that DVC versions artifacts and their records as one.

Snakemake decides what to run again from its *records*: for each output, the settings, inputs and code fingerprint of the
job that made it. It keeps them in `.snakemake/metadata`; here that is a link to `data/provenance`, and a clone knows after
`dvc pull` what need not run.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from rim.core.errors import UserError


def keep_records_in_data(directory: Path) -> None:
    """Make `.snakemake/metadata` of a working directory a link to its `data/provenance`.

    Raises:
        UserError: `data.dvc` names artifacts, but their records are not here. Without them Snakemake would take results
            that came with git for its own, or do all the work again.
    """
    records, link = directory / "data/provenance", directory / ".snakemake/metadata"
    if not records.is_dir() and (directory / "data.dvc").exists():
        raise UserError(
            "data.dvc: the artifacts it names are not here; run `dvc pull` to get them, or `mkdir -p data/provenance` to make everything anew"
        )
    records.mkdir(parents=True, exist_ok=True)
    if link.is_dir() and not link.is_symlink():  # left by Snakemake run on another Snakefile here
        shutil.copytree(link, records, dirs_exist_ok=True)
        shutil.rmtree(link)
    if not link.is_symlink():
        link.parent.mkdir(exist_ok=True)
        link.symlink_to("../data/provenance", target_is_directory=True)
