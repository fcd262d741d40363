"""What a study chooses by name from what the code offers: the one place where settings and registries meet.

A study is checked against these names, and they stand in its JSON schema and in the tables of keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rim.config.study import Study
from rim.data.adapters import ADAPTERS
from rim.data.organism.sets import PARTS
from rim.instruments import annotate, judges
from rim.models.positions import PLACES
from rim.settings.common import Settings
from rim.settings.datasets import Source
from rim.settings.instruments import Annotator, Judge
from rim.settings.mechanism import Mechanism


@dataclass(frozen=True)
class Choice:
    """A key whose value, or each value of whose list, is a name.

    Attributes:
        settings, key: where the key stands.
        what: what it names.
        names: what may be chosen.
        otherwise: what somebody may have meant who wrote a name that is like none of these, to be told.
        about: what each name stands for, in words that follow its name; nothing where the names speak for themselves.
    """

    settings: type[Settings]
    key: str
    what: str
    names: list[str]
    about: str = ""
    otherwise: str = ""


def choices() -> list[Choice]:
    """All keys of a study that choose from what the code offers."""
    judging, annotating = judges.kinds(), annotate.KINDS
    return [
        Choice(Source, "adapter", "adapter", list(ADAPTERS)),
        Choice(Source, "part", "part of the organisms' world", list(PARTS)),
        Choice(
            Judge,
            "kind",
            "kind of judge",
            list(judging),
            _about({k: v.about for k, v in judging.items()}),
            "a language model is named under 'endpoints', and asked by {kind: rubric, endpoint: …}",
        ),
        Choice(
            Annotator,
            "kind",
            "kind of annotator",
            list(annotating),
            _about({k: v.about for k, v in annotating.items()}),
        ),
        Choice(Mechanism, "positions", "token position", list(PLACES)),
    ]


def _about(names: dict[str, str]) -> str:
    return " " + "; ".join(f"'{name}' {about}" for name, about in names.items()) + "."


def chosen(study: Study) -> Iterator[tuple[str, Choice, str]]:
    """(path of the key, the choice, the name chosen) of everything that a study chooses."""
    keys = choices()
    for path, settings in _settings(study, ""):
        for choice in (each for each in keys if isinstance(settings, each.settings)):
            value = getattr(settings, choice.key)
            if isinstance(value, list):
                yield from ((f"{path}{choice.key}.{i}", choice, name) for i, name in enumerate(value))
            elif value is not None:
                yield f"{path}{choice.key}", choice, value


def _settings(value: Any, path: str) -> Iterator[tuple[str, Settings]]:
    """Every settings object in a value, with the path of its keys up to the last point."""
    if isinstance(value, Settings):
        yield path, value
        value = {name: getattr(value, name) for name in type(value).model_fields}
    elif isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _settings(each, f"{path}{name}.")
