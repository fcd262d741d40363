"""The page of tables, and all of it as one JSON file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rim.core.files import write_json, write_text
from rim.device.rows import Outcome, Row, Value

PAGE, DATA = "page.md", "program.json"
HEADER = ("what", "measured", "unit", "by the bill", "ratio", "target", "", "note")
CRUMBS = (
    "**Proved on CPU shapes.** This machine has no GPU, so the program ran with crumbs in place of models: that it runs is what "
    "this page shows. Its speeds mean nothing, nor do those of the bill, which knows GPUs only; targets of speed are not judged."
)


def write(folder: Path, titles: Mapping[str, str], outcomes: Sequence[Outcome]) -> None:
    """Write both files.

    Args:
        titles: of all items, in their order; those without an outcome have not been reached.
    """
    write_json(folder / DATA, [asdict(each) for each in outcomes])
    write_text(folder / PAGE, "\n".join(text(titles, outcomes)) + "\n")


def text(titles: Mapping[str, str], outcomes: Sequence[Outcome]) -> Iterator[str]:
    """The page, line by line."""
    by_name = {each.name: each for each in outcomes}
    known = by_name["environment"].values() if "environment" in by_name else {}
    yield f"# {known.get('processor', 'A machine')}: what `rim check-gpu --full` measured"
    yield ""
    if known.get("device") == "cpu":
        yield from (CRUMBS, "")
    yield from _summary(titles, outcomes)
    yield from _missing(titles, by_name)
    for outcome in outcomes:
        if outcome.rows:
            yield from ("", f"## {titles[outcome.name]}", "")
            yield from _table(outcome.rows)
    yield from _bill(titles, outcomes)


def _summary(titles: Mapping[str, str], outcomes: Iterable[Outcome]) -> Iterator[str]:
    """How many targets hold, and those that do not."""
    judged = [
        replace(row, what=f"{titles[outcome.name]}: {row.what}")
        for outcome in outcomes
        for row in outcome.rows
        if row.holds is not None
    ]
    missed = [row for row in judged if not row.holds]
    yield f"Targets: {len(judged) - len(missed)} of {len(judged)} hold." + (" These do not:" if missed else "")
    if missed:
        yield ""
        yield from _table(missed)


def _missing(titles: Mapping[str, str], outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    """What was not measured, or not to its end, and why."""
    lines = []
    for name, title in titles.items():
        outcome = outcomes.get(name)
        if outcome is None:
            lines.append((title, "", "not reached yet", ""))
            continue
        if outcome.state != "done":
            measured = f"{len(outcome.rows)} rows" if outcome.rows else ""
            lines.append((title, measured, outcome.state, outcome.note))
        lines += [(title, row.what, "not measured", row.note) for row in outcome.rows if row.value is None]
    if lines:
        yield from ("", "## What is not here", "")
        yield from _lines(("item", "of it", "state", "why"), lines)


def _bill(titles: Mapping[str, str], outcomes: Iterable[Outcome]) -> Iterator[str]:
    """All that the bill foretells, worst first."""
    found = [(titles[outcome.name], row) for outcome in outcomes for row in outcome.rows if row.ratio]
    if not found:
        return
    factors = {id(row): max(row.ratio or 1, 1 / (row.ratio or 1)) for _, row in found}
    found.sort(key=lambda pair: -factors[id(pair[1])])
    yield from (
        "",
        "## The bill",
        "",
        "What `rim plan` foretells, by how far it is off, which is a factor of at least 1.",
        "",
    )
    lines = [
        (title, row.what, f"{told(row.value)} {row.unit}", told(row.predicted), f"{factors[id(row)]:.2f}")
        for title, row in found
    ]
    yield from _lines(("item", "what", "measured", "by the bill", "off by"), lines)


def _table(some: Sequence[Row]) -> Iterator[str]:
    """Rows of one item, without the columns that none of them fills."""
    cells = [
        (
            row.what,
            told(row.value),
            row.unit,
            _known(row.predicted),
            _known(row.ratio),
            _target(row),
            _judged(row),
            row.note,
        )
        for row in some
    ]
    kept = [i for i in range(len(HEADER)) if i < 2 or any(cell[i] for cell in cells)]
    yield from _lines([HEADER[i] for i in kept], [[cell[i] for i in kept] for cell in cells])


def _known(value: float | None) -> str:
    return "" if value is None else told(value)


def _target(row: Row) -> str:
    bounds = {"at most": row.at_most, "at least": row.at_least}
    return ", ".join(f"{words} {told(bound)}" for words, bound in bounds.items() if bound is not None)


def _judged(row: Row) -> str:
    return {None: "", True: "holds", False: "**MISSED**"}[row.holds]


def told(value: Value) -> str:
    """A number to three digits, a word as it is."""
    if value is None:
        return "–"
    if isinstance(value, str) or not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def _lines(header: Sequence[str], cells: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table in Markdown."""
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in cells:
        yield f"| {' | '.join(cell.replace('|', '¦').replace(chr(10), ' ') for cell in row)} |"
