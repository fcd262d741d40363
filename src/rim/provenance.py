"""Receipts: small JSON files beside heavy artifacts that say what they are made of and what their content is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.files import sha256, write_json


def write_receipt(receipt: Path, artifact: Path, **facts: Any) -> None:
    """Write the receipt of an artifact, last of all, so that it exists only when the artifact is whole."""
    write_json(receipt, {**facts, "sha256": sha256(artifact)})
