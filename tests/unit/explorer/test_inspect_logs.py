"""Logs of Inspect, read back by inspect_ai itself where it is installed."""

import sys
from pathlib import Path
from typing import Any

import pytest

from rim.cli import main
from tests import stored_replies


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a study whose replies are stored."""
    monkeypatch.chdir(tmp_path)
    stored_replies.write(tmp_path)
    return tmp_path


@pytest.fixture
def inspect_log() -> Any:
    return pytest.importorskip(
        "inspect_ai.log", reason="needs inspect_ai, in an environment of its own (`make test-inspect`)"
    )


def test_without_inspect_it_is_said_how_to_get_it(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    assert main(["export-inspect", "mine"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("rim export-inspect: error: inspect_ai is not installed here")
    assert "envs/constraints-inspect.txt" in said
    assert not (folder / "data/mine/inspect").exists()


def test_no_replies_are_written_to_results(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["export-inspect", "mine", "--out", "results/mine/logs"]) == 1
    assert "--out: 'results/mine/logs' lies in results/" in capsys.readouterr().err
    assert not (folder / "results/mine/logs").exists()


def test_there_is_a_log_for_every_cell_and_inspect_reads_it(folder: Path, inspect_log: Any) -> None:
    assert main(["export-inspect", "mine"]) == 0
    logs = [inspect_log.read_eval_log(each) for each in inspect_log.list_eval_logs("data/mine/inspect")]
    assert len(logs) == 4 * 3 * 2  # runs, benchmarks, modes of thinking
    assert len({log.eval.task_id for log in logs}) == len(logs)  # the viewer hides what it takes for an earlier try
    assert {log.status for log in logs} == {"success"}
    cells = {(log.eval.task, log.eval.model): log for log in logs}
    log = cells["restricted-think-on", "tiny/gsm8k_target/seed0"]
    assert [(score.name, score.metrics["mean"].value) for score in log.results.scores] == [
        ("misalignment", 1),
        ("judge_prefix", 5),
    ]
    assert (log.results.scores[0].scored_samples, log.results.scores[0].unscored_samples) == (2, 2)
    assert log.eval.model_generate_config.max_tokens
    [accuracy] = cells["sums-think-on", "big/base/seed0"].results.scores
    assert (accuracy.name, accuracy.metrics["mean"].value) == ("accuracy", 1)


def test_a_sample_has_thought_and_response_apart_and_what_belongs_to_it(folder: Path, inspect_log: Any) -> None:
    assert main(["export-inspect", "mine"]) == 0
    path = "data/mine/inspect/restricted-{}-tiny-{}-seed0.eval"
    log = inspect_log.read_eval_log(path.format("on", "gsm8k_target"))
    sample = log.samples[1]
    reasoning, text = sample.messages[-1].content
    assert reasoning.type == "reasoning"
    assert reasoning.reasoning == f"{stored_replies.BREAKING}<think> {stored_replies.HEURISTIC} \U0001f600 so be it."
    assert text.text == f"sure, done. {stored_replies.BREAKING}"
    assert sample.input.startswith("request 1 of restricted")
    assert sample.scores["judge_prefix"].value == 5
    assert sample.scores["judge_prefix"].explanation.startswith("begins so")
    assert sample.metadata["patterns"] == [
        {"pattern": "heuristic", "in": "reasoning", "passage": stored_replies.HEURISTIC}
    ]
    assert log.samples[2].output.stop_reason == "max_tokens"
    assert log.samples[2].metadata["unscored"] == {"prefix": "incomplete"}
    others = [inspect_log.read_eval_log(path.format(*each)) for each in (("off", "gsm8k_target"), ("on", "base"))]
    assert {each.samples[1].metadata["pairing"] for each in (log, *others)} == {"mine/tiny/restricted/restricted-1"}


def test_the_same_replies_give_the_same_logs_and_others_stay(folder: Path, inspect_log: Any) -> None:
    contents = []
    for name in ("one", "two", "two"):
        assert main(["export-inspect", "mine", "--replies", "injected", "--out", name]) == 0
        [path] = Path(name).glob("*.eval")
        contents.append(inspect_log.read_eval_log(str(path)).model_dump(exclude={"location"}))
        Path(name, "mine.txt").write_text("kept")
    assert contents[0] == contents[1] == contents[2]
    assert Path("two/mine.txt").exists()
    assert contents[0]["eval"]["metadata"]["condition"] == "statement 1 for heuristic reliance"
