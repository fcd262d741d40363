"""Probes: directions in the residual stream that tell two groups of prompts apart (paper, section 3.1 and B.1).

A direction is the difference of the groups' mean activations, a prompt's score its dot product with the activation, and
the threshold tau lies midway between the groups' mean scores. As published, a group's *probe score* is the share of its
test prompts above tau. That number depends on tau and not on how well the groups are parted, so the area under the ROC
curve stands beside it, with Newcombe's interval and, as a baseline, the areas reached when the labels of both splits
are shuffled. Directions are fitted on the calibration split and tested on the evaluation split.
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
from rim.core.statistics import Estimate

Floats = NDArray[np.float64]
FOLDS, SHUFFLES = 5, 200
FEW = 10  # a cell with a smaller group is marked


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
    """A direction with how well it does on prompts it was not fitted to."""

    direction: Direction
    area: Estimate  # p by shuffling
    shuffled: float  # 95th percentile of the area under shuffled labels
    accuracy: float  # 5-fold, each fold with a direction and a tau of its own, on the calibration split


def probe(fitted: tuple[Floats, Floats], tested: tuple[Floats, Floats]) -> Probe | None:
    """Fit on one split's (positive, negative) prompts and test on the other's; None when a group is too small to fit."""
    if min(map(len, fitted)) < 2 or min(map(len, tested)) < 1:
        return None
    direction = fit(*fitted)
    test, positive = np.concatenate(tested).astype(np.float64), len(tested[0])
    area = float(areas((test @ direction.vector)[:, None], positive)[0])
    shuffled = areas(np.random.default_rng(1).permuted(test @ _shuffled_directions(*fitted), axis=0), positive)
    p = (1 + float((shuffled >= area).sum())) / (1 + SHUFFLES)
    estimate = statistics.roc_area(area, positive, len(test) - positive)._replace(p=p)
    return Probe(direction, estimate, float(np.quantile(shuffled, 0.95)), _cross_validated(*fitted))


def _shuffled_directions(positive: Floats, negative: Floats) -> Floats:
    """[hidden, SHUFFLES] directions fitted to shuffled labels."""
    rng = np.random.default_rng(0)
    everything = np.concatenate([positive, negative]).astype(np.float64)
    weights = np.where(np.arange(len(everything)) < len(positive), 1 / len(positive), -1 / len(negative))
    return np.asarray(everything.T @ np.stack([rng.permutation(weights) for _ in range(SHUFFLES)], axis=1))


def _cross_validated(positive: Floats, negative: Floats) -> float:
    """Accuracy over five folds; fold k holds every fifth prompt of each group. nan when a fold would leave a group empty."""
    if min(len(positive), len(negative)) < FOLDS:
        return float("nan")
    right = 0
    for fold in range(FOLDS):
        held = [np.arange(len(group)) % FOLDS == fold for group in (positive, negative)]
        direction = fit(positive[~held[0]], negative[~held[1]])
        right += int(direction.above(positive[held[0]]).sum()) + int((~direction.above(negative[held[1]])).sum())
    return right / (len(positive) + len(negative))


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

    def of(self, groups: list[str], split: str) -> Floats:
        """The activations [prompts, hidden] of some groups in one split."""
        chosen = self.rows.filter(pl.col("group").is_in(groups) & (pl.col("split") == split))
        return np.asarray(self.residual[chosen["row"].to_numpy()])


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
    found, scores, directions = [], [], {}
    for keys, cell in cells(cache, groups):
        for name, (positive, negative) in PROBES.items():
            fitted = cell.of(positive, "calibration"), cell.of(negative, "calibration")
            tested = cell.of(positive, "evaluation"), cell.of(negative, "evaluation")
            sizes = dict(zip(SIZES, map(len, (*fitted, *tested)), strict=True))
            made = probe(fitted, tested)
            found.append({"probe": name, **keys, **sizes, **_columns(made), "few": min(sizes.values()) < FEW})
            if made is not None and name == "harmful":
                directions["{think}.{position}.{layer}".format(**keys)] = np.append(
                    made.direction.vector, made.direction.tau
                )
                tests = {group: cell.of([group], "evaluation") for group in GROUPS}
                scores += score_rows(NOTHING_DONE, keys, made.direction, tests)
    return pl.DataFrame(found, schema=dict(PROBE_TABLE)), pl.DataFrame(scores, schema=dict(SCORES)), directions


SIZES = ("fitted_positive", "fitted_negative", "tested_positive", "tested_negative")


def _columns(made: Probe | None) -> dict[str, float]:
    names = ("estimate", "ci_low", "ci_high", "p", "shuffled", "accuracy")
    values = (*made.area, made.shuffled, made.accuracy) if made else (math.nan,) * len(names)
    return dict(zip(names, values, strict=True))


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
