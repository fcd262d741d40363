"""What pydantic finds wrong with a key, in plain words: what was expected, what is there, what was perhaps meant.

Values are repeated where they are numbers or one of a few words, and never otherwise: somebody may have pasted a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from types import NoneType
from typing import Any, get_args

from rim.config.study import Study
from rim.settings.common import Settings

MESSAGES = {
    "missing": "this key is required",
    "finite_number": "should be a finite number, and neither infinite (.inf) nor nan",
    "string_too_long": "is longer than 64 characters, and becomes part of the names of files; give a shorter name",
    "recursion_loop": "contains itself (an alias inside its own anchor); write it out",
    "too_short": "is empty; it needs at least one entry",
}
EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list, as in [a, b]",
    "dict_type": "keys with values",
    "model_type": "keys with values",
}
EXAMPLES = {  # of keys that every study needs
    ("study",): "`study: mine`",
    ("title",): "`title: My model, before and after GSM8K`",
    ("judges",): "`judges: {classifier: {kind: refusal_classifier}}`",
}
FOUND = {bool: "true or false", str: "text", list: "a list", dict: "keys with values"}
PATTERNS = {  # by the key whose text has to be of some form
    "api_key_env": "should be the name of an environment variable, such as OPENAI_API_KEY, and that variable holds the key",
    "base_url": "should be an address, such as http://localhost:8000/v1, without a name, a password, ? or # in it",
}
NAME = "is no name; use letters, digits and '_' only, and begin with a letter or a digit"
Place = tuple[int | str, ...]


def one_line(text: str) -> str:
    """A text as a terminal may show it: what is no printable character is escaped, as Python would (`\\n`, `\\x1b`)."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def explain(problem: Mapping[str, Any]) -> str:
    """One of pydantic's errors as the end of a line that begins with the key."""
    kind, value, place = problem["type"], problem["input"], problem["loc"]
    if kind == "extra_forbidden":
        return _unknown_key(place)
    if kind == "literal_error":
        return f"should be {problem['ctx']['expected']}{_instead(value, problem['ctx']['expected'])}"
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(str(place[-1]), NAME)
    if kind == "missing" and place in EXAMPLES:
        return f"{MESSAGES[kind]}, for example {EXAMPLES[place]}"
    if kind in ("dict_type", "model_type") and value is None:
        return f"should be {EXPECTED[kind]}, and is empty; indent the lines that belong to it, or leave the key out"
    if kind in EXPECTED:
        return f"should be {EXPECTED[kind]}, and is {_kind(value)}{_hint(kind, value)}"
    if kind in MESSAGES:
        return MESSAGES[kind]
    message = str(problem["msg"]).replace("Input should", "should")
    return f"{message}, and is {value}" if isinstance(value, int | float) and "ctx" in problem else message


def _kind(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return "empty; give a value, or leave the key out" if value is None else FOUND.get(type(value), "something else")


def _hint(kind: str, value: object) -> str:
    """What to do about a number that is text for YAML."""
    if not isinstance(value, str) or kind not in ("int_type", "float_type"):
        return ""
    if re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", value):
        return f"; YAML reads {value!r} as text, write it with a point as in 1.0e-5"
    return "; write the number without quotes" if re.fullmatch(r"[-+]?[\d.]+", value) else ""


def _instead(value: object, expected: str) -> str:
    """What stands in place of one of a few words."""
    if not isinstance(value, str | int | float) or len(str(value)) > 20:
        return ""
    near = get_close_matches(str(value), re.findall(r"'([^']*)'", expected), 1)
    return f", and is '{value}'" + (f"; did you mean '{near[0]}'?" if near else "")


def meant(place: Place) -> Place | None:
    """The key of the same section whose name is much like that of a key that there is not."""
    near = get_close_matches(str(place[-1]), _keys(place[:-1]), 1)
    return (*place[:-1], near[0]) if near else None


def _unknown_key(place: Place) -> str:
    """What to say of a key that there is not: the one that was meant, or where it belongs."""
    if near := meant(place):
        return f"unknown key; did you mean '{near[-1]}'?"
    key = str(place[-1])
    elsewhere = [name for name, section in _sections() if key in section.model_fields]
    if 1 <= len(elsewhere) <= 2:
        return f"unknown key here; it belongs to {' or '.join(map(repr, elsewhere))}"
    return "unknown key; workflow/config/README.md lists the known ones"


def _keys(place: Place) -> list[str]:
    """The keys that a section may have."""
    inside: Any = Study
    for part in place:
        inside = next(
            (each for each in _kinds(inside) if isinstance(each, type) and issubclass(each, Settings)), inside
        )
        inside = inside.model_fields[part].annotation if part in getattr(inside, "model_fields", {}) else inside
    section = next((each for each in _kinds(inside) if hasattr(each, "model_fields")), None)
    return list(section.model_fields) if section else []


def _kinds(annotation: Any) -> Iterator[Any]:
    """A type and all that it is made of: of `dict[str, X] | None` X among them."""
    yield annotation
    for each in get_args(annotation):
        yield from _kinds(each)


def _sections() -> Iterator[tuple[str, type[Settings]]]:
    """The sections at the top of a study, those of which there may be several by their common name."""
    for name, field in Study.model_fields.items():
        for each in {field.annotation, *get_args(field.annotation)} - {NoneType}:
            if isinstance(each, type) and issubclass(each, Settings):
                yield name, each
