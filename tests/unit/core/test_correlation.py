"""Correlations: the published ones from the published points, and known answers."""

import math
from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from rim.core.correlation import across_runs, correlate, leave_one_out

# The eight checkpoints of Qwen3-4B in the paper's figure 8, as read from its vectors.
MISALIGNMENT = np.array([23.0, 22.82, 22.33, 22.07, 22.07, 21.0, 22.07, 22.07])
RAS = np.array([1.1689, 1.185, 1.1707, 1.1626, 1.1616, 1.1396, 1.1563, 1.1581])
RANDOM = np.array([0.0822, 0.0961, 0.1033, 0.0997, 0.0983, 0.102, 0.1001, 0.101])
KL = np.array([0.00055, 0.00033, 0.00028, 0.00026, 0.00023, 0.00024, 0.00024, 0.00023])


@pytest.mark.parametrize(
    ("metric", "r", "p", "interval"),
    [(RAS, 0.891, 0.003, (0.50, 0.98)), (KL, 0.696, 0.055, None), (RANDOM, -0.668, 0.070, None)],
    ids=["RAS", "KL", "random"],
)
def test_the_published_correlations_come_from_the_published_points(
    metric: np.ndarray, r: float, p: float, interval: tuple[float, float] | None
) -> None:
    found = correlate(metric, MISALIGNMENT)
    assert (found.pearson, found.p) == (pytest.approx(r, abs=6e-4), pytest.approx(p, abs=6e-4))
    if interval:
        assert (found.low, found.high) == pytest.approx(interval, abs=0.006)
        assert found.p_exact < 0.01


def test_exact_p_counts_orders() -> None:
    found = correlate(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert found.p_exact == found.spearman_p == found.kendall_p == pytest.approx(2 / 24)  # this order and its reverse
    x, y = np.random.default_rng(1).normal(size=(2, 8))
    assert correlate(x, y).p_exact == pytest.approx(stats.pearsonr(x, y).pvalue, abs=0.05)
    assert correlate(x, y).kendall_p == pytest.approx(stats.kendalltau(x, y, method="exact").pvalue)


def test_p_is_the_share_of_orders_at_least_as_far_from_zero() -> None:
    """Against a plain count in exact arithmetic, of series with many ties."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        x, y = rng.integers(0, 4, size=(2, 6))
        if np.ptp(x) == 0 or np.ptp(y) == 0:
            continue
        orders = list(permutations([int(each) for each in x]))
        products = [
            abs(6 * sum(a * b for a, b in zip(o, y.tolist(), strict=True)) - sum(o) * int(y.sum())) for o in orders
        ]
        taus = [abs(stats.kendalltau(o, y).statistic) for o in orders]
        ranks = [abs(stats.spearmanr(o, y).statistic) for o in orders]
        found = correlate(x.astype(float), y.astype(float))
        assert found.p_exact == np.mean([each >= products[0] for each in products])
        assert found.spearman_p == np.mean([each >= ranks[0] - 1e-9 for each in ranks])
        assert found.kendall_p == np.mean([each >= taus[0] - 1e-9 for each in taus])


@pytest.mark.parametrize("n", [4, 5, 6, 7, 8])
def test_no_correlation_at_all_has_p_one(n: int) -> None:
    x = np.arange(n) * 0.1
    assert correlate(x, (x - x.mean()) ** 2).p_exact == 1  # r is zero but for rounding


def test_p_does_not_depend_on_sign_or_unit() -> None:
    x, y = np.random.default_rng(4).normal(size=(2, 7))
    expected = correlate(x, y)
    for scaled in (correlate(-x, y), correlate(1e-6 * x + 5, y), correlate(x, 1e9 * y), correlate(y, x)):
        assert scaled[5::2] == expected[5::2]


def test_many_points_are_permuted_at_random() -> None:
    x = np.arange(20.0)
    assert correlate(x, x**2).p_exact == pytest.approx(1 / 10000)
    assert correlate(x, x**2).spearman == pytest.approx(1)
    x, y = np.random.default_rng(5).normal(size=(2, 30))
    assert correlate(x, y).p_exact == pytest.approx(stats.pearsonr(x, y).pvalue, abs=0.02)
    assert correlate(x, y) == correlate(x, y)


def test_a_constant_series_or_two_points_have_no_correlation() -> None:
    for metric, forgetting in [(np.ones(8), RAS), (RAS, np.zeros(8)), (np.zeros(8), RAS), (RAS[:2], KL[:2])]:
        found = correlate(metric, forgetting)
        assert all(math.isnan(value) for value in found[1:])


def test_runs_are_what_is_resampled() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 8))
    runs = [(1000 * i + 10**i * each, i + each + rng.normal(0, 0.1, 8)) for i, each in enumerate(x)]
    found = across_runs(runs)  # levels and units of the runs do not matter
    assert 0.9 < found.low < found.value < found.high <= 1
    opposite = across_runs([*runs[:3], *[(-a, b) for a, b in runs[3:]]])
    assert opposite.low < 0 < opposite.high
    assert math.isnan(across_runs(runs[:1]).low)
    assert math.isnan(across_runs([(np.ones(8), RAS)]).value)


def test_each_model_is_predicted_by_the_others() -> None:
    line = {name: (x, 3 * x + 1) for name, x in zip("abc", np.random.default_rng(2).normal(size=(3, 8)), strict=True)}
    for prediction in leave_one_out(line).values():
        assert prediction.error == pytest.approx(0, abs=1e-9)
        assert prediction.reference > 0.5
    line["c"] = (line["c"][0], -line["c"][1])
    assert leave_one_out(line)["c"].error > leave_one_out(line)["c"].reference
    assert leave_one_out({"a": line["a"]}) == {}
