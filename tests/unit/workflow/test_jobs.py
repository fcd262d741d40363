"""The name of a job's file is made of its content, so that the job runs again exactly when what it is told changes."""

import json
from pathlib import Path
from typing import Any

import pytest
from snakemake.iocontainers import Namedlist

from rim.settings.inference import Benchmark
from rim.workflow.jobs import FOLDER, job_file, told_files

FIELDS: dict[str, Any] = {
    "seed": 0,
    "label": "größer",
    "benchmark": Benchmark(dataset="d", measure="accuracy"),
    "files": [Path("data/a"), Path("data/b")],
    "runs": [("m", "base", 0)],
    "rows": None,
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_same_content_has_the_same_name_wherever_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = job_file("step", FIELDS)
    assert Path(first).parent == FOLDER
    assert Path(first).name.startswith("step-")
    equal = {**FIELDS, "benchmark": FIELDS["benchmark"].model_copy(), "files": ["data/a", "data/b"]}
    assert job_file("step", equal) == first
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert job_file("step", FIELDS) == first


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1}, {"label": "grösser"}, {"rows": 0}, {"more": None}, {"files": [Path("data/b"), Path("data/a")]},
        {"runs": [("m", "base", 1)]}, {"benchmark": Benchmark(dataset="d", measure="accuracy", rows=5)},
    ],
    ids=str,
)  # fmt: skip
def test_any_change_of_the_content_is_another_name(change: dict[str, Any]) -> None:
    assert job_file("step", {**FIELDS, **change}) != job_file("step", FIELDS)


def test_another_step_has_a_file_of_its_own() -> None:
    assert job_file("step", FIELDS) != job_file("other", FIELDS)


def test_a_file_holds_what_was_told_and_is_written_once() -> None:
    path = Path(job_file("step", FIELDS))
    assert json.loads(path.read_text()) == {
        "seed": 0,
        "label": "größer",
        "benchmark": FIELDS["benchmark"].model_dump(mode="json"),
        "files": ["data/a", "data/b"],
        "runs": [["m", "base", 0]],
        "rows": None,
    }
    written = path.stat().st_mtime_ns
    job_file("step", FIELDS)
    assert path.stat().st_mtime_ns == written
    assert [each.name for each in FOLDER.iterdir()] == [path.name]


def test_files_are_told_by_name_and_all_together_but_raw_files_by_the_settings_alone() -> None:
    inputs = Namedlist(["a", "b", "c", "a", "d", "e"])
    for name, place in {"replies": (3, None), "datasets": (1, 3), "raw": (4, 6)}.items():
        inputs._set_name(name, *place[:1], end=place[1])
    outputs = Namedlist(["x", "x.receipt.json"])
    outputs._set_name("table", 0)
    outputs._set_name("receipt", 1)
    assert told_files(inputs, outputs) == {
        "replies": "a",
        "datasets": ["b", "c"],
        "table": "x",
        "inputs": ["a", "b", "c"],
        "outputs": ["x", "x.receipt.json"],
    }
