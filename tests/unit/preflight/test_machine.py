"""What is said of the machine and the study's name before the first job."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from rim.config.study import Study
from rim.preflight import machine
from rim.preflight.study import findings
from rim.preflight.todo import every_job
from rim.workflow import owners
from tests.unit.preflight.conftest import model_folder

Make = Callable[..., Study]
GPUS = machine._gpus  # which most tests here replace
LARGE = {"models": {"m": {"hub": "lab/m", "variants": [], "parameters": 70.0, "dtype": "bfloat16"}}}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 100 GB of free disk and two GPUs of 64 GB."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100e9))
    monkeypatch.setattr(machine, "_gpus", lambda: [64e9, 64e9])
    return tmp_path


def lines(study: Study, todo: Callable[[str, str], bool] = every_job, on_cluster: bool = False) -> list[str]:
    return [str(each) for each in machine.findings(study, todo, on_cluster)]


def test_too_little_disk_and_memory_are_warnings(study: Make) -> None:
    disk, memory = lines(study(**LARGE))
    assert "about 140 GB will be written to this disk, and 100 GB are free" in disk
    assert memory.startswith(
        "warning: models.m: its weights take 140 GB in bfloat16, and this machine has 2 GPUs with 128 GB"
    )
    assert disk.startswith("warning: ")


def test_without_a_gpu_main_memory_counts(study: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_gpus", list)
    real, ours = os.sysconf, {"SC_PHYS_PAGES": 10**7, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(machine.os, "sysconf", lambda name: ours.get(name) or real(name))
    assert "this machine has 41 GB of memory and no GPU" in lines(study(**LARGE))[1]


def test_the_memory_of_a_login_node_says_nothing(study: Make) -> None:
    assert [line for line in lines(study(**LARGE), on_cluster=True) if "models.m" in line] == []


def test_what_is_fetched_and_run_needs_no_room(study: Make) -> None:
    assert lines(study(**LARGE), lambda rule, job: False) == []


def test_a_small_model_fits(study: Make, here: Path) -> None:
    model_folder(here / "m")
    assert lines(study()) == []


def rates(folder: Path, *models: str) -> None:
    tables = folder / "tables"
    tables.mkdir(parents=True)
    (tables / "rates.csv").write_text("".join(f"{line}\n" for line in ("model,rate", *(f"{m},0" for m in models))))


def test_a_study_of_the_same_name_with_other_content_is_told(study: Make, here: Path) -> None:
    rates(here / "results/own", "associated", "null")
    assert lines(study()) == [
        "study: results/own: another study of this name, with associated, null, which this one would overwrite; give this study another name"
    ]
    (here / "data/own/datasets").mkdir(parents=True)
    (here / "data/own/datasets/asked.parquet").write_text("")  # a study whose models were exchanged
    assert lines(study()) == []


def test_a_study_is_not_overwritten_from_another_file(study: Make, here: Path) -> None:
    """With the same models and datasets, as where a file was copied and its name was left; one that is gone was renamed."""
    first, second, more = (here / f"{name}.yaml" for name in ("first", "second", "more"))
    for file in (first, second, more):
        file.write_text("study: own\n")

    def told(*files: Path) -> list[str]:
        return [str(each) for each in machine.findings(study(), every_job, files=files)]

    owners.own("own", [first])
    assert told(second) == []  # nothing is made yet
    (here / "data/own/responses/m").mkdir(parents=True)
    [line] = told(second)
    assert line.startswith(
        "study: data/own: made from first.yaml, which this one would overwrite; give this study another name"
    )
    assert told(first) == []
    assert told(Path("first.yaml")) == []
    assert told(first, more) == []
    first.rename(here / "renamed.yaml")
    assert told(second) == []


def test_a_file_may_change_all_of_its_study(study: Make, here: Path) -> None:
    rates(here / "results/own", "associated", "null")
    file = here / "own.yaml"
    file.write_text("")
    owners.own("own", [file])
    assert [str(each) for each in machine.findings(study(), every_job, files=[file])] == []


def test_a_study_that_goes_on_is_no_other_one(study: Make, here: Path) -> None:
    rates(here / "results/own", "m", "gone")
    (here / "data/own/responses/m").mkdir(parents=True)
    assert lines(study()) == []


def test_artifacts_that_lie_elsewhere_are_an_error(study: Make, here: Path) -> None:
    (here / "data.dvc").write_text("outs:\n- path: data/own\n")
    [line] = lines(study())
    assert line.startswith("study: data.dvc: the artifacts it names are not here; run `dvc pull`")
    (here / "data/own/provenance").mkdir(parents=True)
    assert lines(study()) == []


def test_everything_is_told_at_once_and_errors_first(study: Make, here: Path) -> None:
    rates(here / "results/own", "other")
    endpoint = {"e": {"model": "x", "base_url": "http://127.0.0.1:9/v1"}}
    own = study(judges={"p": {"kind": "refusal_prefix"}, "r": {"kind": "rubric", "endpoint": "e"}}, endpoints=endpoint)
    assert [(each.level, each.where) for each in findings(own)] == [
        ("error", "models.m.hub"),
        ("error", "endpoints.e.base_url"),
        ("error", "study"),
    ]


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("echo 81559; echo 143771", [81559 * 2**20, 143771 * 2**20]),
        ("echo '[N/A]'", []),  # of a GPU that shares the machine's memory
        ("echo no devices were found; exit 6", []),
    ],
)
def test_gpus_are_those_that_the_driver_lists(
    script: str, found: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double = tmp_path / "nvidia-smi"
    double.write_text(f"#!/bin/sh\n{script}\n")
    double.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert GPUS() == found
    monkeypatch.setenv("PATH", "/nowhere")
    assert GPUS() == []
