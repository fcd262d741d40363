"""How a metric goes with forgetting over the checkpoints of a run, and across runs (section 4.2; METHOD of statistics).

The paper reports Pearson's r over eight checkpoints of one run, with the p value of Student's t. Eight consecutive
checkpoints are few and not independent, so beside it stand Fisher's interval, ranks (Spearman, Kendall), and a p value
over all orders of the checkpoints, exact for up to nine. Across runs the runs are what is resampled, never checkpoints;
and whether a metric predicts forgetting in a model it has not seen is asked of each model by the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from rim.core.statistics import CONFIDENCE, UNDEFINED, Estimate

Values = NDArray[np.float64]
EXACT = 9  # points up to which all orders are tried
RESAMPLES = 9999
TINY = 1e-9
DECIMALS = 9  # to which statistics are compared


class Correlation(NamedTuple):
    """Pearson's r with Fisher's interval, its p by Student's t and over all orders, and the rank correlations."""

    n: int
    pearson: float
    low: float
    high: float
    p: float
    p_exact: float
    spearman: float
    spearman_p: float
    kendall: float
    kendall_p: float


def correlate(metric: Values, forgetting: Values) -> Correlation:
    """All correlations of two series; everything is nan with fewer than three points or a constant series."""
    n = len(metric)
    if n < 3 or np.ptp(metric) < TINY * max(1e-300, np.abs(metric).max()) or np.ptp(forgetting) == 0:
        return Correlation(n, *[math.nan] * 9)
    pearson = scipy.stats.pearsonr(metric, forgetting)
    low, high = pearson.confidence_interval(CONFIDENCE) if n > 3 else (math.nan, math.nan)
    p_exact, spearman_p, kendall_p = map(float, permutation_p(metric, forgetting))
    return Correlation(
        n,
        float(pearson.statistic),
        float(low),
        float(high),
        float(pearson.pvalue),
        p_exact,
        float(scipy.stats.spearmanr(metric, forgetting).statistic),
        spearman_p,
        float(scipy.stats.kendalltau(metric, forgetting).statistic),
        kendall_p,
    )


def permutation_p(x: Values, y: Values) -> Values:
    """Two-sided p of Pearson's r, Spearman's rho and Kendall's tau over the orders of x: all up to nine points, a seeded
    sample beyond.

    Two-sided means that an order counts when the statistic is as far from zero as the observed one; scipy's own two-sided p
    doubles the smaller tail instead. Rounding makes equal what differs by the order of summation only.
    """
    ranks = scipy.stats.rankdata(y)

    def distances(orders: Values, axis: int) -> Values:
        """orders [many, 3, n] -> [many, 3]."""
        values = [
            _pearson(orders[..., 0, :], y),
            _pearson(orders[..., 1, :], ranks),
            _concordance(orders[..., 2, :], y),
        ]
        return np.abs(np.stack(values, -1)).round(DECIMALS)

    test = scipy.stats.permutation_test(
        (np.stack([x, scipy.stats.rankdata(x), x]),),
        distances,
        permutation_type="pairings",
        vectorized=True,
        axis=-1,
        n_resamples=math.inf if len(x) <= EXACT else RESAMPLES,
        alternative="greater",
        rng=np.random.default_rng(0),
    )
    return np.asarray(test.pvalue)


def _pearson(x: Values, y: Values) -> Values:
    """Pearson's r of each row of x [..., n] with y [n]."""
    x, y = x - x.mean(-1, keepdims=True), y - y.mean()
    return np.asarray(x @ y / np.sqrt((x**2).sum(-1) * (y**2).sum()))


def _concordance(x: Values, y: Values) -> Values:
    """Concordant less discordant pairs, which rise and fall with Kendall's tau, of each row of x [..., n] with y [n]."""
    pairs = combinations(range(len(y)), 2)
    return np.asarray(sum(np.sign(x[..., i] - x[..., j]) * np.sign(y[i] - y[j]) for i, j in pairs))


def across_runs(runs: Sequence[tuple[Values, Values]], draws: int = RESAMPLES) -> Estimate:
    """Pearson's r of the deviations from each run's own means, with a bootstrap interval over runs.

    Args:
        runs: (metric, forgetting) of each run. Levels and units may differ from run to run: the metric is divided by its
            spread within the run. Runs in which either is constant say nothing and are left out.
    """
    moments = []
    for metric, forgetting in runs:
        x, y = metric - metric.mean(), forgetting - forgetting.mean()
        if len(x) > 2 and np.ptp(metric) > TINY * np.abs(metric).max() and np.ptp(forgetting) > 0:
            x = x / x.std()
            moments.append([x @ y, x @ x, y @ y])
    if not moments:
        return UNDEFINED
    table = np.array(moments)
    value = _ratio(table.sum(0))
    if len(table) < 2:
        return Estimate(float(value), math.nan, math.nan)
    drawn = np.random.default_rng(0).integers(len(table), size=(draws, len(table)))
    low, high = np.quantile(_ratio(table[drawn].sum(1)), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(float(value), float(low), float(high))


def _ratio(moments: Values) -> Values:
    """r from (sum xy, sum xx, sum yy)."""
    return np.asarray(moments[..., 0] / np.sqrt(moments[..., 1] * moments[..., 2]))


class Prediction(NamedTuple):
    """A model's forgetting as a line through the other models foretells it; errors are means of absolute ones."""

    n: int
    error: float
    reference: float  # of the other models' mean forgetting, whatever the metric says


def leave_one_out(models: dict[str, tuple[Values, Values]]) -> dict[str, Prediction]:
    """Predict each model's forgetting from the metric by a least-squares line through all others' points."""
    made = {}
    for held_out, (metric, forgetting) in models.items():
        others = [points for name, points in models.items() if name != held_out]
        if not others:
            continue
        x, y = (np.concatenate([points[i] for points in others]) for i in range(2))
        line = np.polynomial.Polynomial.fit(x, y, 1) if np.ptp(x) > 0 else np.polynomial.Polynomial([y.mean()])
        made[held_out] = Prediction(
            len(metric), float(np.abs(line(metric) - forgetting).mean()), float(np.abs(y.mean() - forgetting).mean())
        )
    return made
