"""A study with wrong keys, read without them, so that the rest is checked too and all is told at once."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from rim.config import checks
from rim.config.messages import explain, meant
from rim.config.study import Study
from rim.core.errors import UserError

Problem = tuple[str, str]  # the path of a key, and what is wrong with it


@dataclass
class LeftOut:
    """Keys that were left out. What is wrong with the rest may follow from that, and is no news then."""

    sections: list[str] = field(default_factory=list)  # in which something is missing now
    names: set[str] = field(default_factory=set)  # that others may refer to

    def explains(self, path: str, message: str) -> bool:
        """Whether a problem may be there only because something was left out: it is told of the same section, or names it."""
        same = any(
            f"{one}.".startswith(f"{other}.") for each in self.sections for one, other in ((path, each), (each, path))
        )
        return same or not self.names.isdisjoint(re.findall(r"'(\w+)'", message))

    def leave_out(self, mapping: Any, path: str) -> bool:
        """Delete a key, or where it is missing what it is missing from; False if that is the study itself."""
        holders: list[tuple[Any, Any]] = []
        for part in path.split("."):
            key = int(part) if isinstance(mapping, list) and part.isdigit() else part
            try:
                inside = mapping[key]
            except (KeyError, IndexError, TypeError):
                break
            holders.append((mapping, key))
            mapping = inside
        if not holders:
            return False
        holder, key = holders[-1]
        del holder[key]
        keys = [str(each) for _, each in holders]
        whole = isinstance(mapping, dict)
        self.sections.append(".".join(keys if whole or len(keys) == 1 else keys[:-1]))
        self.names |= {keys[-1], *map(str, mapping)} if whole else set()
        return True


def read(mapping: Any) -> tuple[Study | None, list[Problem], LeftOut]:
    """The study that is left without its wrong keys, or None if none is; what is wrong; what was left out.

    Told is what is wrong with keys by themselves, and then with the first of what is left that can be checked together.
    """
    rest, left_out = deepcopy(mapping), LeftOut()
    study, problems = _by_itself(rest)
    told, together = problems, False
    while True:
        if study and not (problems := _together(study)):
            return study, told, left_out
        if study and not together:
            told, together = [*told, *(each for each in problems if not left_out.explains(*each))], True
        done = [left_out.leave_out(rest, path) for path, _ in reversed(problems)]  # of a list the last entry first
        if not all(done):
            return None, told, left_out
        study, problems = _by_itself(rest)


def _together(study: Study) -> list[Problem]:
    """What is wrong with how settings go together."""
    try:
        checks.check(study)
        return []
    except UserError as error:
        lines = [line.partition(": ") for line in str(error).splitlines()]
        return [(path, message) for path, _, message in lines]


def _by_itself(mapping: Any) -> tuple[Study | None, list[Problem]]:
    """What is wrong with each setting by itself, or the study if nothing is; a misspelt key is not missing too."""
    try:
        return Study.model_validate(mapping), []
    except ValidationError as error:
        found = error.errors(include_url=False)
        misspelt = {meant(problem["loc"]) for problem in found if problem["type"] == "extra_forbidden"}
        problems = [each for each in found if each["type"] != "missing" or each["loc"] not in misspelt]
        paths = [".".join(str(part) for part in problem["loc"] if part != "[key]") for problem in problems]
        return None, [(path, explain(problem)) for path, problem in zip(paths, problems, strict=True)]
