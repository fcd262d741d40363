"""A SLURM cluster asked, before the first job, whether it knows the partitions and the account of the profile.

Every job would fail with the same words otherwise, three times each.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from rim.core.errors import UserError


def check(partitions: Path, account: str | None) -> None:
    """Try a submission to every partition of the profile without submitting anything.

    Raises:
        UserError: in sbatch's own words, that it does not know a partition or the account. Other refusals depend on the
            job, and come with it.
    """
    for name, limits in yaml.safe_load(partitions.read_text())["partitions"].items():
        line = ["sbatch", "--test-only", "--time", "1", "--partition", name, "--wrap", "true"]
        line += ["--account", account] if account else []
        line += ["--gpus", "1"] if limits.get("max_gpu") else []
        refused = subprocess.run(line, capture_output=True, text=True, check=False)
        words = refused.stderr.strip()
        if refused.returncode and ("partition" in words.lower() or "account" in words.lower()):
            who = f"partition '{name}'" + (f", account '{account}'" if account else "")
            raise UserError(f"{partitions}: {who}: {' / '.join(words.splitlines())}")
