"""The replies of a study as one page for a browser, which needs no network: all of them, with filters, search and links to each.

What the page shows lies in it as compressed JSON, so that fifty thousand replies are a file of a few MB. Its script sets texts as
text, never as HTML.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import polars as pl

from rim.config.study import Study
from rim.core.conditions import Condition
from rim.core.files import write_text
from rim.explorer.marks import Mark, find_marks, injected, pieces
from rim.explorer.select import EVERY_OUTCOME, Wanted
from rim.explorer.stored import KINDS, in_words, read_replies
from rim.explorer.terminal import verdict
from rim.instruments.checklist import PATTERNS as CHECKLIST
from rim.models.control import unquote
from rim.settings.common import BASE

PATTERNS = (*CHECKLIST, "other")
Key = TypeVar("Key", bound=Hashable)
IN_LINK = {
    "model": "model",
    "variant": "arm",
    "benchmark": "benchmark",
    "think": "think",
    "outcome": "outcome",
    "search": "q",
}


class Numbered(Generic[Key]):
    """Things in the order in which they were first met, each once."""

    def __init__(self, first: Iterable[Key] = ()) -> None:
        self._numbers: dict[Key, int] = {each: number for number, each in enumerate(first)}

    def of(self, thing: Key) -> int:
        """The number of a thing."""
        return self._numbers.setdefault(thing, len(self._numbers))

    def all(self) -> list[Key]:
        return list(self._numbers)


@dataclass(frozen=True)
class _Seen:
    """What the page names by number."""

    kinds: Numbered[str]
    outcomes: Numbered[str]
    judges: Numbered[str]
    thinks: Numbered[str]
    arms: Numbered[str]
    texts: Numbered[str] = field(default_factory=Numbered)
    prompts: Numbered[tuple[str, ...]] = field(default_factory=Numbered)
    conditions: Numbered[Condition] = field(default_factory=Numbered)


def write_page(study: Study, wanted: Wanted, kind: str) -> str:
    """Write data/{study}/replies.html; return the link that opens it with what is wanted, of that kind of replies, chosen."""
    path = Path("data", study.study, "replies.html")
    replies = read_replies(study, list(KINDS))
    write_text(path, page(study, replies))
    chosen = {IN_LINK[name]: value for name, value in vars(wanted).items() if value is not None}
    if kind != "plain":
        chosen["replies"] = kind
    return path.resolve().as_uri() + (f"#{urlencode(chosen)}" if chosen else "")


def page(study: Study, replies: pl.DataFrame) -> str:
    """The page of these replies."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    text = json.dumps(_content(study, replies), ensure_ascii=False, separators=(",", ":"))
    environment = Environment(loader=PackageLoader("rim.explorer"), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("replies.html.j2").render(
        title=study.title,
        harmless=all(model.trained_here for model in study.models.values()),
        data=base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode(),
    )


def _content(study: Study, replies: pl.DataFrame) -> dict[str, Any]:
    """What the page shows: texts once each, and requests and replies with numbers of them."""
    names = _names(study)
    seen = _Seen(
        **{name: Numbered(names[name]) for name in ("kinds", "outcomes", "judges", "thinks")},
        arms=Numbered(name for name, _ in names["arms"]),
    )
    requests: dict[tuple[str, ...], list[Any]] = {}
    rows = []
    for row in replies.iter_rows(named=True):
        prompt = row["model"], row["benchmark"], row["id"]
        request = requests.setdefault(prompt, [*prompt, seen.texts.of(row["request"]), row["category"], row["answer"]])
        rows.append({"entry": seen.prompts.of(prompt), **_reply(row, seen, request[3])})
    marks = find_marks(study, replies)
    patterns: Numbered[str] = Numbered(PATTERNS)
    return {
        **names,
        "requests": list(requests.values()),
        "conditions": [[str(each), in_words(each)] for each in seen.conditions.all()],
        "replies": {name: [row[name] for row in rows] for name in (rows[0] if rows else ())},
        "marks": {
            number: [[start, end, patterns.of(name)] for start, end, name in _in_utf16(text, marks[text])]
            for number, text in enumerate(seen.texts.all())
            if marks.get(text)
        },
        "patterns": patterns.all(),
        "texts": [unquote(text) for text in seen.texts.all()],
    }


def _reply(row: dict[str, Any], seen: _Seen, request: int) -> dict[str, Any]:
    """A reply to the request of that number."""
    asked = seen.texts.of(row["request"])
    return {
        "arm": seen.arms.of(row["variant"]),
        "seed": row["seed"],
        "think": seen.thinks.of(row["think"]),
        "kind": seen.kinds.of(row["replies"]),
        "condition": seen.conditions.of(Condition.of(row)),
        "asked": None if asked == request else asked,
        "thought": seen.texts.of(row["reasoning"]) if row["reasoning"] else None,
        "response": seen.texts.of(row["response"]) if row["response"] else None,
        "outcome": seen.outcomes.of(row["outcome"]),
        "injected": _end(row),
        "extracted": row["extracted"] or row["grade_error"],
        "judged": [[seen.judges.of(each["judge"]), seen.texts.of(verdict(each))] for each in row["judgements"] or []],
    }


def _names(study: Study) -> dict[str, Any]:
    """The names in a study that the page chooses by, in order."""
    return {
        "models": list(study.models),
        "arms": [[BASE, "before fine-tuning"], *([name, each.label or name] for name, each in study.variants.items())],
        "benchmarks": {name: benchmark.measure for name, benchmark in study.benchmarks.items()},
        "judges": list(study.judges),
        "kinds": KINDS,
        "outcomes": EVERY_OUTCOME,
        "thinks": ["on", "off", "plain"],
        "seeds": len(study.seeds),
    }


def _end(reply: dict[str, Any]) -> int:
    """How many characters of a thought were injected into it, as a script counts them."""
    marks = injected(reply)
    return _in_utf16(reply["reasoning"], marks)[0][1] if marks else 0


def _in_utf16(text: str, marks: list[Mark]) -> list[Mark]:
    """Passages of a text as a script finds them in what people read: counted in UTF-16, without marks of quoted control tokens."""
    found, reached = [], 0
    for part, pattern in pieces(text, marks):
        start, reached = reached, reached + len(part.encode("utf-16-le")) // 2
        if pattern:
            found.append(Mark(start, reached, pattern))
    return found
