"""Receipts: small JSON files that prove the content of heavy artifacts.

Downstream jobs depend on the receipt, whose content changes exactly when the artifact's does, and check the artifact
against it when they load it: a truncated or hand-edited checkpoint is an error and never a silent input.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rim.core.errors import UserError
from rim.core.files import sha256, write_json

SUFFIX = ".receipt.json"


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
            (
                f"{artifact}: checksum mismatch: it was edited or cut off after its receipt was written (sha256 {expected[:12]} "
                f"expected, {sha256(artifact)[:12]} found)"
                if artifact.exists()
                else f"{artifact}: is missing, though its receipt {receipt.name} is there"
            )
            + f"; get it back with `dvc checkout --force {artifact}`, or delete both and run the workflow again"
        )
    return artifact
