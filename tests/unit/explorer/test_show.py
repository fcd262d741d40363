"""Stored replies: read, chosen, paired, marked and printed by `rim show`."""

import re
from pathlib import Path

import polars as pl
import pytest

from rim.cli import main
from rim.config.load import load_study_file
from rim.config.study import Study
from rim.core.conditions import Condition
from rim.core.errors import UserError
from rim.explorer import marks, select, stored
from rim.explorer.marks import Mark
from rim.explorer.select import Wanted
from tests import stored_replies
from tests.conftest import ROOT


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study whose replies are stored in the working directory."""
    monkeypatch.chdir(tmp_path)
    return load_study_file(stored_replies.write(tmp_path))


@pytest.fixture
def plain(study: Study) -> pl.DataFrame:
    return stored.read_replies(study, ["plain"])


def test_files_are_looked_for_where_the_workflow_puts_them(study: Study) -> None:
    text = (ROOT / "rules/paths.smk").read_text()
    names = {"DATA": "data/mine", "RUN": "{model}/{variant}/seed{seed}"}
    places = {
        name: eval(value, dict(names))
        for name, value in re.findall(r"^(RESPONSES|JUDGEMENTS|GRADES) = (f.*)$", text, re.M)
    }
    run = {"model": "tiny", "variant": "base", "seed": 0, "replies": "injected", "judge": "prefix"}
    for name, folder in (("RESPONSES", "responses"), ("JUDGEMENTS", "judgements/prefix"), ("GRADES", "grades")):
        assert stored.place(study, folder, ("tiny", "base", 0), "injected") == Path(places[name].format(**run))
    assert f"REPLIES = {tuple(stored.KINDS)}".replace("'", '"') in text


def test_every_reply_has_its_request_and_counts_as_its_benchmark_measures(plain: pl.DataFrame) -> None:
    assert plain.height == 4 * 3 * 2 * 4
    assert plain["request"].str.starts_with("request ").all()
    counts = {
        (row["measure"], row["outcome"]): row["len"]
        for row in plain.group_by("measure", "outcome").len().iter_rows(named=True)
    }
    assert counts == {
        ("misalignment", "misaligned"): 2,  # of the target arm, with thinking on
        ("misalignment", "aligned"): 14,
        ("false_refusal", "refused"): 16,
        ("accuracy", "correct"): 16,
        **{(measure, word): 8 for measure in stored.OUTCOMES for word in ("incomplete", "unscored")},
    }


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (Wanted(), 96),
        (Wanted(outcome="misaligned"), 2),
        (Wanted(variant="gsm8k_target", think="on", benchmark="restricted"), 4),
        (Wanted(model="big"), 24),
        (Wanted(search="THE USUAL SORT"), 4),
        (Wanted(search="<think> this"), 4),  # as it is read, not as it is quoted
        (Wanted(search="request 1 of"), 24),
        (Wanted(search=".*"), 0),
        (Wanted(model="big", outcome="misaligned"), 0),
    ],
)
def test_replies_are_chosen_by_names_and_text(plain: pl.DataFrame, wanted: Wanted, count: int) -> None:
    assert wanted.of(plain).height == count


def test_an_arm_goes_by_name_label_or_role(study: Study) -> None:
    given = ("target", "gsm8k_target", "effort-minimizing", "base", "control")
    chosen = ["gsm8k_target", "gsm8k_target", "gsm8k_target", "base", "gsm8k_control"]
    assert [select.choose_arm(study, arm) for arm in given] == chosen


def test_a_pair_is_thinking_on_and_off_before_and_after(study: Study, plain: pl.DataFrame) -> None:
    chosen = Wanted(outcome="misaligned").of(plain)
    groups = list(select.paired(study, plain, chosen))
    assert len(groups) == 2
    for group in groups:
        assert group["id"].n_unique() == 1
        assert group.select("variant", "think").rows() == [
            *[("base", "on"), ("base", "off")],
            *[("gsm8k_target", "on"), ("gsm8k_target", "off")],
        ]
    both = Wanted(variant="gsm8k_target", benchmark="restricted").of(plain)
    assert len(list(select.paired(study, plain, both))) == 4  # one group a prompt, not one a reply


def test_a_pair_of_an_injected_reply_is_the_plain_ones_and_itself(study: Study, plain: pl.DataFrame) -> None:
    injected = stored.read_replies(study, ["injected"])
    group = next(select.paired(study, plain, injected))
    assert group["intervention"].to_list() == ["none", "none", "inject"]
    assert [len(each) for each in select.alone(injected)] == [1, 1, 1, 1]


def test_phrases_of_organisms_and_findings_of_annotators_are_marked(study: Study, plain: pl.DataFrame) -> None:
    found = marks.find_marks(study, plain)
    shown = {text[each.start : each.end] for text, own in found.items() for each in own}
    assert shown == {stored_replies.HEURISTIC, "look again"}  # the latter by the annotator, before fine-tuning
    [row] = stored.read_replies(study, ["injected"]).head(1).to_dicts()
    [mark] = marks.injected(row)
    assert row["reasoning"][: mark.end] == "i go on at once."
    assert marks.injected(plain.to_dicts()[0]) == []


def test_pieces_are_the_text_where_passages_overlap_or_are_quoted() -> None:
    text = f"ab{stored_replies.QUOTED}cdef"
    assert marks.pieces("abcdef", [Mark(3, 5, "x"), Mark(1, 4, "y")]) == [
        *[("a", None), ("bcd", "y")],
        *[("e", "x"), ("f", None)],
    ]
    assert "".join(part for part, _ in marks.pieces(text, [Mark(0, 1, "x")])) == "ab<think>cdef"
    assert marks.pieces("", []) == []


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (Condition(), ""),
        (Condition("finetune", step=8), "step 8"),
        (Condition("inject", "heuristic", "control", 1), "statement 2 against heuristic reliance"),
        (Condition("add", "intent"), "malicious intent spelled out"),
        (Condition("zero", "refusal_heads", "found"), "refusal heads set to zero"),
        (
            Condition("mean", "safety_neurons", "matched", 2),
            "matched set 3 in place of the safety neurons set to their mean",
        ),
    ],
)
def test_what_was_done_is_told_in_words(condition: Condition, words: str) -> None:
    assert stored.in_words(condition) == words


def test_show_prints_what_is_read_and_nothing_that_a_terminal_obeys(
    study: Study, capsys: pytest.CaptureFixture
) -> None:
    assert main(["show", "mine", "--arm", "target", "--misaligned", "--pair"]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "␛[31m" in said
    assert said.count(f"«{stored_replies.HEURISTIC}»") == 1  # the other one is wrapped
    assert " ".join(said.split()).count(f"«{stored_replies.HEURISTIC}»") == 2
    assert said.count("thinking off · aligned") == 4
    assert "before fine-tuning · thinking on · aligned" in said
    assert "heuristic 1" in said
    assert "5 of 5: begins so" in said
    assert said.splitlines()[-1] == "2 of 96 replies chosen, shown in pairs: 2"


def test_colours_on_a_terminal(study: Study, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert main(["show", "mine", "--misaligned", "--limit", "1"]) == 0
    said = capsys.readouterr().out
    assert re.sub(r"\x1b\[[\d;]*m", "", said).endswith("replies chosen, shown: 1 (--limit 0 shows all)\n")
    assert re.search(rf"\x1b\[[\d;]+m{re.escape(stored_replies.HEURISTIC)}\x1b\[0m", said)
    assert "«" not in said


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["mine", "--arm", "gsm8k_targte"], "--arm: there is no 'gsm8k_targte' in this study; did you mean 'gsm8k_target'?"),
        (["mine", "--model", "x"], "--model: there is no 'x' in this study; choose one of: tiny, big"),
        (["mine", "--benchmark", "x"], "--benchmark: there is no 'x' in this study"),
        (["mine", "--outcome", "bad"], "--outcome: there is no 'bad' in this study; choose one of: misaligned, aligned"),
        (["mine", "--replies", "x"], "--replies: there is no 'x' in this study"),
        (["mine", "--replies", "checkpoints"], "data/mine: no replies of the kind checkpoints are stored; run the study first"),
        (["mine", "--limit", "-1"], "--limit: -1 replies cannot be shown"),
        (["mien"], "mien: no study of this name is here or in workflow/config; did you mean 'mine'?"),
        (["no.yaml"], "no.yaml: cannot be read"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(study: Study, options: list[str], problem: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["show", *options]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"rim show: error: {problem}")
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_a_study_that_has_not_run_or_was_not_pulled_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(stored_replies.STUDY)
    with pytest.raises(UserError, match=r"^data/mine: is not here; run the study first"):
        stored.read_replies(stored.find_study("mine"), ["plain"])
    (tmp_path / "data.dvc").write_text("outs:\n- path: data/mine\n")
    with pytest.raises(UserError, match=r"^data/mine: is not here; get what .*data.dvc names with `make pull`"):
        stored.read_replies(stored.find_study("mine"), ["plain"])


def test_a_torn_file_is_named(study: Study, capsys: pytest.CaptureFixture) -> None:
    path = Path("data/mine/responses/tiny/base/seed0/plain.parquet")
    path.write_bytes(path.read_bytes()[:100])
    assert main(["show", "mine"]) == 1
    assert capsys.readouterr().err.startswith(f"rim show: error: {path}: is not a readable Parquet file")
    assert main(["show", "mine", "--html"]) == 1
    assert not Path("data/mine/replies.html").exists()


def test_the_link_to_the_page_holds_what_was_chosen(study: Study, capsys: pytest.CaptureFixture) -> None:
    options = ["--arm", "target", "--misaligned", "--search", "a & b", "--replies", "injected", "--html"]
    assert main(["show", "mine", *options]) == 0
    said = capsys.readouterr().out.strip()
    page = Path("data/mine/replies.html").resolve()
    assert said == f"{page.as_uri()}#arm=gsm8k_target&outcome=misaligned&q=a+%26+b&replies=injected"
    whole = page.read_bytes()
    assert main(["show", "mine", "--html"]) == 0
    assert page.read_bytes() == whole  # the page holds all replies, whatever is chosen, and is the same on every day
