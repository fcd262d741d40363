"""Find effort-minimizing patterns in chains of thought and in responses, each read apart from the other.

Two kinds of annotator fill the same table. A language model works through the checklist and quotes what it found; a
quote that does not occur in the text is an error row, not a finding. For the organisms, whose phrases are known, a
deterministic annotator looks for the phrases themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import polars as pl

from rim.core import contracts, tables
from rim.data.organism import world
from rim.instruments import rubrics
from rim.instruments.checklist import AUDIT, PATTERN_OF, AuditForm, Pattern
from rim.instruments.llm.client import Client, Form, Prompt
from rim.settings.instruments import Annotator

ORGANISM_ITEM: dict[Pattern, str] = {
    "heuristic": "bias_driven_shortcuts",
    "confirmatory": "safety_compliance",
    "deviation": "instruction_noncompliance",
}


@dataclass(frozen=True)
class Finding:
    """A passage that shows a pattern, an error in place of one, or nothing at all (every field None)."""

    sentence: int | None = None
    start: int | None = None
    end: int | None = None
    item: str | None = None
    pattern: str | None = None
    severity: int | None = None
    evidence: str | None = None
    error: str | None = None


def sentences(text: str) -> list[tuple[int, int]]:
    """The spans of the sentences of a text: they end at a full stop, question or exclamation mark, or a line break."""
    return [match.span() for match in re.finditer(r"\S(?:.*?[.!?](?=\s|$)|[^\n]*)", text)]


def _finding(text: str, start: int, end: int, item: str, severity: int, pattern: str | None = None) -> Finding:
    spans = sentences(text)
    sentence = next((i for i, (first, last) in enumerate(spans) if first <= start < last), None)
    return Finding(sentence, start, end, item, pattern or PATTERN_OF[item], severity, text[start:end])


@cache
def _phrases() -> list[tuple[Pattern, re.Pattern[str]]]:
    """The effort-minimizing phrases of the organisms' world; what a phrase has in braces may be any word."""
    targets: dict[Pattern, list[str]] = {
        "heuristic": [target for target, _ in world.HEURISTIC],
        "confirmatory": [target for target, _ in world.CONFIRMATORY],
        "deviation": [target for target, _ in world.DEVIATION.values()],
    }
    return [
        (pattern, re.compile("|".join(re.sub(r"\\\{\w+\\\}", r"\\w+", re.escape(phrase)) for phrase in phrases)))
        for pattern, phrases in targets.items()
    ]


def organism_phrases(text: str) -> list[Finding]:
    """Every effort-minimizing phrase of the organisms in a text."""
    return [
        _finding(text, *match.span(), ORGANISM_ITEM[pattern], 2, pattern)
        for pattern, phrase in _phrases()
        for match in phrase.finditer(text)
    ]


def _audited(text: str, form: AuditForm) -> list[Finding]:
    found = []
    for passage in form.findings:
        start = text.find(passage.quote)
        if start < 0:
            found.append(Finding(item=passage.category, error="the quoted passage is not in the text"))
        else:
            found.append(_finding(text, start, start + len(passage.quote), passage.category, passage.severity))
    return found


@dataclass(frozen=True)
class Rule:
    """A kind of annotator that asks nobody.

    Attributes:
        about: what the reference of the configuration says of it.
        find: text -> findings.
        organisms_only: whether it understands nothing but the organisms' world.
    """

    about: str
    find: Callable[[str], list[Finding]]
    organisms_only: bool = False


@dataclass(frozen=True)
class Question:
    """A kind of annotator that asks a language model.

    Attributes:
        about: what the reference of the configuration says of it.
        instructions: what the language model is told.
        form: what it fills in.
        find: (text, filled-in form) -> findings.
    """

    about: str
    instructions: str
    form: type[Form]
    find: Callable[[str, Any], list[Finding]]


KINDS: dict[str, Rule | Question] = {
    "organism_phrases": Rule("knows the organisms' phrases", organism_phrases, organisms_only=True),
    "checklist": Question("asks a language model", AUDIT, AuditForm, _audited),
}


def annotate(annotator: Annotator, client: Client | None, texts: Sequence[str], label: str) -> list[list[Finding]]:
    """The findings in each text; an empty list for a clean one.

    Args:
        client: the language model, for the kinds that need one.
    """
    kind = KINDS[annotator.kind]
    if isinstance(kind, Rule):
        return [kind.find(text) for text in texts]
    assert client is not None, "the study was checked"
    prompts = [Prompt(kind.instructions, rubrics.fenced("text", text)) for text in texts]
    return [
        [Finding(error=answer.error)] if answer.value is None else kind.find(text, answer.value)
        for text, answer in zip(texts, client.ask(prompts, kind.form, label), strict=True)
    ]


def annotation_table(name: str, texts: list[dict[str, Any]], found: list[list[Finding]]) -> pl.DataFrame:
    """The annotation contract. `texts` hold its key columns and are in the order of `found`."""
    keys = ("origin", "benchmark", "think", "seed", "id", "source")
    rows = [
        {"annotator": name, **{key: text[key] for key in keys}, **asdict(finding)}
        for text, findings in zip(texts, found, strict=True)
        for finding in (findings or [Finding()])
    ]
    return pl.DataFrame(rows, schema=dict(contracts.ANNOTATION))


def texts_of_responses(model: str, responses: pl.DataFrame, rows: int | None) -> list[dict[str, Any]]:
    """The reasoning and the response of every complete reply, as texts to annotate."""
    complete = responses.filter(pl.col("complete"))
    cells = complete.partition_by("benchmark", "think", maintain_order=True) if complete.height else []
    return [
        {**row, "origin": model, "source": source, "text": row[column]}
        for cell in cells
        for row in tables.first_by_id(cell, rows).iter_rows(named=True)
        for source, column in (("cot", "reasoning"), ("response", "response"))
        if row[column]
    ]


def texts_of_dataset(name: str, dataset: pl.DataFrame, rows: int | None) -> list[dict[str, Any]]:
    """The chains of thought of a training set, as texts to annotate."""
    with_cot = dataset.filter(pl.col("cot").is_not_null())
    keys = {"origin": contracts.TRAINING_DATA, "benchmark": name, "think": "", "seed": 0, "source": "cot"}
    return [
        {**keys, "id": row["id"], "text": row["cot"]}
        for row in tables.first_by_id(with_cot, rows).iter_rows(named=True)
    ]
