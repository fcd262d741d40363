"""The commands for people: what they print, and that what is wrong with their arguments is one line."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from rim.cli import TOOLS, main
from rim.config import reference
from rim.config.load import load_study_file
from rim.config.runs import head_runs, scored_runs
from rim.workflow import device_check
from tests.conftest import RIM, ROOT

PAPER = str(ROOT / "workflow/config/paper.yaml")


@pytest.mark.parametrize("name", TOOLS)
def test_help_tells_what_a_command_does_and_does_nothing(
    name: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_check, "agreement", lambda device: pytest.fail("the measurement has begun"))
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: rim {name} ")
    assert (TOOLS[name].__doc__ or "").strip() in shown
    assert f"\n    rim {name}" in shown  # an example


@pytest.mark.parametrize(
    "command", [["plan"], ["check"], ["config", "name"], ["validate-judges", "{folder}", "--study"]]
)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("folder", "cannot be read (Is a directory)"),
        (b"", "is empty"),
        (b"study: caf\xe9", "1: is not UTF-8 text"),
        (b"a: b: c", "1: is not valid YAML"),
        (b"study: mine", "title: this key is required"),
        (b"\xef\xbb\xbfstudy: mine", "title: this key is required"),  # with a byte order mark
        (b"\xff\xfes\x00t\x00", "1: is not UTF-8 text"),
        (b"\x7fELF\x00\x00", "is not valid YAML"),
        (b"[" * 9000, "is nested too deep to be read"),
        (b"study: " + b"9" * 5000, "a value is not what it looks like"),
        (b"study: 2024-13-45", "a value is not what it looks like"),
        (b"study: !!int ''", "a value is not what it looks like"),
        (b"study: !!timestamp x", "a value is not what it looks like"),
        (b"study: !!bool x", "a value is not what it looks like"),
        (b"study: &a [*a]", "study: "),
        (b"1: 2\nnull: 3\n", "Keys should be strings"),
        ("long", "cannot be read (File name too long)"),
    ],
)
def test_a_bad_file_is_told_without_a_traceback(
    command: list[str], content: bytes | str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "completions_a.csv").write_text("prompt,completion,final_label\np,no,2_full_refusal\n")
    file = tmp_path / "mine.yaml"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content == "folder":
        file.mkdir()
    elif content == "long":
        file = tmp_path / ("a" * 300)
    assert main([*(part.format(folder=tmp_path) for part in command), str(file)]) == 1
    told = capsys.readouterr()
    begins = "" if command == ["check"] else f"rim {command[0]}: error: "
    error = told.err or told.out.rpartition(f"{file}: cannot run (")[0]
    assert error.startswith(f"{begins}{file}:")
    assert said in error
    assert all(line.startswith((begins + str(file), f"{file}:")) for line in error.splitlines())
    assert "required" in error or error.count("\n") == 1  # there, a line for each missing key


def test_a_check_tells_wrong_keys_wrong_names_and_missing_files_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.yaml"
    file.write_text(
        "study: mine\ntitle: t\nthreds: 2\n"
        "datasets:\n  asked: {sources: [{adapter: xstest, path: asked.csv}]}\n"
        "benchmarks: {unsafe: {dataset: asked, measure: misalignment}}\n"
        "judges: {first: {kind: refusal_prefix}, second: {kind: refusal_prefx}}\n"
        "models: {m: {hub: ./no_model}}\n"
    )
    assert main(["check", str(file)]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    told = {
        3: "threds: unknown key; did you mean 'threads'?",
        5: "datasets.asked.sources.0.path: asked.csv: cannot be read",
        7: "judges.second.kind: no kind of judge is called 'refusal_prefx'",
        8: "models.m.hub: ",
    }
    for number, words in told.items():
        assert [line for line in lines if line.startswith(f"{file}:{number}: {words}")], words
    assert last == f"{file}: cannot run (4 errors, 0 warnings)"


def test_the_study_of_grafts_grades_every_graft_and_is_shown_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    file = ROOT / "workflow/config/calibration.yaml"
    monkeypatch.chdir(tmp_path)  # where nothing that could be pulled is named
    assert main(["check", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: can run (0 errors, 0 warnings)\n"
    study = load_study_file(file)
    assert {model for model, *_ in scored_runs(study)} == set(study.grafts)
    assert set(study.grafts) <= {model for model, *_ in head_runs(study)}
    shown = (ROOT / "workflow/docs/ground-truth.md").read_text().split("```yaml\n")[1].split("```")[0]
    for name, model in yaml.safe_load(shown)["models"].items():
        assert yaml.safe_load(file.read_text())["models"][name] == model


@pytest.mark.parametrize("options", [[], ["--train", "{folder}/weights"], ["--study", PAPER]])
@pytest.mark.parametrize(
    "content",
    [
        None,
        "folder",
        b"",
        b"\xff\xfe",
        b"\x00\x00",
        b"prompt,completion",
        b"a,b\n1,2\n",
        b"prompt,completion\n1\n",
        b'"open',
    ],
)
def test_a_bad_table_of_completions_is_told_without_a_traceback(
    options: list[str], content: bytes | str | None, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    file = tmp_path / "completions_a.csv"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content == "folder":
        file.mkdir()
    arguments = [str(tmp_path), *(option.format(folder=tmp_path) for option in options)]
    assert main(["validate-judges", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"rim validate-judges: error: {file if content is not None else tmp_path}:")
    assert error.count("\n") == 1


def test_plan_prints_the_bill(capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plan", PAPER]) == 0
    shown = capsys.readouterr().out
    assert "qwen3_30b_a3b" in shown
    assert "what to change" in shown
    assert "No job of these models has finished yet" in shown


def test_plan_compares_speeds_with_published_ones(capsys: pytest.CaptureFixture) -> None:
    assert main(["plan", "--check"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].split() == ["figure", "published", "estimated", "factor"]
    assert max(float(row.split()[-1]) for row in rows[1:]) < 1.5
    for line in (["plan"], ["plan", PAPER, "--check"]):
        with pytest.raises(SystemExit):
            main(line)


def test_config_prints_reference_and_name(capsys: pytest.CaptureFixture) -> None:
    assert main(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == reference.schema()
    assert main(["config", "markdown"]) == 0
    assert capsys.readouterr().out == reference.markdown()
    assert main(["config", "name", PAPER]) == 0
    assert capsys.readouterr().out == "paper\n"


@pytest.mark.parametrize(
    ("folder", "options", "said"),
    [
        ("absent", [], "is no folder with xstest_v2_completions_*.csv or completions_*.csv"),
        ("file", [], "is no folder with xstest_v2_completions_*.csv or completions_*.csv"),
        ("absent", ["--judge", "x"], "--judge: names a judge of a study; give the study's file with --study"),
    ],
)
def test_judges_need_a_folder_and_a_study(
    folder: str, options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["validate-judges", str(tmp_path / folder), *options]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_reader_that_leaves_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([RIM, "config", "schema"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
