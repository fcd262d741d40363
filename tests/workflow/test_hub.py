"""Models of the hub in the workflow, from a double of it: looked up before any job, downloaded once, loaded by commit."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest

from rim.workflow.jobs import FOLDER
from tests.conftest import ROOT
from tests.hub import COMMIT, Hub
from tests.workflow.conftest import command, configured, environment, jobs, shipped, snakemake

pytestmark = pytest.mark.xdist_group("organism")
FOR_TEXT = {"judges": {"prefix": {"kind": "refusal_prefix"}}, "annotators": {}}  # instruments that understand any model


def through(hub: Hub, directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    variables = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(directory / "cache")}
    return subprocess.run(
        command(directory, *options),
        capture_output=True, text=True, check=False, env={**environment(ROOT), **variables},
    )  # fmt: skip


def study(directory: Path, hub: str, **more: float) -> str:
    models = {"own": {"hub": hub, "variants": [], **more}}
    plain = {"mechanism": None, "forgetting": None, "injection": None, "pairs": [], "variants": {}}
    return configured(directory / "study.yaml", models=models, **plain, **FOR_TEXT)


@pytest.mark.parametrize(("name", "line"), [("lab/closed", "is gated"), ("lab/missing", "the hub knows no such model")])
def test_a_gated_or_missing_model_is_one_line_before_any_job(
    tiny_model: Path, tmp_path: Path, name: str, line: str
) -> None:
    with Hub({"lab/closed": tiny_model}, gated=("lab/closed",)) as hub:
        done = through(hub, tmp_path, "--configfile", study(tmp_path, name))
    assert done.returncode != 0
    assert done.stderr.count(f"models.own.hub: model '{name}': {line}") == 1
    assert "Traceback" not in done.stderr
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert not (tmp_path / ".snakemake/locks").exists() or not list((tmp_path / ".snakemake/locks").iterdir())


def test_a_hub_model_is_downloaded_once_and_answers(tiny_model: Path, tmp_path: Path) -> None:
    replies = "data/smoke/responses/own/base/seed0/plain.parquet"
    with Hub({"lab/tiny": tiny_model}) as hub:
        done = through(hub, tmp_path, replies, "--configfile", study(tmp_path, "lab/tiny"))
        assert done.returncode == 0, done.stdout + done.stderr
        weights = [line for line in hub.asked if line == f"GET lab/tiny/resolve/{COMMIT}/model.safetensors"]
    assert len(weights) == 1
    assert pl.read_parquet(tmp_path / replies).height == 12 * 3 * 2
    assert json.loads((tmp_path / "data/smoke/models/own.json").read_text())["commit"] == COMMIT
    again = snakemake(tmp_path, replies, "--dry-run", "--configfile", study(tmp_path, "lab/tiny"))
    assert "Nothing to be done" in again.stdout + again.stderr
    sized = study(tmp_path, "lab/tiny", parameters=320.0, active=3.0)  # asks for more GPUs, and is the same model
    larger = snakemake(tmp_path, replies, "--dry-run", "--configfile", sized)
    assert "Nothing to be done" in larger.stdout + larger.stderr


def test_a_local_folder_whose_weights_change_is_another_job(tiny_model: Path, tmp_path: Path) -> None:
    """As large and as old as before; the name of a job's file is what Snakemake compares."""
    weights = shutil.copytree(tiny_model, tmp_path / "own") / "model.safetensors"
    told = []
    for byte in (1, 2, 1):
        before = weights.stat()
        weights.write_bytes(weights.read_bytes()[:-1] + bytes([byte]))
        os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
        shutil.rmtree(tmp_path / FOLDER, ignore_errors=True)
        done = snakemake(tmp_path, "--dry-run", "--quiet", "--configfile", study(tmp_path, "own"))
        assert done.returncode == 0, done.stderr
        told.append([path.name for path in (tmp_path / FOLDER).glob("fetch_model-*.json")])
    assert [len(each) for each in told] == [1, 1, 1]
    assert told[0] != told[1]
    assert told[0] == told[2]


def test_organisms_are_not_fetched(tmp_path: Path) -> None:
    own = {"hub": "lab/tiny", "variants": ["gsm8k_target"]}
    dry = snakemake(tmp_path, "--dry-run", "--configfile", configured(tmp_path / "a.yaml", models__own=own, **FOR_TEXT))
    fetched = [job for job in jobs(dry.stdout + dry.stderr) if job.startswith("fetch_model")]
    assert fetched == ["fetch_model model=own"]


def test_a_dry_run_of_the_paper_says_what_it_costs(tmp_path: Path) -> None:
    done = snakemake(tmp_path, "--dry-run", "--configfile", shipped("paper"))
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("The whole study: about ")
    assert "GPU hours in 590 jobs" in last
