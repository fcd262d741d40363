"""What an item has measured, as JSON beside its log: a row per number, and how the item ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rim.core.files import write_json

State = Literal["running", "done", "skipped", "failed", "too slow", "out of time"]
Value = float | str | None
NEEDS_GPU = "needs a GPU"
MODELS, SCRATCH = "models", "scratch"  # folders: of checkpoints for all items, and of what one item leaves


@dataclass(frozen=True)
class Row:
    """One number, or a word for it; None where it could not be measured, which `note` explains.

    `predicted` is what the bill of `rim plan` foretells; a target is a least or a largest value.
    """

    what: str
    value: Value
    unit: str = ""
    predicted: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the target is met; None where there is none, or no number."""
        if not isinstance(self.value, int | float) or (self.at_most is None and self.at_least is None):
            return None
        below = self.at_most is None or self.value <= self.at_most
        return below and (self.at_least is None or self.value >= self.at_least)

    @property
    def ratio(self) -> float | None:
        """Measured, as a multiple of predicted."""
        known = isinstance(self.value, int | float) and self.predicted
        return self.value / self.predicted if known else None  # type: ignore[operator]


class Skipped(Exception):
    """An item cannot be measured on this machine; the message says why."""


@dataclass
class Outcome:
    """How an item ended, and its rows until then.

    `identity` is the machine, its software and the code that was measured. An item that is `finished` is not repeated
    while that stays the same.
    """

    name: str
    state: State
    identity: Mapping[str, Any]
    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0
    note: str = ""

    @property
    def finished(self) -> bool:
        return self.state in ("done", "failed", "too slow")

    def values(self) -> dict[str, Value]:
        return {row.what: row.value for row in self.rows}

    def write(self, folder: Path) -> None:
        write_json(place(folder, self.name), asdict(self))


def place(folder: Path, name: str) -> Path:
    """The file of an item."""
    return folder / "items" / f"{name}.json"


def read(folder: Path, name: str) -> Outcome | None:
    """What is on disk of an item; None where that is nothing, or nothing of ours."""
    try:
        found = json.loads(place(folder, name).read_text())
        return Outcome(**{**found, "rows": [Row(**row) for row in found["rows"]]})
    except (OSError, ValueError, KeyError, TypeError):
        return None
