"""Download a model of the hub once, for all jobs that load it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.core.files import write_json
from rim.core.progress import log
from rim.core.receipts import write_receipt
from rim.models import hub


def run(settings: dict[str, Any], output: Path) -> None:
    """Write the manifest of the download, and its receipt."""
    manifest = hub.fetch(settings["hub"], settings["revision"])
    write_json(output, manifest)
    size = sum(manifest["files"].values())
    log(f"fetch_model {settings['hub']}: {size / 1e9:.2f} GB at {manifest['commit'] or 'a local folder'}")
    write_receipt(output, settings=settings)
