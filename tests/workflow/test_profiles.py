"""The profile for a workstation; the one for SLURM is tried in test_slurm.py."""

import re
from pathlib import Path

from tests.conftest import ROOT
from tests.workflow.conftest import configured, shipped, snakemake

WORKSTATION = str(ROOT / "workflow/profiles/workstation")


def gpus(directory: Path, *options: str) -> dict[str, str]:
    """GPUs that `infer` of each of the paper's models gets in a dry run."""
    done = snakemake(directory, "--dry-run", "--configfile", shipped("paper"), *options)
    block = (
        r"^rule infer:\n(?:    .*\n)*?    wildcards: model=(\w+),.*\n(?:    threads: .*\n)?    resources: .*gpu=(\d+)"
    )
    return dict(re.findall(block, done.stdout + done.stderr, re.M))


def test_jobs_get_as_many_gpus_as_they_need_and_no_more_than_there_are(tmp_path: Path) -> None:
    asked = gpus(tmp_path)
    assert len(asked) == 10
    assert (asked["qwen3_4b"], asked["qwen3_32b"], asked["mixtral"]) == ("1", "2", "2")
    assert set(gpus(tmp_path, "--profile", WORKSTATION).values()) == {"1"}


def test_a_failed_jobs_log_is_shown_and_other_jobs_go_on(tmp_path: Path) -> None:
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/half.jsonl").write_text('{"question": "2 +')
    changed = configured(
        tmp_path / "c.yaml", datasets__multi_hop_test={"sources": [{"adapter": "gsm8k", "path": "data/raw/half.jsonl"}]}
    )
    wanted = [f"data/datasets/smoke/{name}.parquet" for name in ("multi_hop_test", "restricted", "lookalike")]
    done = snakemake(tmp_path, *wanted, "--configfile", changed, "--profile", WORKSTATION)
    assert done.returncode != 0
    shown = done.stderr.split("Logfile logs/smoke/prepare_dataset/multi_hop_test.log")
    assert "is not valid JSON" in shown[1]
    assert [Path(tmp_path, path).exists() for path in wanted] == [False, True, True]
