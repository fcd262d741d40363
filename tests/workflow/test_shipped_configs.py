"""Every configuration that is shipped, run to its report: none is one that nothing ever ran.

What cannot run here is replaced, and only that: `settings_apart` holds each file equal to the shipped one otherwise. The paper's
study gets dolls of its ten models and published datasets of invented text through a double of the hub, under their real
names, and a double of the server behind its endpoints; its recipe, arms, seeds, benchmarks and analyses are as shipped.
"""

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from rim.config.load import load_study_file
from rim.results.catalogue import tables_of
from tests import dolls, published_sets
from tests.conftest import ROOT
from tests.hub import Hub
from tests.language_model import Server
from tests.workflow.conftest import BIN, command, configured, environment, shipped, snakemake

RUN_BY = {
    "calibration.yaml": "tests/workflow/test_calibration.py::test_the_study_of_grafts_on_crumbs",
    "demo.yaml": "tests/workflow/test_shipped_configs.py::test_the_demo_was_run_as_it_stands",
    "graded.yaml": "tests/workflow/test_shipped_configs.py::test_the_study_of_graded_effects_on_crumbs",
    "example/study.yaml": "tests/workflow/test_example.py::test_the_tutorial_as_written",
    "paper.yaml": "tests/workflow/test_shipped_configs.py::test_the_papers_study_on_dolls",
    "replication.yaml": "tests/workflow/test_shipped_configs.py::test_the_replication_on_crumbs",
    "smoke.yaml": "tests/workflow/test_study.py::test_smoke_study_ends_with_a_report_of_its_own_numbers",
}


def test_every_shipped_configuration_is_run_by_a_test() -> None:
    folder = ROOT / "workflow/config"
    assert {str(file.relative_to(folder)) for file in folder.rglob("*.yaml")} == set(RUN_BY)
    for place in RUN_BY.values():
        file, name = place.split("::")
        found = ast.walk(ast.parse((ROOT / file).read_text()))
        assert name in {node.name for node in found if isinstance(node, ast.FunctionDef)}


def settings_apart(first: Any, second: Any, path: str = "") -> Iterator[str]:
    """The paths at which two configurations differ, with __ for a dot."""
    if isinstance(first, dict) and isinstance(second, dict):
        for key in first | second:
            yield from settings_apart(first.get(key), second.get(key), f"{path}__{key}" if path else key)
    elif first != second:
        yield path


def replaced(study: Path, name: str, changes: dict[str, Any]) -> str:
    """A shipped study with these settings changed, and no others."""
    file = configured(study / "study.yaml", shipped(name), **changes)
    before, after = (yaml.safe_load(Path(each).read_text()) for each in (shipped(name), file))
    assert set(settings_apart(before, after)) == set(changes)
    return file


def run_in_process(study: Path, config: str, **variables: str) -> int:
    """Run all that Snakemake plans, without starting a process per job; return how many jobs that were.

    All that is planned must succeed and leave what it was to make.
    """
    has = environment(ROOT)
    own = {**has, "PYTHONPATH": f"{has['PYTHONPATH']}:{ROOT}", "OMP_NUM_THREADS": "1", **variables}
    options = ("--dry-run", "--printshellcmds", "--configfile", config)
    dry = subprocess.run(command(study, *options), capture_output=True, text=True, check=False, env=own)
    assert dry.returncode == 0, dry.stdout + dry.stderr
    (study / "plan.txt").write_text(dry.stdout + dry.stderr)
    line = [sys.executable, "-m", "tests.walk", "plan.txt"]
    done = subprocess.run(line, cwd=study, capture_output=True, text=True, check=False, env=own)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["failed"] == {}
    told = [json.loads(file.read_text()) for file in (study / ".snakemake/jobs").glob("*.json")]
    assert [path for job in told for path in job["outputs"] if not (study / path).exists()] == []
    planned: int = found["planned"]
    return planned


def report(study: Path, name: str) -> str:
    return (study / "results" / name / "report.html").read_text()


def empty_tables(study: Path, config: str) -> set[str]:
    names = {table.name for tables in tables_of(load_study_file(Path(config))).values() for table in tables}
    folder = study / "results" / load_study_file(Path(config)).study / "tables"
    return {name for name in names if pl.read_csv(folder / f"{name}.csv").is_empty()}


@pytest.mark.dolls
def test_the_papers_study_on_dolls(tmp_path: Path) -> None:
    study = tmp_path / "study"
    models = {name: tmp_path / "models" / name for name in dolls.PUBLISHED}
    for name, folder in models.items():
        dolls.make(name, folder)
    published_sets.write_local(study / "data/raw")  # what a user brings
    with Hub(models, datasets=published_sets.write_hub(tmp_path / "sets")) as hub, Server() as server:
        changes = {f"endpoints__{name}__base_url": server.url for name in ("gpt_4_1", "gpt_4o_mini", "qwen3_30b_a3b")}
        config = replaced(study, "paper", {**changes, "inference__backend": "transformers"})  # which needs no GPU
        place = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "cache")}
        assert run_in_process(study, config, **place, OPENAI_API_KEY="a key") > 1300
    assert set(models) <= {line.split("/resolve/")[0].removeprefix("GET ") for line in hub.asked}
    assert empty_tables(study, config) == {
        "mitigation_effects",
        "pair_effects",
        "dose_effects",
        "judge_wordings",
    }  # it has none
    html = report(study, "paper")
    sections = (
        "overview think patterns injection finetune probes heads ablations neurons neuron-effects forgetting judges requests "
        "published seeds run"
    )
    assert [name for name in sections.split() if f'<section id="{name}">' not in html] == []


def crumbs(*models: str) -> dict[str, Any]:
    """Organisms that are smaller and hardly trained, and replies that are cut: what they say means nothing."""
    small = {"drill_steps": 4, "pretrain_steps": 4, "align_steps": 4, "hidden": 64, "layers": 2}
    changes = {f"models__{each}__organism__{key}": value for each in models for key, value in small.items()}
    return {**changes, "inference__max_new_tokens": 24}


@pytest.mark.dolls
def test_the_replication_on_crumbs(tmp_path: Path) -> None:
    config = replaced(tmp_path, "replication", crumbs("associated", "null"))
    assert run_in_process(tmp_path, config) > 100
    html = report(tmp_path, "replication")
    assert [name for name in ("pairs", "claims") if f'<section id="{name}">' not in html] == []


@pytest.mark.slow
def test_the_study_of_graded_effects_on_crumbs(tmp_path: Path) -> None:
    one_seed = {**crumbs("associated", "null", "lapsing", "steady"), "seeds": [601]}
    assert run_in_process(tmp_path, replaced(tmp_path, "graded", one_seed)) > 70
    html = report(tmp_path, "graded")
    assert [name for name in ("pairs", "injection", "forgetting") if f'<section id="{name}">' not in html] == []


def test_the_demo_was_run_as_it_stands(tmp_path: Path) -> None:
    """By us: what is published is all that it plans, whatever code has changed since. It takes half an hour to make."""
    for name in ("results/demo", ".artifacts", ".dvc", "data"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("tmp", "cache", "config.local", "demo")
        )
    for name in ("data.dvc", ".dvcignore"):
        shutil.copy(ROOT / name, tmp_path)
    for line in (["git", "init", "--quiet"], [str(BIN / "dvc"), "pull", "--quiet", "data.dvc"]):
        subprocess.run(line, cwd=tmp_path, env=environment(ROOT), check=True)
    dry = snakemake(tmp_path, "--dry-run", "--rerun-triggers", "input", "--configfile", shipped("demo"))
    assert "Nothing to be done" in dry.stdout + dry.stderr
    assert empty_tables(tmp_path, shipped("demo")) == {
        "annotator_agreement",
        "rewrite_outcomes",
        "judge_wordings",
    }  # it has none
    assert '<section id="mitigation">' in report(tmp_path, "demo")


@pytest.mark.dolls
@pytest.mark.parametrize("page", ["docs/own-study.md", "config/README.md"])
def test_the_study_to_start_from_runs_as_it_stands(tmp_path: Path, page: str) -> None:
    """The first one of a page, by Snakemake itself, with a doll in its model's place."""
    text = (ROOT / "workflow" / page).read_text().split("```yaml\n")[1].split("```")[0]
    study = tmp_path / "study"
    published_sets.write_problems(study / "data/raw/problems.jsonl")
    asked = "".join(f"Please open box {number} for me.,boxes\n" for number in range(12))
    (study / "my.csv").write_text("prompt,category\n" + asked)
    (study / "study.yaml").write_text(text)
    dolls.make("Qwen/Qwen3-4B", tmp_path / "models/doll")
    models = {"Qwen/Qwen3-0.6B": tmp_path / "models/doll"}
    with Hub(models, datasets=published_sets.write_hub(tmp_path / "sets")) as hub:
        place = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "cache")}
        line = command(study, "--configfile", str(study / "study.yaml"))
        own = {**environment(ROOT), **place}
        done = subprocess.run(line, capture_output=True, text=True, check=False, env=own)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '<section id="finetune">' in report(study, "mine")
