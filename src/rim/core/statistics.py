"""Estimates with intervals. Every function returns plain numbers; scipy does the statistics.

Every mean of bounded outcomes over prompts gets a score interval: it holds each value that the observed mean is within
1.96 standard errors of, these taken from the distribution on the range that has this value for its mean and makes the
data likeliest. So no interval has zero width or leaves its range, and the test, which asks the same of 0, agrees with it.
For rates this is Wilson's interval, for changes of a rate Tango's (1998, Statistics in Medicine 17, 891-908), whose test
is McNemar's without correction. Replicates (seeds, or random sets) are crossed with prompts, and what differs between
them counts with Student's t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

CONFIDENCE = 0.95
ENOUGH_SETS = 19  # random sets without which nothing is claimed: the most extreme of twenty sets has a rank p of .05
TINY = 1e-12
Numbers = NDArray[np.float64]


class Estimate(NamedTuple):
    """A number with its 95 % interval; `p` tests against 0 and is nan where no test applies."""

    value: float
    low: float
    high: float
    p: float = math.nan


UNDEFINED = Estimate(math.nan, math.nan, math.nan)


class Replicates(NamedTuple):
    """What replicates add to the uncertainty over prompts.

    Attributes:
        variance: that of the mean between replicates, which includes their noise on single prompts.
        freedom: its degrees of freedom.
        common: share of the variance over prompts that is no such noise.
    """

    variance: float = 0.0
    freedom: int = 1
    common: float = 1.0


ONE_RUN = Replicates()


def rate(events: int, n: int) -> Estimate:
    """A proportion with Wilson's interval; nan when n is 0."""
    if n == 0:
        return UNDEFINED
    low, high = scipy.stats.binomtest(events, n).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(events / n, float(low), float(high))


def bounded_mean(outcomes: NDArray[Any], low: float, high: float) -> Estimate:
    """A mean of outcomes between `low` and `high` over prompts, or over prompts and seeds; tested where 0 is between.

    With several seeds it is the mean over seeds of each seed's mean, and its interval the wider of two: that over prompts, as
    if there were no other seeds; and the variance common to all seeds of a prompt (score interval) and that between seeds
    (Student's t over seeds), added in quadrature.

    Args:
        outcomes: (prompts,) or (seeds, prompts); nan where there is none.
    """
    known = _known(outcomes)
    if known.size == 0:
        return UNDEFINED
    values, weights = _by_prompt(known)
    return _score_interval(values, weights, low, high, _between(known, 1 / len(known), values))


def paired_rates(before: NDArray[Any], after: NDArray[Any]) -> Estimate:
    """Change of a rate on the same prompts: Tango's score interval and the score test that it inverts.

    Args:
        before, after: outcomes, (prompts,) or (seeds, prompts); nan where there is none.
    """
    return bounded_mean(np.asarray(after, float) - np.asarray(before, float), -1, 1)


def beyond_sets(found: NDArray[Any], random: NDArray[Any]) -> Estimate:
    """How much larger a rate is with a found set than with random sets on average; the set is the unit, not the prompt.

    The interval is one of prediction: it allows for where one more random set would lie (Student's t over sets), and for
    the prompts. p agrees with it if the found set is the most extreme of at least twenty, itself included; else p is at
    least the share of sets that are as extreme. There is no p with fewer than 19 random sets, and no interval with one.

    Args:
        found: outcomes with the found set, (prompts,).
        random: the same with each random set, (sets, prompts).
    """
    found, random = np.asarray(found, float), np.asarray(random, float)
    if random.size == 0:
        return UNDEFINED
    differences = found - random.mean(0)
    if len(random) == 1:
        return UNDEFINED._replace(value=float(differences.mean()))
    replicates = _between(random, 1 + 1 / len(random), differences)
    estimate = _score_interval(differences, np.ones(len(found)), -1, 1, replicates)
    if len(random) < ENOUGH_SETS:
        return estimate._replace(p=math.nan)
    rates = np.array([found.mean(), *random.mean(1)])
    distances = np.abs(rates - rates.mean())
    rank = float((distances >= distances[0] - TINY).mean())
    return estimate if rank <= 1 - CONFIDENCE + TINY else estimate._replace(p=max(rank, estimate.p))


def _known(outcomes: NDArray[Any]) -> Numbers:
    """Outcomes as (seeds, prompts), without seeds and prompts that have none."""
    table: Numbers = np.atleast_2d(np.asarray(outcomes, float))
    table = table[~np.isnan(table).all(1)]
    table = table[:, ~np.isnan(table).all(0)]
    return table


def _by_prompt(known: Numbers) -> tuple[Numbers, Numbers]:
    """The mean of each prompt over seeds, and weights with which their mean is the mean over seeds."""
    shares = ~np.isnan(known) / np.count_nonzero(~np.isnan(known), axis=1, keepdims=True)
    weights = shares.sum(0)
    return np.nansum(known * shares, 0) / weights, weights


def _between(outcomes: Numbers, factor: float, values: Numbers) -> Replicates:
    """What replicates (rows of outcomes, prompts in columns) add to a mean of `values`, one for each prompt.

    Args:
        factor: how much of the variance of one replicate this mean has: 1 / seeds, or 1 + 1 / sets.
    """
    if len(outcomes) == 1:
        return ONE_RUN
    means = np.nanmean(outcomes, 1)
    apart = outcomes - means[:, None]
    apart = apart - np.nanmean(apart, 0)
    freedom = np.count_nonzero(~np.isnan(apart)) - sum(apart.shape) + 1
    noise = factor * float(np.nansum(apart**2)) / max(freedom, 1)
    spread = float(values.var(ddof=1)) if len(values) > 1 else 0.0
    common = max(1 - noise / spread, 0.0) if spread > TINY else 1.0
    return Replicates(factor * float(means.var(ddof=1)), len(outcomes) - 1, common)


def _score_interval(values: Numbers, weights: Numbers, low: float, high: float, replicates: Replicates) -> Estimate:
    """The weighted mean of one number per prompt, its score interval, and its test against 0 if that is in the range."""
    span = high - low
    n = float(weights.sum() ** 2 / (weights**2).sum())  # Kish's effective number of prompts
    points, which = np.unique(((values - low) / span).round(12), return_inverse=True)
    shares = np.bincount(which, weights) / weights.sum()
    scaled = replicates._replace(variance=replicates.variance / span**2)
    up, down = _Score(points, shares, n, scaled), _Score(1 - points[::-1], shares[::-1], n, scaled)
    p, zero = math.nan, -low / span
    if 0 < zero < 1:
        p = up.p(zero) if up.mean < zero - TINY else down.p(1 - zero) if up.mean > zero + TINY else 1.0
    return Estimate(float(np.average(values, weights=weights)), high - span * down.limit(), low + span * up.limit(), p)


class _Score(NamedTuple):
    """The upper half of a score interval on [0, 1]; the lower half is that of the mirrored values.

    Attributes:
        values: those that prompts have, ascending.
        shares: what share of the prompts has each.
        n: number of prompts.
    """

    values: Numbers
    shares: Numbers
    n: float
    replicates: Replicates

    @property
    def mean(self) -> float:
        return float(self.shares @ self.values)

    def leaning(self, lean: float) -> tuple[float, float]:
        """Mean and variance of the likeliest distribution with a higher mean, which rises with `lean` from 0 to 2.

        Up to 1 the values are weighed anew (Owen's empirical likelihood); from there on the value 1, which none had, is
        given a share.
        """
        unseen = max(lean - 1, 0.0)
        weights = self.shares / (1 - min(lean, 1.0) * self.values)
        weights *= (1 - unseen) / weights.sum()
        mean = float(weights @ self.values) + unseen
        return mean, float(weights @ (self.values - mean) ** 2) + unseen * (1 - mean) ** 2

    def variances(self, mean: float, over_prompts: float) -> tuple[float, float]:
        """Those of the observed mean, over prompts and between replicates, if this is the true one.

        The second one falls towards the ends of the range as that of a rate does.
        """
        between = self.replicates.variance
        if between:
            between *= mean * (1 - mean) / (self.mean * (1 - self.mean))
        return over_prompts / self.n, between

    def distance(self, mean: float, over_prompts: float, p: float) -> float:
        """The squared distance at which an observed mean has this p."""
        prompts, between = self.variances(mean, over_prompts)
        alone = float(scipy.special.ndtri(p / 2)) ** 2 * prompts
        if not between:
            return alone
        t = float(scipy.special.stdtrit(self.replicates.freedom, p / 2))
        return max(alone, alone * self.replicates.common + t**2 * between)

    def path(self) -> tuple[float, float]:
        """From where to where `leaning` moves the mean: values that are all the same cannot be weighed anew."""
        return (TINY if len(self.values) > 1 else 1 + TINY), (1 - TINY if self.values[-1] == 1 else 2.0)

    def limit(self) -> float:
        """The highest true mean that the observed one does not contradict."""
        if self.values[0] == 1:
            return 1.0

        def beyond(lean: float) -> float:
            mean, variance = self.leaning(lean)
            return (mean - self.mean) ** 2 - self.distance(mean, variance, 1 - CONFIDENCE)

        return self.leaning(scipy.optimize.brentq(beyond, *self.path(), xtol=TINY))[0]

    def p(self, mean: float) -> float:
        """The p value of the observed mean if this, above it, is the true one."""
        lean = scipy.optimize.brentq(lambda lean: self.leaning(lean)[0] - mean, *self.path(), xtol=TINY)
        variance = self.leaning(lean)[1]
        squared = (mean - self.mean) ** 2

        def beyond(p: float) -> float:
            return squared - self.distance(mean, variance, p)

        return 0.0 if beyond(TINY) > 0 else float(scipy.optimize.brentq(beyond, TINY, 1.0, xtol=TINY))


def all_together(value: float, low: float, high: float, among: int) -> tuple[float, float]:
    """Limits of a change of rates that was picked among several: they hold for all of these at once (Bonferroni).

    Either side of the 95 % interval is longer by the ratio of the normal quantiles, and ends where changes do, at -1 and 1.
    """
    longer = scipy.stats.norm.isf(0.025 / among) / scipy.stats.norm.isf(0.025)
    return max(value - longer * (value - low), -1.0), min(value + longer * (high - value), 1.0)


def mean_interval(values: Numbers) -> Estimate:
    """A mean of unbounded numbers with Student's t interval over prompts, without a test; no interval if nothing varies."""
    if len(values) < 2 or np.ptp(values) == 0:
        return Estimate(float(values.mean()) if len(values) else math.nan, math.nan, math.nan)
    error = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * scipy.stats.sem(values))
    return Estimate(float(values.mean()), float(values.mean()) - error, float(values.mean()) + error)


def tested_mean(values: Numbers) -> Estimate:
    """The same with Student's test against 0, which agrees with it."""
    estimate = mean_interval(values)
    if math.isnan(estimate.low):
        return estimate
    return estimate._replace(p=float(scipy.stats.ttest_1samp(values, 0).pvalue))


def skewness(values: Numbers) -> float:
    """The skewness of a sample, without bias where its values are normal; nan if there are too few or nothing varies."""
    return float(scipy.stats.skew(values, bias=False)) if len(values) > 2 and np.ptp(values) > 0 else math.nan


def skewed_limits(
    means: Numbers, errors: Numbers, skewness: Numbers, n: Numbers, outside: Numbers | float = 1 - CONFIDENCE
) -> tuple[Numbers, Numbers]:
    """Limits of means of skewed numbers: the outermost of Student's t and of Hall's (1992) transformation of it.

    The skewness of a sample is known by its standard error only, so Hall's is taken at either end of that.

    Args:
        means, errors, skewness, n: [means], with their standard errors, and the skewness and number of the values of each.
        outside: how often the limits may miss.
    """
    slants = _slants(skewness, n)
    reach = scipy.stats.t.isf(np.asarray(outside) / 2, np.maximum(n - 1, 1))
    with np.errstate(divide="ignore", invalid="ignore"):  # without slant it is Student's t
        far, near = (
            np.where(slants == 0, x, 3 / slants * (np.cbrt(1 + slants * (x - slants / 6)) - 1)) for x in (reach, -reach)
        )
    return means - errors * far.max(0), means - errors * near.min(0)


def skewed_p(t: Numbers, skewness: Numbers, n: Numbers) -> Numbers:
    """p of the test that agrees with these limits, from means in their standard errors [means]."""
    slants = _slants(skewness, n)
    symmetric = t + slants * t**2 / 3 + slants**2 * t**3 / 27 + slants / 6  # Hall's transformation
    return np.asarray(2 * scipy.stats.t.sf(np.abs(symmetric).min(0), np.maximum(n - 1, 1)))


def _slants(skewness: Numbers, n: Numbers) -> Numbers:
    """None, and skewness less and more its standard error, over the root of n; [3, means]."""
    error = np.sqrt(6 / n)
    return np.stack([np.zeros(len(n)), skewness - error, skewness + error]) / np.sqrt(n)


def d_prime(refused: NDArray[Any], falsely_refused: NDArray[Any]) -> Estimate:
    """Sensitivity of refusal: z(refusal rate on restricted prompts) - z(refusal rate on benign ones).

    Rates are log-linear corrected (Hautus 1995), so rates of 0 and 1 stay finite. The limits of both rates are Jeffreys's,
    put together as distances in quadrature (MOVER; Zou and Donner 2008); over seeds, Student's t over them is added.

    Args:
        refused, falsely_refused: outcomes, (prompts,) or (seeds, prompts); nan where there is none.
    """
    known = [np.atleast_2d(np.asarray(outcomes, float)) for outcomes in (refused, falsely_refused)]
    seeds = ~np.isnan(known[0]).all(1) & ~np.isnan(known[1]).all(1)
    if not seeds.any():
        return UNDEFINED
    first, second = (_probit_rate(_known(table[seeds])) for table in known)
    each = first.of_seeds - second.of_seeds
    between = 0.0
    if len(each) > 1:
        between = (
            float(scipy.special.stdtrit(len(each) - 1, (1 - CONFIDENCE) / 2)) ** 2 * float(each.var(ddof=1)) / len(each)
        )
    value = float(each.mean())
    return Estimate(
        value,
        value - math.sqrt(first.below**2 + second.above**2 + between),
        value + math.sqrt(first.above**2 + second.below**2 + between),
    )


class _ProbitRate(NamedTuple):
    """z of the rate of each seed, and how far below and above z of their mean its limits lie."""

    of_seeds: Numbers
    below: float
    above: float


def _probit_rate(known: Numbers) -> _ProbitRate:
    counts = np.count_nonzero(~np.isnan(known), axis=1)
    of_seeds = scipy.special.ndtri((np.nansum(known, 1) + 0.5) / (counts + 1))
    values, weights = _by_prompt(known)
    mean, n = float(np.average(values, weights=weights)), float(len(values))
    variance = float(np.average((values - mean) ** 2, weights=weights)) / n
    if variance > TINY:
        n = min(mean * (1 - mean) / variance, float(counts.sum()))  # so many independent replies tell as much
    events = mean * n
    centre, *limits = scipy.special.ndtri(
        [
            (events + 0.5) / (n + 1),
            *scipy.special.betaincinv(events + 0.5, n - events + 0.5, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]),
        ]
    )
    return _ProbitRate(of_seeds, float(centre - limits[0]), float(limits[1] - centre))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-adjusted p values; nan stays nan and does not count.

    Written out, since that of statsmodels collects Python's garbage each time, a fifth of a second in a large process.
    """
    values = np.array(p_values, dtype=float)
    order = np.argsort(values, kind="stable")[: np.count_nonzero(~np.isnan(values))]  # nan is sorted to the end
    values[order] = np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)).clip(max=1)
    return [float(value) for value in values]


def roc_area(area: float, positive: int, negative: int) -> Estimate:
    """An area under the ROC curve with Newcombe's interval (2006, method 5), which stays honest at areas of 0 and 1."""
    from scipy.optimize import brentq

    z, half = float(scipy.stats.norm.ppf((1 + CONFIDENCE) / 2)), (positive + negative) / 2 - 1

    def reach(theta: float) -> float:
        """How many standard errors, taken at `theta`, the observed area lies from it, less z."""
        spread = 1 + half * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        error = math.sqrt(theta * (1 - theta) * spread / (positive * negative))
        return abs(theta - area) - z * error

    tiny = 1e-9
    inside = min(max(area, tiny), 1 - tiny)  # where the area surely lies within its own reach
    low = brentq(reach, tiny, inside) if reach(tiny) > 0 else 0.0
    high = brentq(reach, inside, 1 - tiny) if reach(1 - tiny) > 0 else 1.0
    return Estimate(area, float(low), float(high))
