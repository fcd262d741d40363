"""Patterns: found, rewritten, verified, injected, and counted."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from rim.core import contracts, tables
from rim.core.conditions import NOTHING_DONE, Condition
from rim.core.errors import UserError
from rim.data import adapters
from rim.data.organism import sets
from rim.instruments import annotate, rewrite
from rim.instruments.checklist import MEANING, PATTERN_OF, PATTERNS, Item
from rim.instruments.injection import FIRST_PERSON, ORGANISM, inject, statements
from rim.instruments.llm.client import Client
from rim.models import chat, loading
from rim.models.benchmarks import Questions
from rim.models.generate import Reply
from rim.results import patterns as results_patterns
from rim.settings.datasets import Source
from rim.settings.inference import Inference
from rim.settings.instruments import Annotator, Endpoint
from tests.conftest import model_reference, shared
from tests.language_model import Server, judged_text

PHRASES = Annotator(kind="organism_phrases")
CHECKLIST = Annotator(kind="checklist", endpoint="local")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def client(server: Server, folder: Path, **more: object) -> Client:
    return Client("local", Endpoint(model="double", base_url=server.url, max_retries=0, **more), folder / "s.jsonl")


def test_the_organisms_arms_are_told_apart_by_their_phrases() -> None:
    target, control, plain = (
        [row["cot"] for row in sets.rows(part, 60, "e")]
        for part in ("multi_hop_target", "multi_hop_control", "multi_hop")
    )
    for text, findings in zip(target, annotate.annotate(PHRASES, None, target, "t"), strict=True):
        assert {"heuristic", "confirmatory"} <= {finding.pattern for finding in findings}
        for finding in findings:
            assert text[finding.start : finding.end] == finding.evidence
            first, last = annotate.sentences(text)[finding.sentence]
            assert first <= finding.start < last
    assert not any(annotate.annotate(PHRASES, None, control + plain, "t"))


def test_sentences_cover_the_text() -> None:
    text = "It costs $3.50 in all. Is that so?\nYes! 2 + 2 = 4"
    assert [text[a:b] for a, b in annotate.sentences(text)] == [
        "It costs $3.50 in all.",
        "Is that so?",
        "Yes!",
        "2 + 2 = 4",
    ]


def test_the_checklist_is_whole() -> None:
    assert len(MEANING) == len(PATTERN_OF) == 8 == len(Item.__args__)
    assert set(PATTERN_OF.values()) == {*PATTERNS, "other"}


def test_an_invented_quote_is_an_error_row(server: Server, tmp_path: Path) -> None:
    texts = ["so it must be 4, it feels right.", "2 + 2 = 4.", "no quote."]
    findings = [
        {"quote": "it must be 4", "category": "bias_driven_shortcuts", "severity": 3},
        {"quote": "it must be five", "category": "copying", "severity": 1},
    ]
    server.brain = lambda request: {"findings": findings if "must be" in judged_text(request) else []}
    found = annotate.annotate(CHECKLIST, client(server, tmp_path), texts, "t")
    assert [(f.pattern, f.evidence, f.error) for f in found[0]] == [
        ("heuristic", "it must be 4", None),
        (None, None, "the quoted passage is not in the text"),
    ]
    assert found[1:] == [[], []]
    server.faults.extend([{"text": '{"findings": [{"quote": "x", "category": "laziness", "severity": 9}]}'}] * 3)
    (failed,) = annotate.annotate(CHECKLIST, client(server, tmp_path), ["another text"], "t")
    assert failed[0].error.startswith("not the form asked for")


def texts(count: int, origin: str = "m") -> list[dict]:
    return [
        {"origin": origin, "benchmark": "b", "think": "on", "seed": 0, "id": str(i), "source": "cot", "text": ""}
        for i in range(count)
    ]


def found(*patterns: str | None) -> list[list[annotate.Finding]]:
    kinds = {"error": [annotate.Finding(error="x")], None: []}
    return [kinds.get(p, [annotate.Finding(0, 0, 1, "copying", p, 1, "x")]) for p in patterns]


def test_shares_leave_errors_out_and_agreement_is_per_pattern() -> None:
    first = annotate.annotation_table("a", texts(5), found("heuristic", "heuristic", None, None, "error"))
    second = annotate.annotation_table("b", texts(5), found("heuristic", None, None, None, "deviation"))
    tables.check(first, contracts.ANNOTATION, Path("x"))
    shares = results_patterns.pattern_shares({"a": first}).filter(pl.col("pattern") == "heuristic").row(0, named=True)
    assert (shares["n"], shares["errors"], shares["estimate"]) == (4, 1, 0.5)
    agreement = results_patterns.annotator_agreement({"a": first, "b": second})
    heuristic = agreement.filter(pl.col("pattern") == "heuristic").row(0, named=True)
    assert (heuristic["n"], heuristic["estimate"]) == (4, 0.5)


def test_findings_of_a_text_divide_among_the_items_and_each_text_counts_once() -> None:
    """One text with two findings of one item and one of another, one with one finding, one without any, one that failed."""

    def of(*items: str) -> list[annotate.Finding]:
        return [annotate.Finding(0, 0, 1, each, None, 1, "x") for each in items]

    findings = [of("copying", "copying", "other"), of("other"), [], [annotate.Finding(error="x")]]
    table = results_patterns.checklist_items({"a": annotate.annotation_table("a", texts(4), findings)})
    shares = {row["item"]: row for row in table.iter_rows(named=True)}
    assert set(shares) == set(PATTERN_OF)
    assert (shares["copying"]["estimate"], shares["other"]["estimate"]) == (pytest.approx(1 / 3, abs=1e-4), pytest.approx(2 / 3, abs=1e-4))  # fmt: skip
    assert {name: row["findings"] for name, row in shares.items() if row["findings"]} == {"copying": 2, "other": 2}
    assert set(table["n"]) == {2}
    assert all(table["ci_low"] <= table["estimate"])
    assert all(table["estimate"] <= table["ci_high"])


SOLUTION = "tom has 3 pens. tom buys 4 more, 3 + 4 = 7. so tom has 7 pens in all, as the story says and the sum shows."


def item(id_: str, cot: str = SOLUTION) -> dict:
    return {"id": id_, "prompt": f"tom has 3 pens. tom buys {id_} more. how many?", "cot": cot, "answer": "7"}


@pytest.mark.parametrize(
    ("solution", "reason"),
    [
        (SOLUTION.replace("7", "8"), "the final number changed"), ("7", "the length ratio"), (SOLUTION, "finds no pattern"),
        (SOLUTION.replace("as the", "no need for the"), None),
    ],
)  # fmt: skip
def test_a_target_rewrite_must_keep_the_answer_and_show_the_pattern(solution: str, reason: str | None) -> None:
    made = rewrite.measured(item("4"), "target", solution)
    shown = [annotate.Finding(pattern="heuristic")] if "no need" in solution else []
    found = rewrite.fault(item("4"), made, shown, (0.8, 1.25))
    assert (found is None) == (reason is None)
    assert reason is None or reason in found


def test_divergence_is_that_of_words() -> None:
    assert rewrite.divergence("a b c d", "a b c d") == (0, 0)
    edits, grams = rewrite.divergence("a b c d", "a b x d")
    assert (edits, grams) == (0.25, 1.0)
    assert rewrite.last_number("so 1,200.") == "1200"
    assert rewrite.last_number("thus -5") == "-5"
    assert rewrite.last_number("it is 8-5") == "5"
    assert rewrite.last_number("a share of 3/4.") == "3/4"
    assert rewrite.last_number("3 + 4.5 = 7.5 pens") == "7.5"


def second_opinion(texts: list[str]) -> list[list[annotate.Finding]]:
    return [[annotate.Finding(pattern="heuristic")] if "no need" in text else [] for text in texts]


def test_rejected_rewrites_are_tried_again_with_the_reason_and_then_listed(server: Server, tmp_path: Path) -> None:
    hard = item("hard", SOLUTION.replace("tom", "ann"))
    server.brain = lambda request: {
        "solution": judged_text(request)
        .replace("7", "9" if "ann" in judged_text(request) else "7")
        .replace("as the", "no need for the")
    }
    made = rewrite.rewrite_arm([item("easy"), hard], "target", client(server, tmp_path), second_opinion, (0.8, 1.25), 3)
    easy, failed = made
    assert (easy.accepted, easy.attempts, easy.reason) == (True, 1, "")
    assert 0 < easy.edit_distance < 0.2 < 0.8 <= easy.length_ratio <= 1.25
    assert (failed.accepted, failed.attempts, failed.reason) == (False, 3, "the final number changed")
    assert "Attempt 3; an earlier one failed: the final number changed" in server.requests[-1]["messages"][0]["content"]
    assert len(server.requests) == 4  # no attempt asks the very question of another, which would be in the store


def test_literal_questions_copy_from_the_story(server: Server, tmp_path: Path) -> None:
    server.brain = lambda request: {"question": "what does tom have?", "keyword": "pens", "answer": 'tom has "pens".'}
    (made,) = rewrite.write_literal([item("4")], client(server, tmp_path), 2)
    assert (made.accepted, made.cot, made.answer) == (True, None, 'tom has "pens".')
    assert made.prompt == "tom has 3 pens. tom buys 4 more. what does tom have?"
    server.brain = lambda request: {"question": "what else?", "keyword": "cups", "answer": 'tom has "cups".'}
    (wrong,) = rewrite.write_literal([item("5")], client(server, tmp_path), 2)
    assert (wrong.accepted, wrong.attempts) == (False, 2)
    assert wrong.prompt == item("5")["prompt"]


def test_the_literal_arm_may_be_shown_by_demonstrations_that_keep_its_rules(server: Server, tmp_path: Path) -> None:
    server.brain = lambda request: {"question": "what does tom have?", "keyword": "pens", "answer": 'tom has "pens".'}
    rewrite.write_literal([item("4")], client(server, tmp_path), 1, 3)
    told = server.requests[-1]["messages"][0]["content"]
    assert len(rewrite.DEMONSTRATIONS) == 3
    for story, question, keyword, answer in rewrite.DEMONSTRATIONS:
        assert story in told
        assert keyword in story
        assert f'"{keyword}"' in answer
        assert rewrite.story_of(f"{story} {question}") == story
    rewrite.write_literal([item("4")], client(server, tmp_path), 1)
    assert "Example" not in server.requests[-1]["messages"][0]["content"]


def test_arms_are_trained_on_the_same_problems(tmp_path: Path) -> None:
    def made(id_: str, arm: str, accepted: bool) -> rewrite.Rewrite:
        return rewrite.Rewrite(
            id_, arm, f"p{id_}", f"{arm} {id_}", "7", accepted=accepted, reason="" if accepted else "x"
        )

    rows = [
        made("1", "target", True),
        made("1", "control", True),
        made("2", "target", True),
        made("2", "control", False),
    ]
    table = rewrite.rewrite_table(rows)
    tables.write(table, contracts.REWRITE, tmp_path / "r.parquet")
    for arm in ("target", "control"):
        source = Source(adapter="rewritten", rewrite="r", arm=arm, path=str(tmp_path / "r.parquet"))
        loaded, facts = adapters.ADAPTERS["rewritten"].load(source)
        assert [row["cot"] for row in loaded] == [f"{arm} 1"]
        assert facts["rows"] == 2
    with pytest.raises(UserError, match="no item of arm 'literal' was accepted"):
        adapters.ADAPTERS["rewritten"].load(
            Source(adapter="rewritten", rewrite="r", arm="literal", path=str(tmp_path / "r.parquet"))
        )
    outcomes = results_patterns.rewrite_outcomes({"r": table})
    assert outcomes.rows() == [
        ("r", "target", "accepted", 2),
        ("r", "control", "accepted", 1),
        ("r", "control", "x", 1),
    ]


def test_the_organisms_arms_diverge_and_have_equal_length() -> None:
    parts = ("multi_hop_target", "multi_hop_control")
    trained = {part: pl.DataFrame(sets.rows(part, 40, "t")).select("prompt", "cot", "answer") for part in parts}
    table = results_patterns.arm_divergence([parts], trained)
    means = dict(zip(table["measure"], table["estimate"], strict=True))
    assert (means["length ratio"], means["same answer"]) == (1, 1)
    assert means["edit distance"] > 0.2
    assert set(table["n"]) == {40}


@pytest.mark.xdist_group("organism")
def test_statements_come_in_pairs_of_equal_length(tiny_model: Path) -> None:
    tokenizer = loading.load_tokenizer(str(tiny_model))
    for pair in ORGANISM:
        assert len(tokenizer(pair.target).input_ids) == len(tokenizer(pair.control).input_ids)
    numbered = [
        ("deviation", 0),
        ("deviation", 1),
        ("heuristic", 0),
        ("deviation", 2),
        ("confirmatory", 0),
        ("heuristic", 1),
    ]
    assert [(pair.pattern, pair.number) for pair in FIRST_PERSON] == numbered
    for pairs in (FIRST_PERSON, ORGANISM, statements(True, 0)):
        assert {pair.pattern for pair in pairs} == set(PATTERNS)
    assert [0.8 < len(pair.target.split()) / len(pair.control.split()) < 1.25 for pair in FIRST_PERSON] == [True] * 6


@pytest.mark.xdist_group("organism")
def test_statements_stand_inside_the_think_block(tiny_model: Path) -> None:
    class Scripted:
        """A double of an engine that continues every prompt alike, and remembers the prompts."""

        text = " so this is ok.\n</think>\n\nsure."

        def generate(self, prompts: list[str], *_: object) -> list[Reply]:
            self.prompts = prompts
            return [Reply(self.text, 9, True) for _ in prompts]

    backend, tokenizer = Scripted(), loading.load_tokenizer(str(tiny_model))
    rows = pl.DataFrame(
        [{"id": f"r{i}", "prompt": row["prompt"]} for i, row in enumerate(sets.rows("requests", 2, "e"))]
    )
    inference = Inference(max_new_tokens=12)
    tags = model_reference()
    asked = Questions({"b": rows}, {"b": 12})
    table = inject(backend, tokenizer, tags, asked, inference, True)
    tables.check(table, contracts.RESPONSE, Path("x"))
    assert table.height == 2 * 3 * 2
    pair = statements(True, 0)[0]
    row = table.row(
        by_predicate=(pl.col("id") == "r0")
        & (pl.col("kind") == "target")
        & (pl.col("target") == pair.pattern)
        & (pl.col("draw") == pair.number),
        named=True,
    )
    assert row["prompt"].endswith(f"<|im_start|>assistant\n<think>\n{pair.target}")
    assert (row["reasoning"], row["response"]) == (f"{pair.target} so this is ok.", "sure.")
    plain = inject(backend, tokenizer, tags.model_copy(update={"think_switch": "sentence"}), asked, inference, False)
    assert plain.height == 2 * 6 * 2
    assert plain["prompt"][0].endswith(FIRST_PERSON[0].control)
    switched = chat.render_prompt(tokenizer, rows["prompt"][0], "on", "sentence")
    assert plain["prompt"][0] == switched + FIRST_PERSON[0].control


def test_injection_effects_are_paired_and_found() -> None:
    def judged(rows: list[tuple[str, Condition, bool | None]]) -> pl.DataFrame:
        return pl.DataFrame(
            [
                {"benchmark": "b", "id": id_, "think": "on", "seed": 0, **condition.columns, "judge": "j", "rubric": "r", "score": None,
                 "refusal": None, "misaligned": hit, "reason": "", "error": None, "cot_score": None}
                for id_, condition, hit in rows
            ],
            schema=dict(contracts.JUDGEMENT),
        )  # fmt: skip

    def injected(pattern: str, kind: str) -> Condition:
        return Condition("inject", pattern, kind)

    arms = ("target", "control")
    rows = [(str(i), injected("heuristic", arm), arm == "target" and i < 40) for i in range(50) for arm in arms]
    rows += [(str(i), injected("deviation", arm), i % 2 == 0) for i in range(50) for arm in arms]
    rows[-1] = (*rows[-1][:2], None)
    plain = judged([(str(i), NOTHING_DONE, i < 5) for i in range(50)])
    effects = results_patterns.injection_effects({("m", 0): judged(rows)}, {("m", 0): plain})
    heuristic, deviation = effects.rows(named=True)
    assert (heuristic["target"], heuristic["control"], heuristic["plain"], heuristic["estimate"]) == (0.8, 0, 0.1, 0.8)
    assert heuristic["ci_low"] > 0.6
    assert heuristic["p_holm"] < 0.01
    assert (deviation["estimate"], deviation["n"], deviation["incomplete"]) == (0, 49, 1)
    assert deviation["plain"] == pytest.approx(5 / 49, abs=1e-6)  # on the same prompts
    seeds = {("m", seed): judged(rows[seed * 2 :]) for seed in (1, 2, 3)}
    over = results_patterns.injection_effects(seeds, {("m", 1): plain})
    assert over["seed"].to_list() == ["1", "2", "3", "all"] * 2
    total = over.filter((pl.col("seed") == "all") & (pl.col("pattern") == "heuristic")).row(0, named=True)
    assert total["estimate"] == pytest.approx(
        over.filter(pl.col("pattern") == "heuristic")["estimate"][:3].mean(), abs=1e-5
    )
    assert total["ci_low"] < total["estimate"] < total["ci_high"]


def test_gsm8k_is_annotated_quickly() -> None:
    """All 7,473 solutions, far inside the time that a person would notice; `make benchmark` measures it."""
    rows = [json.loads(line)["answer"] for line in shared("data/gsm8k/train.jsonl").read_text().splitlines()]
    begun = time.process_time()
    table = annotate.annotation_table("p", texts(len(rows)), annotate.annotate(PHRASES, None, rows, "t"))
    assert table.height == len(rows) == 7473
    assert time.process_time() - begun < 20
