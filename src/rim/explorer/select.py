"""Which of the stored replies are wanted, and which belong beside one: the same prompt with thinking switched, and before the arm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from difflib import get_close_matches

import polars as pl

from rim.config import runs
from rim.config.study import Study
from rim.core.errors import UserError
from rim.explorer.stored import NO_OUTCOME, OUTCOMES
from rim.models.control import unquote
from rim.settings.common import BASE

EVERY_OUTCOME = [*(name for pair in OUTCOMES.values() for name in pair), *NO_OUTCOME]


@dataclass(frozen=True)
class Wanted:
    """Names that a reply must have, and text that must be in it; None where any will do."""

    model: str | None = None
    variant: str | None = None
    benchmark: str | None = None
    think: str | None = None
    outcome: str | None = None
    search: str | None = None

    def of(self, replies: pl.DataFrame) -> pl.DataFrame:
        """Those of the replies that are wanted."""
        names = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "search"}
        wanted = [pl.col(name) == value for name, value in names.items() if value is not None]
        if self.search:
            texts = pl.concat_str(["request", "reasoning", "response"], separator="\n", ignore_nulls=True)
            plain = texts.map_elements(unquote, return_dtype=pl.String).str.to_lowercase()
            wanted.append(plain.str.contains(self.search.lower(), literal=True))
        return replies.filter(wanted) if wanted else replies


def choose_arm(study: Study, arm: str) -> str:
    """The variant that is meant: its name, its label, or `target` or `control` for those that the study compares.

    Raises:
        UserError: there is no such variant.
    """
    labels = {variant.label: name for name, variant in study.variants.items() if variant.label}
    words = {
        word: name for pair in study.compared_arms[:1] for word, name in zip(("target", "control"), pair, strict=True)
    }
    names = {name: name for name in (BASE, *study.variants)}
    return {**labels, **words, **names}.get(arm) or known("--arm", arm, [*names, *words])


def known(option: str, name: str, names: Iterable[str]) -> str:
    """The name, if it is one of these.

    Raises:
        UserError: it is none.
    """
    names = list(names)
    if name not in names:
        close = get_close_matches(name, names, 1)
        meant = f"did you mean '{close[0]}'? " if close else ""
        raise UserError(f"{option}: there is no '{name}' in this study; {meant}choose one of: {', '.join(names)}")
    return name


PROMPT = [
    "model",
    "variant",
    "seed",
    "benchmark",
    "id",
]  # of which there is one reply per mode of thinking and condition


def alone(replies: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Each reply for itself."""
    return (replies[number] for number in range(replies.height))


def paired(study: Study, plain: pl.DataFrame, chosen: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The replies to the same prompt as chosen ones: plain ones with every mode of thinking, of the model before fine-tuning and
    of the arm, and the chosen ones where they are of another kind."""
    by_prompt = plain.partition_by("model", "benchmark", "id", as_dict=True)
    for (model, variant, seed, benchmark, id_), own in chosen.group_by(PROMPT, maintain_order=True):
        run = str(model), str(variant), int(str(seed))
        pair = {run, runs.base_run(study, run)}
        alike = [(pl.col("variant") == variant) & (pl.col("seed") == seed) for _, variant, seed in pair]
        others = own.filter(pl.col("replies") != "plain")
        yield pl.concat(
            [by_prompt.get((model, benchmark, id_), plain.clear()).filter(pl.any_horizontal(alike)), others]
        )
