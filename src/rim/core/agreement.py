"""Agreement between two raters (judges, annotators, people), corrected for chance.

Cohen's kappa with its large-sample interval, from statsmodels. Scores from 1 to 5 get quadratic weights: a judge that
says 4 where another says 5 disagrees less than one that says 1.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

from rim.core.statistics import UNDEFINED, Estimate


def kappa(first: Sequence[int], second: Sequence[int], levels: int = 2) -> Estimate:
    """Cohen's kappa of ratings 0 .. levels-1, quadratically weighted when there are more than two levels.

    nan where it is not defined: no items, or both raters giving one and the same rating throughout.
    """
    from statsmodels.stats.inter_rater import cohens_kappa

    table = np.zeros((levels, levels))
    for a, b in zip(first, second, strict=True):
        table[int(a), int(b)] += 1
    if not first or np.count_nonzero(table.sum(0) + table.sum(1)) < 2:
        return UNDEFINED
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # 0/0 in the variance of perfect agreement
        result = cohens_kappa(table, wt="quadratic" if levels > 2 else None)
    if math.isnan(result.std_kappa):
        return Estimate(float(result.kappa), math.nan, math.nan)
    low, high = max(-1.0, float(result.kappa_low)), min(1.0, float(result.kappa_upp))  # kappa is never outside
    return Estimate(float(result.kappa), low, high)
