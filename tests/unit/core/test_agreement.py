"""Kappa against statsmodels, and what its interval does where the large-sample one fails."""

import math

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from rim.core.agreement import kappa


def ratings(n: int, levels: int, apart: float) -> tuple[list[int], list[int]]:
    rng = np.random.default_rng(n)
    first = rng.integers(0, levels, n)
    return first.tolist(), np.where(rng.random(n) < apart, rng.integers(0, levels, n), first).tolist()


@pytest.mark.parametrize(("levels", "weights"), [(2, None), (5, "quadratic")])
@pytest.mark.parametrize("apart", [0.1, 0.5])
def test_kappa_is_that_of_statsmodels_and_so_is_its_interval_in_large_samples(
    levels: int, weights: str | None, apart: float
) -> None:
    first, second = ratings(5000, levels, apart)
    table = np.zeros((levels, levels))
    np.add.at(table, (first, second), 1)
    expected = cohens_kappa(table, wt=weights)
    found = kappa(first, second, levels)
    assert found.value == pytest.approx(expected.kappa)
    assert (found.low, found.high) == pytest.approx((expected.kappa_low, expected.kappa_upp), abs=0.005)


def test_raters_who_always_agree_leave_a_doubt_that_shrinks() -> None:
    widths = [1 - kappa([0, 1] * n, [0, 1] * n).low for n in (10, 100, 1000)]
    assert 1 > widths[0] > 5 * widths[1] > 25 * widths[2] > 0
    assert kappa([0, 1] * 10, [0, 1] * 10).high == 1


def test_replies_to_one_prompt_count_once() -> None:
    first, second = ratings(100, 2, 0.3)
    once = kappa(first, second)
    copied = kappa(first * 10, second * 10, prompts=[*range(100)] * 10)
    assert copied == pytest.approx(once, abs=0.01, nan_ok=True)
    assert kappa(first * 10, second * 10).low > copied.low + 0.05


def test_kappa_is_not_defined_where_one_rating_is_all_there_is() -> None:
    for first, second in (([], []), ([1, 1, 1], [1, 1, 1])):
        assert math.isnan(kappa(first, second).value)
    never = kappa([0] * 10, [1] * 10)
    assert never.value == 0
    assert never.low <= 0 <= never.high
