"""Which passages of replies show an effort-minimizing pattern, and which were injected.

Replies of organisms are looked through on the spot, since their phrases are known. Of other models there is what the study's
annotators found in their replies before fine-tuning.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from rim.config.study import Study
from rim.core import contracts, tables
from rim.instruments.annotate import organism_phrases
from rim.models.control import unquote
from rim.settings.common import BASE

SOURCES = {"cot": "reasoning", "response": "response"}  # of an annotation, and the column of replies
INJECTED = "injected"  # stands for a pattern where a passage is the statement that the model went on from


class Mark(NamedTuple):
    """A passage of a text, text[start:end], and what it shows."""

    start: int
    end: int
    pattern: str


def find_marks(study: Study, replies: pl.DataFrame) -> dict[str, list[Mark]]:
    """The passages that show a pattern, by the text of a thought or a response."""
    organisms = [name for name, model in study.models.items() if model.trained_here]
    own = replies.filter(pl.col("model").is_in(organisms))
    texts = {text for column in SOURCES.values() for text in own[column].drop_nulls().unique()}
    found = {text: [Mark(each.start, each.end, each.pattern) for each in organism_phrases(text)] for text in texts}  # type: ignore[arg-type]
    for text, mark in _annotated(study, replies.filter(~pl.col("model").is_in(organisms))):
        found.setdefault(text, []).append(mark)
    return found


def _annotated(study: Study, replies: pl.DataFrame) -> Iterable[tuple[str, Mark]]:
    """What annotators found in these replies."""
    before = replies.filter((pl.col("variant") == BASE) & (pl.col("replies") == "plain"))
    for name in study.annotators if before.height else ():
        path = Path("data", study.study, "annotations", f"{name}.parquet")
        if not path.is_file():
            continue
        passages = tables.read(path, contracts.ANNOTATION).filter(pl.col("start").is_not_null())
        keys = ["benchmark", "think", "seed", "id"]
        joined = passages.join(before, left_on=["origin", *keys], right_on=["model", *keys], how="inner")
        for row in joined.iter_rows(named=True):
            yield row[SOURCES[row["source"]]], Mark(row["start"], row["end"], row["pattern"])


def injected(reply: dict[str, Any]) -> list[Mark]:
    """The statement that a thought was made to begin with, if it was."""
    if reply["intervention"] != "inject" or not reply["reasoning"]:
        return []
    prompt, thought = reply["prompt"], reply["reasoning"]
    end = next((length for length in range(len(thought), 0, -1) if prompt.endswith(thought[:length])), 0)
    return [Mark(0, end, INJECTED)] if end else []


def pieces(text: str, marks: list[Mark]) -> list[tuple[str, str | None]]:
    """A text in pieces as it is read by people, each with the pattern that it shows; where passages overlap, the first one counts."""
    parts: list[tuple[str, str | None]] = []
    reached = 0
    for start, end, pattern in sorted(marks):
        start = max(start, reached)
        if start < end:
            parts += [(text[reached:start], None), (text[start:end], pattern)]
            reached = end
    return [(unquote(part), pattern) for part, pattern in [*parts, (text[reached:], None)] if part]
