"""Which column of somebody's file is what, where its name says so; else the file's columns are told, to choose from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rim.core.errors import UserError
from rim.data import sources
from rim.data.adapters import ADAPTERS, Published
from rim.data.columns import names_read, quoted
from rim.settings.datasets import ANSWERED, Kind, Source

PROMPTS = ("prompt", "question", "goal", "request", "instruction", "behavior", "forbidden_prompt", "problem", "query", "turns")  # fmt: skip
ANSWERS = ("answer", "final_answer", "final_ans", "target", "answers")
REASONING = ("cot", "solution", "rationale", "reasoning", "explanation")
CATEGORIES = ("category", "topic", "subject", "semanticcategory", "type")
CHOICES = ("choices", "options")
LABELS: dict[str, Kind] = {"unsafe": "safety", "harmful": "safety", "safe": "benign", "harmless": "benign", "benign": "benign"}  # fmt: skip


@dataclass(frozen=True)
class Guess:
    """A source as it stands in a study, and what of its file is left out, in a line each."""

    source: dict[str, Any]
    remarks: tuple[str, ...] = ()


def guess_source(given: str, kind: Kind, option: str) -> Guess:
    """The source, as it stands in a study, for what was given to an option of the command line.

    Args:
        given: a published set, or FILE, FILE:PROMPT or FILE:PROMPT:ANSWER, the latter being names of columns.
        option: the option, for errors.

    Raises:
        UserError: there is no such set or file, or it is not clear which columns to read.
    """
    if given in (sets := published(kind)):
        return Guess({"adapter": given})
    file, named = _parted(given)
    if Path(file).is_dir():
        guess = Guess({"adapter": "hexphi", "path": file})  # the only set that is a folder
    elif Path(file).is_file():
        guess = _table(file, named, kind, option)
    else:
        near = get_close_matches(given, sets, 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise UserError(
            f"{option} {given}: there is no such file, and no such set; give a {', '.join(sources.SUFFIXES)} file, or one of: {', '.join(sets)}{hint}"
        )
    rows, _ = ADAPTERS[guess.source["adapter"]].load(Source.model_validate(guess.source))
    if kind not in {row["kind"] for row in rows}:
        raise UserError(f"{option} {given}: has no {kind} rows; give another file")
    return guess


def _parted(given: str) -> tuple[str, list[str]]:
    """A file, whose name may have colons, and the columns named after it."""
    parts = given.split(":")
    lengths = [n for n in range(len(parts), 0, -1) if Path(":".join(parts[:n])).exists()]
    file = lengths[0] if lengths else 1
    return ":".join(parts[:file]), parts[file:]


def published(kind: Kind) -> list[str]:
    """The sets on the hub that have such rows."""
    return [
        name for name, each in ADAPTERS.items() if isinstance(each, Published) and each.hub and kind in each.row_kinds
    ]


def _table(file: str, named: list[str], kind: Kind, option: str) -> Guess:
    raw = sources.read_file(Path(file))
    found = list(dict.fromkeys(name for row in raw for name in row))
    if kind == "math" and not named and _solutions(raw):
        return Guess({"adapter": "gsm8k", "path": file})
    prompt = named[0] if named else _only(PROMPTS, found, f"{option} {file}", "prompt", "FILE:PROMPT")
    columns = {"prompt": prompt if prompt not in found else _first_of_list(prompt, raw[0])}
    if kind in ANSWERED:
        answer = named[1] if named[1:] else _only(ANSWERS, found, f"{option} {file}", "answer", "FILE:PROMPT:ANSWER")
        columns |= {"answer": answer, **_first("cot", REASONING, found)}
        choices = _first("choices", CHOICES, found).get("choices")
        if choices and isinstance(raw[0].get(choices), list):
            columns["prompt"] = f"{{{prompt}}}\n\n{{{choices}:letters}}\n\nEnd with #### and the letter of the answer."
            if str(raw[0].get(answer)).isdecimal():
                columns["answer"] = f"{{{answer}:letters}}"
    category = _first("category", CATEGORIES, found)
    told = _kind(raw, found, kind)
    by = told.get("kind_by")
    taken = _taken(raw, by) if by else raw
    remarks = [_others(by, len(taken), len(raw), kind)] if by else []
    if category and (empty := sum(_is_empty(row.get(category["category"])) for row in taken)):
        remarks.append(f"'{category['category']}' is left out as the category: {empty} of {len(taken)} rows have none")
    else:
        columns |= category
    used = {name for value in columns.values() for name in names_read(value, found)} | ({by["column"]} if by else set())
    if unused := [name for name in found if name not in used]:
        remarks.append(f"not used: {quoted(unused)}; to use one, name it under 'columns'")
    source = {"adapter": "table", "path": file, **told, "columns": columns}
    return Guess(source, tuple(f"{option} {file}: {each}" for each in remarks))


def _solutions(raw: list[sources.Row]) -> bool:
    """Whether rows are in the format of GSM8K: every answer is a worked solution, `####` and the number."""
    return all({"question", "answer"} <= row.keys() and "####" in str(row["answer"]) for row in raw)


def _only(candidates: tuple[str, ...], found: list[str], where: str, what: str, form: str) -> str:
    """The one column with such a name."""
    fitting = [name for name in found if name.strip().casefold() in candidates]
    if len(fitting) != 1:
        may = f"; it may be {quoted(fitting)}" if fitting else ""
        raise UserError(
            f"{where}: which column is the {what} is not clear{may}; its columns are {quoted(found)}; give {form}"
        )
    return fitting[0]


def _first(key: str, candidates: tuple[str, ...], found: list[str]) -> dict[str, str]:
    """The column with the first of these names, under a key; empty when there is none."""
    by_name = {name.strip().casefold(): name for name in reversed(found)}
    return next(({key: by_name[each]} for each in candidates if each in by_name), {})


def _first_of_list(prompt: str, row: sources.Row) -> str:
    return f"{{{prompt}[0]}}" if isinstance(row.get(prompt), list) else prompt


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip()


def _taken(raw: list[sources.Row], by: dict[str, Any]) -> list[sources.Row]:
    """The rows that a column gives the kind asked for."""
    return [row for row in raw if str(row.get(by["column"])).strip() in by["values"]]


def _others(by: dict[str, Any], taken: int, rows: int, kind: Kind) -> str:
    """What is to be said where a column parts the rows."""
    other = "--harmless" if kind == "safety" else "--harmful"
    values = " or ".join(f"'{each}'" for each in by["values"])
    return f"takes {taken} of {rows} rows, those whose '{by['column']}' is {values}; {other} FILE takes the others"


def _kind(raw: list[sources.Row], found: list[str], kind: Kind) -> dict[str, Any]:
    """The kind of all rows, or the column that tells the safe from the unsafe."""
    for column in found if kind in LABELS.values() else ():
        said = {str(row.get(column)).strip() for row in raw}
        if len(said) > 1 and all(each.casefold() in LABELS for each in said):
            values = {each: kind for each in sorted(said) if LABELS[each.casefold()] == kind}
            return {"kind_by": {"column": column, "values": values}}
    return {"kind": kind}
