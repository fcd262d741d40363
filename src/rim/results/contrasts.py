"""Rates, and differences of rates on the same prompts, as rows of tables: estimate, interval, test, and how far incomplete replies could move it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rim.core import statistics
from rim.core.contracts import INTEGER, NUMBER, Columns
from rim.core.statistics import Estimate

Row = dict[str, Any]
Outcome = Mapping[Any, bool | float | None]  # by prompt; None where the reply is incomplete
ALL = "all"  # instead of a seed, what is known from all of them
RATE, CHANGE = (1,), (1, -1)  # signs with which the arms of a contrast are added up
DIFFERENCE = (1, -1, -1, 1)  # of two changes

ESTIMATE: Columns = {
    "n": INTEGER,  # complete replies
    "incomplete": INTEGER,
    "estimate": NUMBER,
    "ci_low": NUMBER,  # 95 % interval; null where none is defined
    "ci_high": NUMBER,
    "bound_low": NUMBER,  # what the estimate would be if the incomplete replies counted as badly as they can
    "bound_high": NUMBER,  # and the other way
}
Compare = Callable[[Sequence[Sequence[Outcome]]], Row]


def columns(estimate: Estimate) -> Row:
    """An estimate as columns of a table."""
    return dict(zip(("estimate", "ci_low", "ci_high", "p"), estimate, strict=True))


def contrast(runs: Sequence[Sequence[Outcome]], signs: Sequence[int]) -> Row:
    """The sum of the arms' rates, each with its sign, on the prompts that all of them answered completely.

    Args:
        runs: for each seed, the outcomes of each arm.
        signs: 1 or -1 for each arm: `RATE`, `CHANGE` or `DIFFERENCE`.
    """
    prompts = list(dict.fromkeys(prompt for arms in runs for prompt in arms[0]))
    low, high = (sum(sign for sign in signs if sign * side > 0) for side in (-1, 1))
    values = np.array([np.array(signs) @ arrays(arms, prompts) for arms in runs]).reshape(len(runs), len(prompts))
    n = int(np.count_nonzero(~np.isnan(values)))
    counts = {"n": n, "incomplete": sum(len(arms[0]) for arms in runs) - n}
    return {**counts, **columns(statistics.bounded_mean(values, low, high)), **_bounds(runs, signs)}


def rate(parts: Sequence[pl.DataFrame], outcome: pl.Expr, item: list[str]) -> Estimate:
    """The rate of an outcome, null where there is none, in tables of each seed in which the columns `item` name the prompt."""
    runs = [{tuple(key): value for value, *key in part.select(outcome.alias(""), *item).iter_rows()} for part in parts]
    return statistics.bounded_mean(arrays(runs, list(dict.fromkeys(key for run in runs for key in run))), 0, 1)


def arrays(arms: Sequence[Outcome], prompts: Sequence[Any]) -> NDArray[np.float64]:
    """Outcomes as (arms, prompts), nan where there is none."""
    return np.array([[arm.get(prompt) for prompt in prompts] for arm in arms], float)


def bounds(arms: Sequence[Outcome], signs: Sequence[float]) -> tuple[float, float]:
    """The least and the greatest sum of the arms' rates, incomplete replies counted either way."""
    known = arrays(arms, list(arms[0]))
    weights = np.array(signs, float)[:, None]
    extremes = [(np.where(np.isnan(known), weights * side > 0, known) * weights).sum(0).mean() for side in (-1, 1)]
    return float(extremes[0]), float(extremes[1])


def _bounds(runs: Sequence[Sequence[Outcome]], signs: Sequence[int]) -> Row:
    """Means over seeds."""
    each = [bounds(arms, signs) for arms in runs if arms[0]]
    low, high = np.mean(each, 0) if each else (np.nan, np.nan)
    return {"bound_low": float(low), "bound_high": float(high)}


def by_seed(cells: Iterable[tuple[Row, int, Sequence[Outcome]]], compare: Compare) -> list[Row]:
    """A row for each cell (its keys, seed, and outcomes of each arm), and one over all seeds of a cell that has several."""
    groups: dict[tuple[Any, ...], list[tuple[Row, int, Sequence[Outcome]]]] = {}
    for cell in cells:
        groups.setdefault(tuple(cell[0].values()), []).append(cell)
    rows = []
    for group in groups.values():
        rows += [{**keys, "seed": str(seed), **compare([arms])} for keys, seed, arms in group]
        if len(group) > 1:
            rows.append({**group[0][0], "seed": ALL, **compare([arms for _, _, arms in group])})
    return rows
