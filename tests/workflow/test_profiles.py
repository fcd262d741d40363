"""The profile for a workstation, and what the one for SLURM says without a cluster; test_slurm.py tries that one on a real one."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.workflow.conftest import command, configured, environment, shipped, snakemake

WORKSTATION = str(ROOT / "profiles/workstation")


def gpus(directory: Path, *options: str) -> dict[str, str]:
    """GPUs that `generate_replies` of each of the paper's models gets in a dry run."""
    done = snakemake(directory, "--dry-run", "--configfile", shipped("paper"), *options)
    block = r"^rule generate_replies:\n(?:    .*\n)*?    wildcards: model=(\w+),.*\n(?:    threads: .*\n)?    resources: .*gpu=(\d+)"
    return dict(re.findall(block, done.stdout + done.stderr, re.M))


def test_jobs_get_as_many_gpus_as_they_need_and_no_more_than_there_are(tmp_path: Path) -> None:
    asked = gpus(tmp_path)
    assert len(asked) == 10
    assert (asked["qwen3_4b"], asked["qwen3_32b"], asked["mixtral"]) == ("1", "1", "2")
    assert set(gpus(tmp_path, "--profile", WORKSTATION).values()) == {"1"}


def test_a_job_that_fails_is_told_last_and_other_jobs_go_on(tmp_path: Path) -> None:
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/torn.jsonl").write_text('{"question": "2 +')
    torn = {"sources": [{"adapter": "gsm8k", "path": "data/raw/torn.jsonl"}]}
    changed = configured(
        tmp_path / "c.yaml", datasets__torn=torn
    )  # which nothing asks, so it is not read before the first job
    wanted = [f"data/smoke/datasets/{name}.parquet" for name in ("torn", "restricted", "lookalike")]
    done = snakemake(tmp_path, *wanted, "--configfile", changed, "--profile", WORKSTATION)
    assert done.returncode != 0
    title, line = done.stderr.rstrip().splitlines()[-2:]
    assert title == "1 job failed:"
    assert line.startswith("  prepare_dataset dataset=torn: data/raw/torn.jsonl:1: is not valid JSON")
    assert [Path(tmp_path, path).exists() for path in wanted] == [False, True, True]


def test_an_account_that_sbatch_does_not_know_stops_the_workflow_once(tmp_path: Path) -> None:
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="needs `pip install -e '.[slurm]'`")
    double = tmp_path / "bin/sbatch"  # a double: a real one knows accounts only where SLURM has its database
    double.parent.mkdir()
    words = "allocation failure: Invalid account or account/partition combination specified"
    double.write_text(f'#!/bin/sh\necho "{words}" >&2\nexit 1\n')
    double.chmod(0o755)
    line = command(tmp_path, "--profile", str(ROOT / "profiles/slurm"), "--configfile", shipped("smoke"))
    variables = environment(ROOT)
    variables["PATH"] = f"{double.parent}:{variables['PATH']}"
    options = ["--default-resources", "slurm_account=theirs", "mem_mb=4000"]
    done = subprocess.run([*line, *options], capture_output=True, text=True, check=False, env=variables)
    assert done.returncode != 0
    assert done.stderr.count(words) == 1
    line = f"partitions.yaml: partition 'cpu', account 'theirs': {words}"
    assert f"{line}\n1 error before the first job; nothing was run" in done.stderr
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
