"""How a metric goes with forgetting over the checkpoints of a fine-tune, and whether it says more than the step does.

The paper reports Pearson's r over the eight checkpoints of one run, with the p value of Student's t. Whatever grows while
a model is trained goes with whatever else does: of unrelated random walks that p calls 24 % related, of trends 92 %. Partial
correlations given log(step) (10-30 %) and correlations of differences (6-20 %) do not hold their level either, and eight
points leave no other test any power. So r stands as published, and within a run nothing is tested.

What is tested is whether a metric adds to the step, over several units: models, each with its courses over the same arms. From
every course are taken its own mean and the mean of all units at the same checkpoint and arm, and with it whatever function of the
step they share. If what is left of the metric says nothing, its courses might as well stand beside the rates of other
units; so they are exchanged between units, whole (Harris 2020, "Nonsense correlations in neuroscience", bioRxiv). Units must
be independent of each other, while the checkpoints of one may depend on each other in any way. The interval is that of the
jackknife, which leaves out one unit after another. `python -m tests.courses` measures all this: 4-6 % are called related
where nothing is planted, under walks, trends of any shape, metrics that know the step alone and rates that hardly move.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import cache
from itertools import permutations
from typing import NamedTuple, TypeVar

import numpy as np
import scipy
from numpy.typing import NDArray

from rim.core.statistics import CONFIDENCE, UNDEFINED, Estimate

Values = NDArray[np.float64]
Unit = TypeVar("Unit", bound=Hashable)
MIN_UNITS = 6  # of fewer no test is made: 5! exchanges cannot reach 5 % once corrected for seven metrics, 6! can for 36
EXACT = 8  # units up to which all exchanges are tried
RESAMPLES = 9999  # exchanges tried beyond
TINY = 1e-9


class Correlation(NamedTuple):
    """Correlations of two series of one run; `low`, `high` (Fisher) and `p` (Student) are right for independent points only."""

    n: int
    pearson: float
    low: float
    high: float
    p: float
    spearman: float
    kendall: float


def _constant(values: Values) -> bool:
    return bool(np.ptp(values) <= TINY * np.abs(values).max())


def correlate(metric: Values, forgetting: Values) -> Correlation:
    """All correlations of two series; everything is nan with fewer than three points or a constant series."""
    n = len(metric)
    if n < 3 or _constant(metric) or _constant(forgetting):
        return Correlation(n, *[math.nan] * 6)
    pearson = scipy.stats.pearsonr(metric, forgetting)
    low, high = pearson.confidence_interval(CONFIDENCE) if n > 3 else (math.nan, math.nan)
    spearman = scipy.stats.spearmanr(metric, forgetting).statistic
    kendall = scipy.stats.kendalltau(metric, forgetting).statistic
    return Correlation(
        n, float(pearson.statistic), float(low), float(high), float(pearson.pvalue), float(spearman), float(kendall)
    )


def partial(metric: Values, forgetting: Values, known: Values) -> float:
    """Pearson's r of what a line in `known` leaves of two series; nan with fewer than four points or where nothing is left."""
    if len(known) < 4:
        return math.nan
    given = np.stack([np.ones(len(known)), known], 1)
    left = [values - given @ np.linalg.lstsq(given, values, rcond=None)[0] for values in (metric, forgetting)]
    if any(np.abs(rest).max() <= TINY * np.abs(values).max() for rest, values in zip(left, (metric, forgetting), strict=True)):  # fmt: skip
        return math.nan
    return _cosine(*left)


def _cosine(x: Values, y: Values) -> float:
    """The correlation of two centred tables; nan where one is 0."""
    size = math.sqrt(float((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / size if size > 0 else math.nan


def _from_own_mean(values: Values) -> Values:
    """[units, places] less each unit's mean."""
    return np.asarray(values - values.mean(1, keepdims=True))


def within_units(metric: Values, forgetting: Values) -> float:
    """Pearson's r of the deviations from each unit's own means, over all units.

    Args:
        metric: [units, places], as is `forgetting`; places are checkpoints, or arms.
    """
    return _cosine(*(_settled(_from_own_mean(values), values) for values in (metric, forgetting)))


def _settled(deviations: Values, values: Values) -> Values:
    """Deviations, those that are nothing but rounding being 0."""
    return np.where(np.abs(deviations) <= TINY * np.abs(values).max(initial=0), 0.0, deviations)


def _own(values: Values) -> Values:
    """[units, places] less the mean of each unit and the mean of all units at each place: what a unit does that others do not."""
    centred = _from_own_mean(values)
    return _settled(centred - centred.mean(0), values)


def _own_of_both(metric: Values, forgetting: Values, known: Values | None = None) -> tuple[Values, Values]:
    """What is each unit's own of metric and forgetting, beyond what is known of it."""
    x, y = _own(metric), _own(forgetting)
    if known is None or not (given := _own(known)).any():
        return x, y
    left = (values - (values * given).sum() / (given**2).sum() * given for values in (x, y))
    x, y = (_settled(rest, values) for rest, values in zip(left, (metric, forgetting), strict=True))
    return x, y


def beyond_common(metric: Values, forgetting: Values, known: Values | None = None) -> Estimate:
    """Partial correlation of metric and forgetting given the unit, the place and, where there is one, a known quantity.

    Units may have any level, and the same units of measurement are taken for granted: scale courses of different models
    (`in_units_of`) first. Where all units share one course, such as that of a metric which knows the step alone, it is nan.

    Args:
        metric: [units, places], as are `forgetting` and `known`; places are checkpoints, or arms.

    Returns:
        The correlation with its jackknife interval (over units, on Fisher's scale), p by exchanging the units' metrics;
        of fewer than MIN_UNITS units the correlation alone.
    """
    x, y = _own_of_both(metric, forgetting, known)
    value = _cosine(x, y)
    if math.isnan(value) or len(metric) < MIN_UNITS:
        return UNDEFINED._replace(value=value)
    low, high = _jackknife(value, metric, forgetting, known)
    return Estimate(value, low, high, exchange_p(x, y))


def exchange_p(x: Values, y: Values) -> float:
    """Two-sided p of the sum of products of two tables [units, places] over exchanges of the units of x."""
    products = x @ y.T
    sums = np.abs(products[_exchanges(len(x)), np.arange(len(x))].sum(1))
    reached = (
        sums >= np.abs(np.trace(products)) - TINY * np.abs(products).sum()
    )  # or equal but for the order of summation
    return float(reached.mean())


@cache
def _exchanges(count: int) -> NDArray[np.int64]:
    """All orders of up to eight units; beyond, the order as it is and a seeded sample."""
    if count <= EXACT:
        return np.array(list(permutations(range(count))))
    as_it_is = np.arange(count)
    sample = np.random.default_rng(0).permuted(np.tile(as_it_is, (RESAMPLES, 1)), axis=1)
    return np.concatenate([as_it_is[None], sample])


def _jackknife(value: float, metric: Values, forgetting: Values, known: Values | None) -> tuple[float, float]:
    """Interval of `beyond_common` on Fisher's scale, with Student's t; nan where it is not defined without some unit."""
    count = len(metric)
    tables = [each for each in (metric, forgetting, known) if each is not None]
    others = [_cosine(*_own_of_both(*(np.delete(each, i, 0) for each in tables))) for i in range(count)]
    most = 1 - TINY
    scores = np.arctanh(np.clip(others, -most, most))
    error = math.sqrt((count - 1) / count * float(((scores - scores.mean()) ** 2).sum()))
    reach = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * error
    centre = math.atanh(min(max(value, -most), most))
    return math.tanh(centre - reach), math.tanh(centre + reach)


def in_units_of(models: Sequence[Hashable], metric: Values) -> Values:
    """[units, places] over the spread of each unit's model about its units' means, so that models may be compared."""
    deviations, result = _from_own_mean(metric), metric.copy()
    for model in set(models):
        own = np.array([each == model for each in models])
        spread = float(np.sqrt((deviations[own] ** 2).mean()))
        if spread > TINY * np.abs(metric[own]).max():
            result[own] /= spread
    return result


class Prediction(NamedTuple):
    """How far off a model's forgetting is as the other models foretell it: means of absolute errors."""

    n: int
    error: float  # of a line in the metric
    reference: float  # of the other models' mean, whatever the metric and the step are
    step: float  # of a line in log(step)
    both: float  # of a plane in both


def leave_one_out(models: dict[Unit, tuple[Values, Values, Values]]) -> dict[Unit, Prediction]:
    """Predict each model's forgetting by least squares through all others' points.

    Args:
        models: (metric, log of the step, forgetting) of each model's checkpoints.
    """
    made = {}
    for held_out, (metric, step, forgetting) in models.items():
        others = [points for name, points in models.items() if name != held_out]
        if not others:
            continue
        x, known, y = (np.concatenate([points[i] for points in others]) for i in range(3))
        choices = {"error": ([x], [metric]), "reference": ([], []), "step": ([known], [step]), "both": ([x, known], [metric, step])}  # fmt: skip
        errors = {
            name: float(np.abs(_predict(fitted, y, new, len(metric)) - forgetting).mean())
            for name, (fitted, new) in choices.items()
        }
        made[held_out] = Prediction(len(metric), **errors)
    return made


def _predict(fitted: list[Values], y: Values, new: list[Values], count: int) -> Values:
    """What least squares with an intercept through points with these coordinates says of new ones."""
    units = [max(float(np.abs(column).max()), 1e-300) for column in fitted]  # so that small units are no rounding
    before, after = (
        np.stack([np.ones(size), *(column / unit for column, unit in zip(columns, units, strict=True))], 1)
        for columns, size in ((fitted, len(y)), (new, count))
    )
    return np.asarray(after @ np.linalg.lstsq(before, y, rcond=None)[0])
