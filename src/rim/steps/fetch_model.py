"""Download a model of the hub once, for all jobs that load it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim import hub
from rim.files import write_json
from rim.progress import say
from rim.provenance import write_receipt


def run(settings: dict[str, Any], output: Path) -> None:
    """Write the manifest of the download, and its receipt."""
    manifest = hub.fetch(settings["hub"], settings["revision"])
    write_json(output, manifest)
    size = sum(manifest["files"].values())
    say(f"fetch_model {settings['hub']}: {size / 1e9:.2f} GB at {manifest['commit'] or 'a local folder'}")
    write_receipt(output, settings=settings)
