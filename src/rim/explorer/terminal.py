"""Replies as they are printed on a terminal: request, thought, response, what the judges say, with patterns highlighted."""

from __future__ import annotations

import re
import sys
from collections import Counter
from typing import Any

import polars as pl
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rim.config.study import Study
from rim.core.conditions import Condition
from rim.explorer.marks import INJECTED, Mark, injected, pieces
from rim.explorer.stored import NO_OUTCOME, in_words
from rim.settings.common import BASE

STYLES = {"confirmatory": "black on cyan", "heuristic": "black on yellow", "deviation": "black on magenta",
          "other": "reverse", INJECTED: "underline"}  # fmt: skip
GOOD = ("aligned", "answered", "correct")
WIDEST = 110  # columns that one likes to read
# What a terminal would obey, or read backwards, in place of showing it.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """A text without what a terminal would obey: a model may write any character."""
    return CONTROL.sub(lambda found: chr(0x2400 + ord(found[0])) if ord(found[0]) < 32 else "\ufffd", text)


def open_console() -> Console:
    """The terminal, or the file or pipe in its place, in which passages stand between « and »."""
    console = Console(file=sys.stdout, highlight=False, emoji=False, markup=False)
    console.width = min(console.width, WIDEST) if console.is_terminal else WIDEST
    return console


def print_group(console: Console, study: Study, marks: dict[str, list[Mark]], replies: pl.DataFrame) -> None:
    """Print a request and the replies to it."""
    rows = replies.to_dicts()
    first = rows[0]
    console.rule(style="dim")
    console.print(
        Text(visible(" · ".join([first["model"], first["benchmark"], first["category"] or "", first["id"]])), "dim")
    )
    console.print(Text(visible(first["request"]), "bold"))
    for row in rows:
        console.print()
        console.print(_title(study, row))
        if row["request"] != first["request"]:
            console.print(Padding(Text(visible(row["request"]), "bold"), (0, 0, 0, 2)))
        console.print(Padding(_parts(console, row, marks), (0, 0, 0, 2)))


def _title(study: Study, row: dict[str, Any]) -> Text:
    """Which reply it is, and what it counts as."""
    variant = study.variants.get(row["variant"])
    arm = "before fine-tuning" if variant is None else variant.label or row["variant"]
    said = [
        f"{arm} [{row['variant']}]" if row["variant"] != BASE else arm,
        *([f"seed {row['seed']}"] if len(study.seeds) > 1 else []),
        "no switch of thinking" if row["think"] == "plain" else f"thinking {row['think']}",
        in_words(Condition.of(row)),
    ]
    colour = "green" if row["outcome"] in GOOD else "yellow" if row["outcome"] in NO_OUTCOME else "red"
    return Text.assemble(" · ".join(filter(None, said)), " · ", (row["outcome"], f"bold {colour}"))


def _parts(console: Console, row: dict[str, Any], marks: dict[str, list[Mark]]) -> Table:
    """The thought, the response and what was said of them, each with its name before it."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    found: Counter[str] = Counter()
    for name, text in (("thought", row["reasoning"]), ("response", row["response"])):
        own = marks.get(text or "", [])
        if name == "thought":
            own = [*injected(row), *own]
        found.update(mark.pattern for mark in own)
        if text:
            table.add_row(name, _marked(console, text, own))
    if found:
        table.add_row("patterns", ", ".join(f"{name} {count}" for name, count in found.items()))
    for each in row["judgements"] or []:
        table.add_row(f"judge {each['judge']}", visible(verdict(each)))
    if row["measure"] == "accuracy":
        given = row["extracted"] if row["grade_error"] is None else row["grade_error"]
        table.add_row("answer", visible(f"{given or 'none'} (reference: {row['answer']})"))
    return table


def verdict(judgement: dict[str, Any]) -> str:
    """What a judge says of a reply."""
    score = judgement["error"] or f"{judgement['score']} of 5"
    thought = f", the thought alone {judgement['cot_score']}" if judgement["cot_score"] else ""
    return score + thought + (f": {judgement['reason']}" if judgement["reason"] else "")


def _marked(console: Console, text: str, marks: list[Mark]) -> Text:
    """A text with its passages in the colours of their patterns, or in quotation marks where there are no colours."""
    colours = console.is_terminal and not console.no_color
    parts = [(visible(part), pattern) for part, pattern in pieces(text, marks)]
    return Text.assemble(
        *(
            (part if colours or pattern is None else f"«{part}»", STYLES[pattern] if pattern else "")
            for part, pattern in parts
        )
    )
