"""What was done before a model replied: nothing, weights ablated, words injected or added, or some steps of fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Condition:
    """One condition, with the columns of `rim.core.contracts.CONDITION` as its fields. By default nothing was done."""

    intervention: str = "none"
    target: str = ""
    kind: str = ""
    draw: int = 0
    step: int = 0

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Condition:
        """The condition that a row of a table stands for."""
        return cls(**{each.name: row[each.name] for each in fields(cls)})

    @property
    def columns(self) -> dict[str, Any]:
        """The condition as columns of a row."""
        return asdict(self)

    def __str__(self) -> str:
        """For people: "none", "step 40", "zero refusal_heads found", "zero refusal_heads random 1", …"""
        if self.intervention == "finetune":
            return f"step {self.step}"
        number = "" if self.kind in ("", "found") else str(self.draw)
        return " ".join(filter(None, (self.intervention, self.target, self.kind, number)))


NOTHING_DONE = Condition()
