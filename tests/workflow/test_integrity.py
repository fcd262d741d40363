"""What jobs read is what other jobs wrote: of the smoke study, every input of a job of every step, damaged in turn."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rim.cli import main, step_files
from rim.core import sums
from rim.core.receipts import receipt_of
from rim.workflow.jobs import FOLDER
from tests.workflow.test_reruns import copied, study, to_run

SUMS = Path("data/smoke/provenance/sums")
WITHOUT_INPUTS = {"prepare_dataset", "train_organism"}
GRAFTS = {"graft_organism", "score_parts", "grade_methods", "judge_claims"}
NOT_IN_SMOKE = {"answer_counterfactuals", "fetch_model", "rewrite_cot", "try_instrument", "try_model", *GRAFTS}
STEPS = sorted(set(step_files()) - WITHOUT_INPUTS - NOT_IN_SMOKE)


@pytest.fixture(scope="module")
def finished(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished study, whose files are damaged one at a time and put back."""
    return copied(smoke, tmp_path_factory.mktemp("finished"))


def a_file(path: Path) -> Path:
    """A file itself, or the largest of a folder."""
    inside = [each for each in path.rglob("*") if each.is_file() and not each.name.startswith(".")]
    return max(inside, key=lambda each: (each.stat().st_size, each)) if path.is_dir() else path


def edited(path: Path) -> bytes:
    content = path.read_bytes()
    return content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]


def cut(path: Path) -> bytes:
    content = path.read_bytes()
    return content[: len(content) // 2]


def of_another(path: Path) -> bytes:
    """The content of the nearest other file with such a name or of such a kind, as of another model or judge."""
    for folder in path.parents:
        candidates = sorted([*folder.rglob(path.name), *folder.rglob(f"*{path.suffix}")])
        for candidate in candidates:
            if candidate.is_file() and candidate.read_bytes() != path.read_bytes():
                return candidate.read_bytes()
    raise AssertionError(path)


DAMAGES: tuple[Callable[[Path], bytes], ...] = (edited, cut, of_another)


@pytest.mark.parametrize("step", STEPS)
def test_no_damaged_input_of_a_step_is_read(
    step: str, finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(finished)
    job = max(FOLDER.glob(f"{step}-*.json"), key=lambda path: (path.stat().st_size, path.name))
    told = json.loads(job.read_text())
    before = {path: path.stat().st_mtime_ns for path in map(Path, told["outputs"])}
    assert told["inputs"]
    for path in map(Path, told["inputs"]):
        file = a_file(path)
        content = file.read_bytes()
        for damage in DAMAGES:
            file.write_bytes(damage(file))
            assert main([step, str(job)]) == 1, (path, damage)
            line = capsys.readouterr().err
            assert line.startswith(f"{step}: error: {path}: checksum mismatch: "), (path, damage)
            assert line.count("\n") == 1
            file.write_bytes(content)
    sums.check(map(Path, told["inputs"]))  # all is put back
    assert {path: path.stat().st_mtime_ns for path in before} == before  # and nothing was written


def test_every_output_of_the_study_is_recorded(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    outputs = {Path(path) for job in FOLDER.glob("*.json") for path in json.loads(job.read_text())["outputs"]}
    made = {path for path in outputs if path.exists()}
    recorded = {path for path in made if sums.sum_file(path).is_file()}
    assert {path for path in made - recorded if receipt_of(path) not in recorded} == set()
    sums.check(made)
    tables = {
        path
        for folder in ("heads", "judgements", "grades", "neurons")
        for path in Path("data/smoke", folder).rglob("*.parquet")
    }
    assert tables | set(Path("results").rglob("*.*")) <= recorded
    assert {path for path in SUMS.rglob("*") if path.is_file()} == {sums.sum_file(path) for path in recorded}


def test_an_edited_table_of_results_is_not_drawn_and_deleting_it_mends_that(smoke: Path, tmp_path: Path) -> None:
    copy = copied(smoke, tmp_path)
    rates, report = copy / "results/smoke/tables/rates.csv", copy / "results/smoke/report.html"
    before = rates.read_bytes()
    rates.write_bytes(edited(rates))
    done = study(copy)
    assert done.returncode != 0
    assert "Failed: draw_figures: results/smoke/tables/rates.csv: checksum mismatch" in done.stderr
    assert "Traceback" not in done.stderr
    rates.unlink()
    done = study(copy)
    assert done.returncode == 0, done.stderr
    assert rates.read_bytes() == before
    assert report.is_file()
    assert to_run(copy) == set()


def test_a_judgement_made_and_not_recorded_is_made_again(smoke: Path, tmp_path: Path) -> None:
    """The job was killed between the two, and somebody took its output for whole."""
    copy = copied(smoke, tmp_path)
    table = Path("data/smoke/judgements/prefix/null/base/seed0/plain.parquet")
    (copy / sums.sum_file(table)).unlink()
    done = study(copy, "--forcerun", "compare_judges")
    assert done.returncode != 0
    assert f"Failed: compare_judges: {table}: cannot be checked" in done.stderr
    (copy / table).unlink()
    done = study(copy, "--forcerun", "compare_judges")
    assert done.returncode == 0, done.stderr
    assert (copy / sums.sum_file(table)).is_file()


def test_results_of_another_revision_than_the_data_are_refused(smoke: Path, tmp_path: Path) -> None:
    """Tables come with git, their records with DVC; here only the first were taken back, to those of another machine."""
    copy = copied(smoke, tmp_path)
    tables = copy / "results/smoke/tables"
    for table in tables.iterdir():
        table.write_text(table.read_text().replace("0.5", "0.6") + "\n")
    shutil.rmtree(copy / "results/smoke/figures")
    done = study(copy, "draw_figures")
    assert done.returncode != 0
    assert "checksum mismatch" in done.stderr
    assert "(and its data with `dvc pull`)" in done.stderr
