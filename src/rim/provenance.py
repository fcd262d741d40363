"""Where artifacts come from: the records of the jobs that made them, and receipts that prove their content.

Snakemake decides what to run again from its *records*: for each output, the settings, inputs and code fingerprint of the
job that made it. It keeps them in `.snakemake/metadata`; here that is a link to `data/provenance`, so that DVC versions
the artifacts and their records as one, and a clone knows after `dvc pull` what need not run.

A *receipt* is a small JSON file with the hash of a heavy artifact. Downstream jobs depend on the receipt, whose content
changes exactly when the artifact's does, and check the artifact against it when they load it: a truncated or hand-edited
checkpoint is an error and never a silent input.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from rim.errors import UserError
from rim.files import sha256, write_json

SUFFIX = ".receipt.json"


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


def write_receipt(artifact: Path, **facts: Any) -> None:
    """Write the receipt of an artifact X as X.receipt.json, last of all, so that it exists only when X is whole."""
    write_json(artifact.with_name(artifact.name + SUFFIX), {**facts, "sha256": sha256(artifact)})


def verified(receipt: Path) -> Path:
    """The artifact that a receipt describes, after checking it.

    Raises:
        UserError: the artifact is missing or is not the one the receipt describes.
    """
    try:
        expected = json.loads(receipt.read_text())["sha256"]
    except (OSError, ValueError, KeyError):
        raise UserError(f"{receipt}: is not a readable receipt; delete it and run the workflow again") from None
    artifact = receipt.with_name(receipt.name.removesuffix(SUFFIX))
    if not artifact.exists() or sha256(artifact) != expected:
        raise UserError(
            f"{artifact}: is not what its receipt describes; get it back with `dvc checkout --force {artifact}`, or delete both to make it again"
        )
    return artifact
