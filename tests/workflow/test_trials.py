"""What only a job can tell is learned from a small first one: of each hub model, and of each instrument that asks one."""

import json
import os
import shutil
from pathlib import Path

import pytest

from rim.workflow.jobs import FOLDER
from tests.hub import Hub
from tests.language_model import Server
from tests.workflow.conftest import configured, jobs, snakemake

pytestmark = pytest.mark.xdist_group("organism")
REPLIES = "data/smoke/responses/own/base/seed0/plain.parquet"
TRIAL = "data/smoke/trials/models/own/base/seed0.json"
TRIED, ANSWERED = "try_model model=own seed=0 variant=base", "generate_replies model=own seed=0 variant=base"
PLAIN = {"mechanism": None, "forgetting": None, "injection": None, "pairs": [], "variants": {}, "annotators": {}}


def study(directory: Path, **changes: object) -> str:
    """The smoke study of one model of a local folder."""
    models = {"own": {"hub": "own", "variants": []}}
    judges = {"prefix": {"kind": "refusal_prefix"}}
    return configured(directory / "study.yaml", **{"models": models, "judges": judges, **PLAIN, **changes})


def planned(directory: Path, *options: str) -> set[str]:
    dry = snakemake(directory, REPLIES, "--dry-run", *options)
    assert dry.returncode == 0, dry.stdout + dry.stderr
    return jobs(dry.stdout + dry.stderr)


def told(directory: Path) -> set[str]:
    """The identities of the jobs that make replies."""
    return {path.name for path in (directory / FOLDER).glob("generate_replies-*.json")}


def test_a_model_is_tried_before_it_answers_and_a_finished_study_never_again(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "own")
    options = ("--configfile", study(tmp_path))
    assert planned(tmp_path, *options) >= {TRIED, ANSWERED}
    done = snakemake(tmp_path, REPLIES, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / TRIAL).stat().st_mtime < (tmp_path / REPLIES).stat().st_mtime
    assert set(json.loads((tmp_path / TRIAL).read_text())) == {"on", "off"}
    [file] = told(tmp_path)
    assert TRIAL not in (tmp_path / FOLDER / file).read_text()

    assert planned(tmp_path, *options) == set()
    os.utime(tmp_path / TRIAL)
    assert planned(tmp_path, *options) == set()
    (tmp_path / TRIAL).unlink()  # as in a study that was finished before models were tried
    assert planned(tmp_path, *options) == set()
    (tmp_path / REPLIES).unlink()
    assert planned(tmp_path, *options) == {TRIED, ANSWERED}
    assert told(tmp_path) == {file}
    done = snakemake(tmp_path, REPLIES, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / REPLIES).unlink()
    assert planned(tmp_path, *options) == {ANSWERED}


def test_a_model_that_cannot_be_loaded_stops_at_its_trial(tiny_model: Path, tmp_path: Path) -> None:
    """Of a model of the hub only small files are looked at before the first job."""
    weights = shutil.copytree(tiny_model, tmp_path / "broken") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with Hub({"lab/broken": weights.parent}) as hub:
        place = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "cache")}
        config = study(tmp_path, models={"own": {"hub": "lab/broken", "variants": []}})
        done = snakemake(tmp_path, REPLIES, "--keep-going", "--configfile", config, **place)
    assert done.returncode == 1
    title, line = done.stderr.rstrip().splitlines()[-2:]
    assert title == "1 job failed:"
    assert line.startswith("  try_model model=own variant=base seed=0: model 'lab/broken': cannot be loaded (")
    assert not (tmp_path / REPLIES).exists()


def test_organisms_and_rules_are_not_tried(tmp_path: Path) -> None:
    dry = snakemake(tmp_path, "--dry-run", "--configfile", configured(tmp_path / "study.yaml"))
    assert dry.returncode == 0
    assert not [job for job in jobs(dry.stdout + dry.stderr) if job.startswith("try_")]


def test_a_judge_that_cannot_answer_is_told_before_anything_is_asked(smoke: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(smoke, tmp_path / "copy", copy_function=shutil.copy2, symlinks=True))
    judgements = "data/smoke/judgements/llm/null/base/seed0/plain.parquet"
    with Server() as server:
        endpoint = {"model": "double", "base_url": server.url, "max_retries": 0, "attempts": 2}
        judges = {"prefix": {"kind": "refusal_prefix"}, "llm": {"kind": "rubric", "endpoint": "double"}}
        changes = {"endpoints": {"double": endpoint}, "judges": judges}
        config = configured(copy / "study.yaml", str(copy / "study.yaml"), **changes)
        server.faults.extend([{"text": "It is fine."}] * 2)
        done = snakemake(copy, judgements, "--configfile", config, repository=copy)
        assert done.returncode == 1
        line = "Failed: try_instrument role=judges name=llm: judges.llm: double was asked one harmless question and gave no answer that can be used"
        assert done.stderr.count(line) == 1
        assert len(server.requests) == 2
        done = snakemake(copy, judgements, "--configfile", config, repository=copy)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(server.requests) == 3  # nothing in the smoke study is complete, so nothing is judged
        (copy / "data/smoke/trials/judges/llm.json").unlink()
        dry = snakemake(copy, judgements, "--dry-run", "--configfile", config, repository=copy)
        assert "Nothing to be done" in dry.stdout + dry.stderr
