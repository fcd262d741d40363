"""Reciprocal Activation Shift: how far safety's activations fall while the task's rise (section 4.1).

With a0 and at the activations of the model before and after tuning, max-pooled over a text's tokens and averaged over
texts, the paper defines over n MLP dimensions

    d_safe = 1/n * sum over a0 > at of (a0 - at) / at * a0        on safety texts
    d_task = 1/n * sum over at > a0 of (at - a0) / a0 * at        on texts of the new task
    RAS    = 2 * d_safe * d_task / (d_safe + d_task)

Both deltas are one function of the higher and the lower of two activations. They keep the unit of an activation, so
values of different models cannot be compared; `relative` leaves the last factor out, and `symmetric` divides by the mean
size of the two instead of the lower one, which cannot vanish. A ratio to an activation that is zero or negative means
nothing: the published and the relative form leave such dimensions out, still divide by all n, and report the share kept.
No form ever gives NaN; the harmonic mean of a zero is zero.

A delta keeps only what went its way, so noise adds to it and never takes away: it is too high on average, by .4 standard
errors for a dimension that does not shift. No estimator of such a sum is free of bias (Cai and Low 2011, Annals of
Statistics 39, 1012-1041). Hence each delta has a second estimate that is too low on average, `cross_fitted`, and between
the two lies the truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Values = NDArray[np.floating[Any]]
Columns = Sequence[NDArray[np.int64]]  # per layer, the neurons of a set
EPSILON = 1e-6
FORMS = ("published", "relative", "symmetric")


def harmonic(safe: Values, task: Values) -> Values:
    """The published aggregate, 0 where either is."""
    total = safe + task
    return np.where((safe > 0) & (task > 0), 2 * safe * task / np.where(total > 0, total, 1), 0.0)


AGGREGATES: dict[str, Callable[[Values, Values], Values]] = {
    "harmonic": harmonic,
    "arithmetic": lambda safe, task: (safe + task) / 2,
    "geometric": lambda safe, task: np.sqrt(safe * task),
    "minimum": np.minimum,
    "safe": lambda safe, task: safe,
    "task": lambda safe, task: task,
}


def shifts(higher: Values, lower: Values, form: str) -> Values:
    """How far each dimension shifts, negative where `lower` is the higher one; a delta adds what is positive. Shapes are kept."""
    rise = higher - lower
    if form == "symmetric":
        size = (np.abs(higher) + np.abs(lower)) / 2
        return np.where(size > EPSILON, rise / np.where(size > EPSILON, size, 1), 0)
    usable = kept(higher, lower)
    ratio = np.where(usable, rise / np.where(usable, lower, 1), 0)
    return ratio * higher if form == "published" else ratio


def cross_fitted(shifted: Values, texts: int) -> Values:
    """What each dimension adds to a delta if one half of the texts says whether it shifts and the other half how far.

    That is averaged over all ways to halve the texts. With a mean over all texts d and its standard error s, the means of two
    halves are d + e and d - e, e having the standard error s, so that for normal e the average of (d - e) where d + e > 0 is
    d Phi(d/s) - s phi(d/s). What does not shift adds nothing on average, and what shifts at most its shift.

    Args:
        shifted: of all texts, and after it of their bootstrap resamples, whose spread is s; [1 + draws, dimensions].
        texts: how many were resampled.
    """
    if len(shifted) < 2 or texts < 2:
        return np.maximum(shifted, 0)
    error = shifted[1:].std(0) * math.sqrt(texts / (texts - 1))
    ratio = shifted / np.where(error > 0, error, 1)
    halved = shifted * ndtr(ratio) - error * np.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi)
    return np.where(error > 0, halved, np.maximum(shifted, 0))


def kept(first: Values, second: Values) -> NDArray[np.bool_]:
    """Which dimensions a ratio can be taken of: both activations positive."""
    return np.asarray((first > EPSILON) & (second > EPSILON))


@dataclass
class Deltas:
    """Both deltas over a set of neurons, [draws], the first being the estimate and the others its bootstrap resamples."""

    safe: Values
    task: Values
    least_safe: Values  # the same, cross-fitted; resamples around their estimate
    least_task: Values
    kept: float  # share of dimensions with a ratio, the lower of safety and task texts

    def metric(self, aggregate: str) -> Values:
        return AGGREGATES[aggregate](self.safe, self.task)

    def least(self, aggregate: str) -> Values:
        """The same metric, too low on average where `metric` is too high."""
        return AGGREGATES[aggregate](np.maximum(self.least_safe, 0), np.maximum(self.least_task, 0))


def resamples(prompts: int, draws: int, seed: int) -> NDArray[np.float64]:
    """Weights of a mean over prompts, [1 + draws, prompts]: the plain mean, then bootstrap resamples of the prompts."""
    drawn = np.random.default_rng(seed).multinomial(prompts, np.full(prompts, 1 / prompts), draws)
    return np.concatenate([np.ones((1, prompts)), drawn]) / prompts


def deltas(
    safety: Sequence[tuple[Values, Values]],
    task: Sequence[tuple[Values, Values]],
    sets: Mapping[str, Columns],
    draws: int = 0,
) -> dict[tuple[str, str], Deltas]:
    """Both deltas of every form over every set of neurons.

    Args:
        safety, task: per layer the max-pooled activations (before, after), [prompts, neurons] each, of the same texts.
        sets: name -> per layer the columns that belong to it.
        draws: bootstrap resamples of the prompts; base and tuned are resampled together.

    Returns:
        (set, form) -> the deltas.
    """
    weights = [resamples(len(pairs[0][0]), draws, side) for side, pairs in enumerate((safety, task))]
    sums = {(name, form): np.zeros((2, 2, 1 + draws)) for name in sets for form in FORMS}
    known = {name: np.zeros(2) for name in sets}
    for layer, texts in enumerate(zip(safety, task, strict=True)):
        for side, (before, after) in enumerate(texts):
            means = weights[side] @ before, weights[side] @ after
            higher, lower = means if side == 0 else means[::-1]
            usable = kept(higher[0], lower[0])
            for name, columns in sets.items():
                known[name][side] += usable[columns[layer]].sum()
            for form in FORMS:
                shifted = shifts(higher, lower, form)
                for which, each in enumerate((np.maximum(shifted, 0), cross_fitted(shifted, len(before)))):
                    for name, columns in sets.items():
                        sums[name, form][which, side] += each[:, columns[layer]].sum(1, dtype=np.float64)
    made = {}
    for (name, form), total in sums.items():
        n = max(1, sum(map(len, sets[name])))
        most, least = total / n
        if draws:  # a resample has the noise of its texts twice, which moves the estimate that is made to have none
            least[:, 1:] += least[:, :1] - least[:, 1:].mean(1, keepdims=True)
        made[name, form] = Deltas(most[0], most[1], least[0], least[1], float(known[name].min() / n))
    return made
