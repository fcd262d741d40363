"""Agreement between two raters (judges, annotators, people), corrected for chance.

Cohen's kappa is 1 less the ratio of the disagreement that is seen to that expected by chance. Its interval puts together
limits of both (MOVER for ratios; Donner and Zou 2012): Wilson's for what is seen, so that it keeps a width where raters agree
on everything, and log-normal ones for what chance would give. Scores from 1 to 5 get quadratic weights: a judge that says 4
where another says 5 disagrees less than one that says 1.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from rim.core.statistics import CONFIDENCE, UNDEFINED, Estimate

Numbers = NDArray[np.float64]


def kappa(
    first: Sequence[int], second: Sequence[int], levels: int = 2, prompts: Sequence[Hashable] | None = None
) -> Estimate:
    """Cohen's kappa of ratings 0 .. levels-1, quadratically weighted when there are more than two levels.

    nan where it is not defined: no items, or both raters giving one and the same rating throughout.

    Args:
        prompts: what each item replies to. Replies to one prompt are much alike, so the prompt is the unit; by default
            every item is one.
    """
    ratings = np.array([first, second], int)
    shares = [np.bincount(each, minlength=levels) / max(len(first), 1) for each in ratings]
    if not first or np.count_nonzero(shares[0] + shares[1]) < 2:
        return UNDEFINED
    steps = np.arange(levels)
    weights = (np.subtract.outer(steps, steps) / (levels - 1)) ** 2
    by_chance = [weights @ shares[1], weights @ shares[0]]
    expected = float(shares[0] @ by_chance[0])
    units = np.unique([str(each) for each in prompts], return_inverse=True)[1] if prompts else np.arange(len(first))
    seen = weights[ratings[0], ratings[1]]
    chance = by_chance[0][ratings[0]] + by_chance[1][ratings[1]]
    low, high = _ratio(
        (float(seen.mean()), *_wilson(float(seen.mean()), _error(seen, units), units.max() + 1)),
        (expected, *(expected * np.exp(_normal() * np.array([-1, 1]) * _error(chance, units) / expected)).tolist()),
    )
    return Estimate(1 - float(seen.mean()) / expected, max(-1.0, 1 - float(high)), 1 - float(low))


def _normal() -> float:
    return float(scipy.stats.norm.ppf((1 + CONFIDENCE) / 2))


def _error(values: Numbers, units: NDArray[np.int64]) -> float:
    """The standard error of the mean of values that come in units."""
    totals = np.bincount(units, values - values.mean())
    return math.sqrt(float(totals @ totals) * len(totals) / max(len(totals) - 1, 1)) / len(values)


def _wilson(mean: float, error: float, units: int) -> tuple[float, float]:
    """Wilson's limits with as many independent items as would be as informative; as many as units where nothing varies."""
    n, z = mean * (1 - mean) / error**2 if error > 0 else units, _normal()
    centre, reach = mean + z**2 / (2 * n), z * math.sqrt(mean * (1 - mean) / n + z**2 / (4 * n**2))
    return max(0.0, centre - reach) / (1 + z**2 / n), (centre + reach) / (1 + z**2 / n)


def _ratio(above: tuple[float, float, float], below: tuple[float, float, float]) -> tuple[float, float]:
    """The limits of a ratio from those of both parts, each (value, low, high)."""
    product = above[0] * below[0]

    def limit(of_above: float, of_below: float, sign: int) -> float:
        scale = of_below * (2 * below[0] - of_below)
        return (product + sign * math.sqrt(max(product**2 - of_above * (2 * above[0] - of_above) * scale, 0.0))) / scale

    return limit(above[1], below[2], -1), limit(above[2], below[1], 1)
