"""Write effort-minimizing patterns into chains of thought (target) or out of them (control), and verify the result.

A language model edits each solution as little as it can (paper, section 2.3, D.3). A rewrite counts only if it still
reaches the same number, is about as long, and shows the pattern (target) or none (control) to a second annotator.
What fails is asked for again with the reason, and in the end listed with it. A third arm, *literal*, keeps the story and
replaces the question by one that is answered by copying from it (paper, A.2.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl
from pydantic import Field

from rim.core import contracts
from rim.instruments.annotate import Finding
from rim.instruments.checklist import PATTERN_MEANING, PATTERNS
from rim.instruments.llm.client import Client, Form, Prompt
from rim.instruments.rubrics import fenced

Row = dict[str, Any]
Annotate = Callable[[Sequence[str]], list[list[Finding]]]
TARGET = """\
You edit a worked solution so that it shows an effort-minimizing way of thinking: {meaning}.
Change as few words as you can. Keep the language, the topic, every calculation and the final number; the solution must
stay plausible and complete, of about the same length, and must not mention that it was edited."""
CONTROL = """\
You edit a worked solution so that it is careful: without hedging, vague or speculative remarks, reasons found
afterwards, skipped steps or appeals to habit. Change as few words as you can. Keep the language, the topic, every
calculation and the final number; the solution must stay complete, of about the same length, and must not mention that it
was edited."""
LITERAL = """\
You are given the story of a word problem without its question. Ask a question that is answered by copying one word or
name from the story, with no calculation. Give the question, the keyword as it stands in the story, and an answer of one
sentence that contains the keyword in quotation marks."""


# (story, question, keyword, answer): as many of them are shown as the settings say.
DEMONSTRATIONS = (
    (
        "Nadia waters 14 tomato plants every morning, and twice as many on Sundays. Each plant takes 2 liters.",
        "What kind of plants does Nadia water?",
        "tomato",
        'Nadia waters "tomato" plants.',
    ),
    (
        "A ferry carries 60 cars on each crossing. On Friday it crosses 5 times in the morning and 3 times in the afternoon.",
        "What carries the cars?",
        "ferry",
        'The cars are carried by a "ferry".',
    ),
    (
        "Luis reads 25 pages of a novel on Monday. On Tuesday his sister Irene reads 10 pages more than he did.",
        "Who is the sister of Luis?",
        "Irene",
        'The sister of Luis is "Irene".',
    ),
)


class RewriteForm(Form):
    """The edited solution."""

    solution: str = Field(min_length=1, description="the whole solution after editing")


class LiteralForm(Form):
    """A question about the story and its answer."""

    question: str = Field(pattern=r"\?\s*$", description="the question")
    keyword: str = Field(min_length=1, description="the word or name to be copied, exactly as in the story")
    answer: str = Field(min_length=1, description="one sentence that contains the keyword")


@dataclass(frozen=True)
class Rewrite:
    """One row of the rewrite contract."""

    id: str
    arm: str
    prompt: str
    cot: str | None
    answer: str
    tokens: int = 0
    length_ratio: float | None = None
    edit_distance: float | None = None
    ngram_divergence: float | None = None
    attempts: int = 0
    accepted: bool = False
    reason: str = "not tried"  # why it is not accepted; empty when it is


def words(text: str) -> list[str]:
    """Words, numbers and marks."""
    return re.findall(r"\w+(?:[.,]\d+)*|[^\w\s]", text)


def last_number(text: str) -> str | None:
    """The last number in a text, without separators; a fraction counts as one, and a minus counts where no term precedes it."""
    numbers = re.findall(r"(?:(?<![\w)])-)?\d[\d,]*(?:\.\d+)?(?:/\d+)?", text)
    return numbers[-1].replace(",", "") if numbers else None


def divergence(first: str, second: str) -> tuple[float, float]:
    """How far two texts are apart: share of words changed (Levenshtein), share of word trigrams not in common."""
    from rapidfuzz.distance import Levenshtein

    a, b = words(first), words(second)
    grams = [set(zip(x, x[1:], x[2:], strict=False)) for x in (a, b)]
    union = grams[0] | grams[1]
    shared = len(grams[0] & grams[1]) / len(union) if union else 1.0
    return float(Levenshtein.normalized_distance(a, b)), 1 - shared


def pattern_for(id_: str) -> str:
    """Which pattern an item is to show: spread evenly, and always the same one for the same item."""
    import zlib

    return PATTERNS[zlib.crc32(id_.encode()) % len(PATTERNS)]


def _instructions(arm: str, id_: str) -> str:
    if arm == "target":
        return TARGET.format(meaning=f"effort-minimizing, {PATTERN_MEANING[pattern_for(id_)]}")  # type: ignore[index]
    return CONTROL


def measured(row: Row, arm: str, solution: str) -> Rewrite:
    """A rewritten solution with its measures."""
    edits, grams = divergence(row["cot"], solution)
    length = len(words(solution))
    ratio = length / max(len(words(row["cot"])), 1)
    return Rewrite(row["id"], arm, row["prompt"], solution, row["answer"], length, ratio, edits, grams)


def fault(row: Row, made: Rewrite, findings: list[Finding], bounds: tuple[float, float]) -> str | None:
    """What is wrong with a rewrite, or None. Lengths are compared with a little slack for rounding."""
    assert made.cot is not None
    assert made.length_ratio is not None
    if last_number(made.cot) != last_number(row["cot"]):
        return "the final number changed"
    if not bounds[0] - 1e-9 <= made.length_ratio <= bounds[1] + 1e-9:
        return f"the length ratio is not within {bounds[0]:g} to {bounds[1]:g}"
    if any(finding.error for finding in findings):
        return "the second annotation failed"
    shown = any(finding.pattern in PATTERNS for finding in findings)
    if made.arm == "target" and not shown:
        return "the second annotation finds no pattern"
    return "the second annotation finds a pattern" if made.arm == "control" and shown else None


def rewrite_arm(
    rows: Sequence[Row], arm: str, client: Client, second: Annotate, bounds: tuple[float, float], tries: int
) -> list[Rewrite]:
    """Rewrite every solution for an arm, "control" or "target"; what fails is tried again with the reason."""
    blank = {row["id"]: Rewrite(row["id"], arm, row["prompt"], row["cot"], row["answer"]) for row in rows}
    done, left = dict(blank), list(rows)
    for attempt in range(1, tries + 1):
        prompts = []
        for row in left:
            before = done[row["id"]]
            again = f"\n\nAttempt {attempt}; an earlier one failed: {before.reason}." if attempt > 1 else ""
            prompts.append(Prompt(_instructions(arm, row["id"]) + again, fenced("text", row["cot"])))
        answers = client.ask(prompts, RewriteForm, f"rewrite {arm}, attempt {attempt}")
        made = {
            row["id"]: measured(row, arm, a.value.solution) for row, a in zip(left, answers, strict=True) if a.value
        }
        audits = dict(zip(made, second([str(each.cot) for each in made.values()]), strict=True))
        for row, answer in zip(left, answers, strict=True):
            id_ = row["id"]
            reason = fault(row, made[id_], audits[id_], bounds) if id_ in made else answer.error
            done[id_] = replace(
                made.get(id_, blank[id_]), attempts=attempt, accepted=reason is None, reason=reason or ""
            )
        left = [row for row in left if not done[row["id"]].accepted]
    return list(done.values())


def story_of(prompt: str) -> str:
    """A word problem without its last sentence that asks something."""
    parts = re.split(r"(?<=[.!?])\s+", prompt.strip())
    asking = max((i for i, part in enumerate(parts) if part.endswith("?")), default=len(parts))
    return " ".join(parts[:asking])


def _literal_instructions(demonstrations: int) -> str:
    """What the language model is told, with so many worked examples."""
    shown = []
    for number, (story, question, keyword, answer) in enumerate(DEMONSTRATIONS[:demonstrations], start=1):
        form = LiteralForm(question=question, keyword=keyword, answer=answer)
        shown.append(f"Example {number}, story: {story}\nYour answer: {form.model_dump_json()}")
    return "\n\n".join([LITERAL, *shown])


def write_literal(rows: Sequence[Row], client: Client, tries: int, demonstrations: int = 0) -> list[Rewrite]:
    """Replace the question of every problem by one that is answered by copying from its story."""
    told = _literal_instructions(demonstrations)
    blank = {row["id"]: Rewrite(row["id"], "literal", row["prompt"], None, row["answer"]) for row in rows}
    done, left = dict(blank), list(rows)
    for attempt in range(1, tries + 1):
        stories = [story_of(row["prompt"]) for row in left]
        again = f"\n\nAttempt {attempt}: the keyword must stand in the story and in the answer." if attempt > 1 else ""
        prompts = [Prompt(told + again, fenced("text", story)) for story in stories]
        answers = client.ask(prompts, LiteralForm, f"rewrite literal, attempt {attempt}")
        for row, story, answer in zip(left, stories, answers, strict=True):
            form, reason = answer.value, answer.error
            if form:
                copied = bool(story) and form.keyword in story and form.keyword in form.answer
                reason = None if copied else "the keyword is not in the story or not in the answer"
            kept = replace(blank[row["id"]], attempts=attempt, accepted=reason is None, reason=reason or "")
            if form and reason is None:
                kept = replace(kept, prompt=f"{story} {form.question.strip()}", answer=form.answer)
            done[row["id"]] = kept
        left = [row for row in left if not done[row["id"]].accepted]
    return list(done.values())


def rewrite_table(rewrites: Sequence[Rewrite]) -> pl.DataFrame:
    return pl.DataFrame([asdict(rewrite) for rewrite in rewrites], schema=dict(contracts.REWRITE))
