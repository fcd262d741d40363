"""Job files: what a rule tells its step, as JSON under a name made of its content.

The name is a param of the rule, so a job runs again exactly when something that it is told changes. Nothing of the machine
is told: no threads, memory, temporary folder or profile.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from rim.core.files import write_text

FOLDER = Path(".snakemake/jobs")


def job_file(step: str, fields: dict[str, Any]) -> str:
    """Write a job's file, unless it is there; return its name.

    Args:
        fields: the settings, inputs and outputs of the job, as its step's `Job` names them.
    """
    text = json.dumps(fields, default=_plain, ensure_ascii=False, indent=1)
    path = FOLDER / f"{step}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    if not path.exists():
        write_text(path, text)
    return str(path)


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def named(files: Any) -> dict[str, str | list[str]]:
    """The named inputs or outputs of a Snakemake job, a file or a list of files each, but for receipts it writes."""
    return {
        name: str(value) if isinstance(value, str) else [str(each) for each in value]
        for name, value in files.items()
        if not name.endswith("receipt")
    }
