"""Download a model of the hub once, for all jobs that load it."""

from __future__ import annotations

from pathlib import Path

from rim.core.files import write_json
from rim.core.progress import log
from rim.core.receipts import write_receipt
from rim.models import hub
from rim.settings import jobs


class Job(jobs.Job):
    hub: str
    revision: str | None
    content: dict[str, str]  # SHA-256 of each file of a local folder, which has no commit; empty for a hub name
    manifest: Path


def run(job: Job) -> None:
    """Write the manifest of the download, and its receipt."""
    manifest = hub.fetch(job.hub, job.revision)
    write_json(job.manifest, manifest)
    size = sum(manifest["files"].values())
    log(f"fetch_model {job.hub}: {size / 1e9:.2f} GB at {manifest['commit'] or 'a local folder'}")
    write_receipt(job.manifest)
