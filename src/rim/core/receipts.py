"""Receipts: small JSON files that prove the content of heavy artifacts.

Downstream jobs depend on the receipt, whose content changes exactly when the artifact's does, and check the artifact
against it when they load it: a truncated or hand-edited checkpoint is an error and never a silent input. What has no
receipt, receipts among it, is checked by `rim.core.sums`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rim.core.errors import UserError
from rim.core.files import write_json
from rim.core.hashes import sha256

SUFFIX = ".receipt.json"


def receipt_of(artifact: Path) -> Path:
    """Where the receipt of an artifact X lies: X.receipt.json."""
    return artifact.with_name(artifact.name + SUFFIX)


def write_receipt(artifact: Path, **facts: Any) -> None:
    """Write the receipt of an artifact, last of all, so that it exists only when the artifact is whole."""
    write_json(receipt_of(artifact), {**facts, "sha256": sha256(artifact)})


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
    require(artifact, expected)
    return artifact


def require(path: Path, expected: str) -> None:
    """Make sure that a file or folder has the content that was written.

    Args:
        expected: its SHA-256 from then.

    Raises:
        UserError: it is missing, or has another content.
    """
    if not path.exists():
        raise UserError(f"{path}: is missing, though the record of its content is there; {way_back(path)}")
    if (found := sha256(path)) != expected:
        raise UserError(
            f"{path}: checksum mismatch: it was edited, cut off or replaced after it was written (sha256 {expected[:12]} "
            f"expected, {found[:12]} found); {way_back(path)}"
        )


def way_back(path: Path) -> str:
    """How to get a file or folder as it was written: made again, or as git has it (results) or DVC (data with a pointer)."""
    again = "delete it and run the workflow again, which makes it anew"
    if path.parts[:1] == ("results",):
        return f"{again}; if it was committed, `git checkout {path}` (and its data with `dvc pull`) gets it back"
    if _has_pointer(path):
        return f"get it back with `dvc checkout --force {path}`, or {again}"
    return again


def _has_pointer(path: Path) -> bool:
    """Whether a pointer of DVC names the folder data/{study} in which a file lies."""
    folder = Path(*path.parts[:2])
    published = Path("data.dvc")
    in_published = published.is_file() and f"path: {folder}\n" in published.read_text()
    return in_published or folder.with_name(f"{folder.name}.dvc").is_file()
