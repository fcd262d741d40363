"""Probes: directions in the residual stream that tell two groups of prompts apart (paper, section 3.1 and B.1).

A direction is the difference of the groups' mean activations, a prompt's score its dot product with the activation, and
the threshold tau lies midway between the groups' mean scores. As published, a group's *probe score* is the share of its
test prompts above tau. That number depends on tau and not on how well the groups are parted, so the area under the ROC
curve stands beside it, with Newcombe's interval. Directions are fitted on the calibration split and tested on the
evaluation split.

There is a probe in every cell, that is at every position and layer, and the best of many is good by chance alone. So the
cell to speak of is *selected* by its cross-validated area within the calibration split, and its area on the evaluation
split is that of a single test. Where all cells are shown, each is compared with the largest area that any of them reaches
when the labels of the evaluation split are shuffled, one shuffle for all cells (Westfall and Young's maximum).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from rim.analysis.cache import Cache
from rim.core import statistics
from rim.core.conditions import NOTHING_DONE, Condition
from rim.core.contracts import PROBES as PROBE_TABLE
from rim.core.contracts import SCORES

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
FOLDS = 5
SHUFFLES = 9999
FEWEST = 5  # prompts of each group in each split, one for each fold; the interval holds its level with fewer
FEW = 10  # a published score of a smaller group is marked


@dataclass(frozen=True)
class Direction:
    """A probe of one layer at one position."""

    vector: Floats  # [hidden]
    tau: float

    def above(self, activations: Floats) -> NDArray[np.bool_]:
        """Which of the activations [prompts, hidden] score above tau."""
        return np.asarray(activations @ self.vector > self.tau)


def fit(positive: Floats, negative: Floats) -> Direction:
    """The mean-difference direction of two groups [prompts, hidden], in float64."""
    vector = positive.mean(0, dtype=np.float64) - negative.mean(0, dtype=np.float64)
    return Direction(vector, float((positive @ vector).mean() + (negative @ vector).mean()) / 2)


def areas(scores: Floats, positive: int) -> Floats:
    """Area under the ROC curve of each column of scores [prompts, columns], the first `positive` rows against the rest."""
    ranks = stats.rankdata(scores, axis=0)
    negative = len(scores) - positive
    return np.asarray((ranks[:positive].sum(0) - positive * (positive + 1) / 2) / (positive * negative))


@dataclass(frozen=True)
class Probe:
    """A direction with how it does within the split that it was fitted on, and what it gives on the other."""

    direction: Direction
    scores: Floats  # of the tested prompts, positive ones first
    cross_validated: float  # area, mean over five folds of the calibration split, each with a direction of its own
    accuracy: float  # over the same folds, each with a tau of its own


def probe(fitted: tuple[Floats, Floats], tested: tuple[Floats, Floats]) -> Probe | None:
    """Fit on one split's (positive, negative) prompts and score the other's; None when a group is too small to fit."""
    if min(map(len, fitted)) < 2 or min(map(len, tested)) < 1:
        return None
    direction = fit(*fitted)
    return Probe(direction, np.concatenate(tested) @ direction.vector, *_cross_validated(*fitted))


def _cross_validated(positive: Floats, negative: Floats) -> tuple[float, float]:
    """Area and accuracy over five folds; fold k holds every fifth prompt of each group. nan when a fold would leave a group empty."""
    if min(len(positive), len(negative)) < FOLDS:
        return math.nan, math.nan
    right, reached = 0, []
    for fold in range(FOLDS):
        held = [np.arange(len(group)) % FOLDS == fold for group in (positive, negative)]
        direction = fit(positive[~held[0]], negative[~held[1]])
        scores = [group[chosen] @ direction.vector for group, chosen in zip((positive, negative), held, strict=True)]
        right += int((scores[0] > direction.tau).sum()) + int((scores[1] <= direction.tau).sum())
        reached.append(float(areas(np.concatenate(scores)[:, None], len(scores[0]))[0]))
    return float(np.mean(reached)), right / (len(positive) + len(negative))


@dataclass(frozen=True)
class Shuffled:
    """What shuffled labels say of the areas of several cells, each an array [cells]."""

    p: Floats  # share of shuffles that reach the cell's own area in this cell
    p_max: Floats  # that reach it in any cell
    reference: Floats  # area that no cell reaches in 95 % of shuffles


def shuffle(scores: Floats, positive: Flags) -> Shuffled:
    """Shuffle the labels of the tested prompts, which is exact whatever the directions were fitted to.

    Cells are compared by standardized areas, so that one with fewer prompts does not rule the largest.

    Args:
        scores: [cells, prompts], nan where a prompt lacks the cell's position.
        positive: [prompts], the labels.
    """
    present = ~np.isnan(scores)
    ranks = np.where(present, stats.rankdata(np.where(present, scores, np.inf), axis=1), 0)
    copies = np.repeat(positive[:, None], 1 + SHUFFLES, axis=1)
    copies[:, 1:] = np.random.default_rng(0).permuted(copies[:, 1:], axis=0)
    labels = copies.astype(np.float64)
    ones, n = present @ labels, present.sum(1, keepdims=True)
    pairs = np.maximum(ones * (n - ones), 1)
    areas = (ranks @ labels - ones * (ones + 1) / 2) / pairs
    spread = np.sqrt((n + 1) / (12 * pairs))
    standard = (areas - 0.5) / spread
    largest = standard[:, 1:].max(0)
    p = (standard[:, 1:] >= standard[:, :1]).sum(1)
    p_max = (largest >= standard[:, :1]).sum(1)
    reference = np.minimum(0.5 + np.quantile(largest, 0.95) * spread[:, 0], 1)
    return Shuffled((1 + p) / (1 + SHUFFLES), (1 + p_max) / (1 + SHUFFLES), reference)


GROUPS = ("refused", "fulfilled", "harmless")  # whose scores are shown, as in figure 3
PROBES = {  # positive against negative
    "harmful": (["refused", "fulfilled", "other"], ["harmless"]),
    "refusal": (["refused"], ["fulfilled"]),
}


class Cell:
    """The activations of one layer at one position in one think mode."""

    def __init__(self, residual: Floats, present: NDArray[np.bool_], rows: pl.DataFrame) -> None:
        """`residual` is [all rows, hidden]; `rows` are those of the think mode, with their row number, split and group."""
        self.residual = residual
        self.rows = rows.filter(pl.Series(present[rows["row"].to_numpy()]))

    def numbers(self, groups: list[str], split: str) -> NDArray[Any]:
        """The row numbers of some groups in one split."""
        return self.rows.filter(pl.col("group").is_in(groups) & (pl.col("split") == split))["row"].to_numpy()

    def of(self, groups: list[str], split: str) -> Floats:
        """Their activations [prompts, hidden]."""
        return np.asarray(self.residual[self.numbers(groups, split)])


def cells(cache: Cache, groups: pl.DataFrame) -> Iterator[tuple[dict[str, Any], Cell]]:
    """Every think mode, position and layer that has prompts."""
    numbered = pl.DataFrame({"key": cache.rows}).with_row_index("row").join(groups, on="key", maintain_order="left")
    for layer in range(cache.layers):
        residual = cache.read("residual", layer)
        for (think,), rows in numbered.group_by("think", maintain_order=True):
            for place, position in enumerate(cache.positions):
                cell = Cell(residual[:, place], cache.spans[:, place, 0] >= 0, rows)
                if not cell.rows.is_empty():
                    yield {"think": think, "position": position, "layer": layer}, cell


def fit_probes(cache: Cache, groups: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Floats]]:
    """Both probes in every cell.

    Returns:
        The table of probes, that of the published scores, and the harmful/harmless directions with tau as last entry,
        "{think}.{position}.{layer}" -> [hidden + 1].
    """
    families: dict[tuple[str, str], Family] = {}
    found, scores, directions = [], [], {}
    for keys, cell in cells(cache, groups):
        for name in PROBES:
            family = families.setdefault((name, keys["think"]), Family(name, len(cache.rows)))
            row, made = family.add(keys, cell)
            found.append(row)
            if made is not None and name == "harmful":
                directions["{think}.{position}.{layer}".format(**keys)] = np.append(
                    made.direction.vector, made.direction.tau
                )
                tests = {group: cell.of([group], "evaluation") for group in GROUPS}
                scores += score_rows(NOTHING_DONE, keys, made.direction, tests)
    for family in families.values():
        family.compare()
    return pl.DataFrame(found, schema=dict(PROBE_TABLE)), pl.DataFrame(scores, schema=dict(SCORES)), directions


SIZES = ("fitted_positive", "fitted_negative", "tested_positive", "tested_negative")


class Family:
    """The cells of one probe in one think mode, of which one is selected and any may have the largest area."""

    def __init__(self, name: str, prompts: int) -> None:
        """`prompts` is the number of rows of the cache."""
        self.name, self.groups = name, PROBES[name]
        self.positive = np.zeros(prompts, dtype=bool)
        self.rows: list[dict[str, Any]] = []  # of the cells with enough prompts
        self.scores: list[Floats] = []  # theirs, [prompts], nan where not tested

    def add(self, keys: dict[str, Any], cell: Cell) -> tuple[dict[str, Any], Probe | None]:
        """Fit and test one cell. Returns its row of the table, to be completed by `compare`."""
        fitted = tuple(cell.of(groups, "calibration") for groups in self.groups)
        numbers = [cell.numbers(groups, "evaluation") for groups in self.groups]
        tested = tuple(cell.residual[each] for each in numbers)
        sizes = dict(zip(SIZES, map(len, (*fitted, *tested)), strict=True))
        row = {"probe": self.name, **keys, **sizes, "few": min(sizes.values()) < FEWEST, "selected": False}
        row |= dict.fromkeys(("cross_validated", "accuracy", *ESTIMATES), math.nan)
        made = probe((fitted[0], fitted[1]), (tested[0], tested[1]))
        if made is not None:
            area = float(areas(made.scores[:, None], len(numbers[0]))[0])
            estimate = statistics.roc_area(area, *map(len, numbers))
            row |= {"cross_validated": made.cross_validated, "accuracy": made.accuracy, "estimate": area, "ci_low": estimate.low, "ci_high": estimate.high}  # fmt: skip
            if not row["few"]:
                spread = np.full(len(self.positive), math.nan)
                spread[np.concatenate(numbers)] = made.scores
                self.positive[numbers[0]] = True
                self.rows.append(row)
                self.scores.append(spread)
        return row, made

    def compare(self) -> None:
        """Select a cell on the calibration split, and test all cells against shuffled labels of the evaluation split."""
        if not self.rows:
            return
        scores = np.stack(self.scores)
        used = ~np.isnan(scores).all(0)
        shuffled = shuffle(scores[:, used], self.positive[used])
        for row, p, p_max, reference in zip(self.rows, shuffled.p, shuffled.p_max, shuffled.reference, strict=True):
            row.update({"p": p, "p_max": p_max, "shuffled_max": reference})
        max(self.rows, key=lambda row: row["cross_validated"])["selected"] = True  # the first of several


ESTIMATES = ("estimate", "ci_low", "ci_high", "p", "p_max", "shuffled_max")


def score_rows(
    condition: Condition, cell: dict[str, Any], direction: Direction, tests: dict[str, Floats]
) -> list[dict[str, Any]]:
    """The published score of each group that has prompts: the share above tau, with Wilson's interval."""
    rows = []
    for group, activations in tests.items():
        if len(activations):
            value, low, high, _ = statistics.rate(int(direction.above(activations).sum()), len(activations))
            interval = {"estimate": value, "ci_low": low, "ci_high": high}
            rows.append(
                {
                    **condition.columns,
                    **cell,
                    "group": group,
                    "n": len(activations),
                    **interval,
                    "few": len(activations) < FEW,
                }
            )
    return rows
