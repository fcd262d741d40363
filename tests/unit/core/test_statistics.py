"""Statistics that are written out here, against those of libraries, published values and simulations."""

import math
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm, ttest_1samp
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from rim.core import statistics
from rim.core.statistics import Estimate, all_together, beyond_sets, bounded_mean, d_prime, holm, paired_rates


@pytest.mark.parametrize("seed", range(50))
def test_holms_correction_is_that_of_statsmodels(seed: int) -> None:
    random = Random(seed)
    known = [random.choice((random.random() ** 3, 0.01, 1.0, 0.0)) for _ in range(random.randint(0, 30))]
    expected = multipletests(known, method="holm")[1].tolist() if known else []
    values = known + [math.nan] * random.randint(0, 5)
    places = random.sample(range(len(values)), len(values))
    adjusted = holm([values[i] for i in places])
    by_place = dict(zip(places, adjusted, strict=True))
    assert [by_place[i] for i in range(len(known))] == expected
    assert all(math.isnan(by_place[i]) for i in range(len(known), len(values)))


def paired(n: int, gained: int, lost: int) -> Estimate:
    """The change on n prompts of which so many changed."""
    places = np.arange(n)
    return paired_rates((places >= gained) & (places < gained + lost), places < gained)


def excludes_none(estimate: Estimate) -> bool:
    return estimate.low > 0 or estimate.high < 0


TABLES = [(n, gained, lost) for n in range(1, 13) for gained in range(n + 1) for lost in range(n + 1 - gained)]


def test_tangos_interval_has_published_values() -> None:
    """Fagerland, Lydersen and Laake (2014, Statistics in Medicine 33, 2850), table on airway reactivity: 1 and 7 of 21."""
    change = paired(21, 1, 7)
    assert [round(value, 3) for value in change[:3]] == [-0.286, -0.517, -0.026]


def test_tangos_limits_solve_his_equation() -> None:
    for n, gained, lost in [*TABLES, (80, 1, 0), (80, 0, 0), (200, 12, 30)]:
        change = paired(n, gained, lost)
        for limit in {change.low, change.high} - {-1.0, 1.0}:
            b = -gained - lost + (2 * n - gained + lost) * limit
            lost_share = (math.sqrt(b * b + 8 * n * lost * limit * (1 - limit)) - b) / (4 * n)
            variance = n * (2 * lost_share + limit * (1 - limit))
            assert abs(gained - lost - n * limit) == pytest.approx(1.959964 * math.sqrt(variance), abs=1e-4)


def test_paired_changes_keep_their_range_and_agree_with_mcnemars_test() -> None:
    for n, gained, lost in TABLES:
        change, mirrored = paired(n, gained, lost), paired(n, lost, gained)
        assert -1 <= change.low <= change.value + 1e-12
        assert change.value - 1e-12 <= change.high <= 1
        assert change.high - change.low > 0.1
        assert (change.low, change.high) == pytest.approx((-mirrored.high, -mirrored.low), abs=1e-9)
        expected = mcnemar([[0, gained], [lost, 0]], exact=False, correction=False).pvalue if gained + lost else 1
        assert change.p == pytest.approx(expected, abs=1e-9)
        assert excludes_none(change) == (change.p < 0.05)
        if gained < n - lost:
            more = paired(n, gained + 1, lost)
            assert more.low > change.low - 1e-9
            assert more.high > change.high - 1e-9


def test_a_bounded_mean_of_one_run_of_yes_and_no_is_wilsons() -> None:
    for n in (1, 7, 80):
        for events in range(n + 1):
            assert bounded_mean(np.arange(n) < events, 0, 1)[:3] == pytest.approx(
                statistics.rate(events, n)[:3], abs=1e-9
            )


def several(seed: int) -> NDArray[np.float64]:
    """Outcomes of up to five seeds on the same prompts, some missing, with rates from 0 to 1."""
    rng = np.random.default_rng(seed)
    n, seeds = rng.integers(2, 40), rng.integers(2, 6)
    outcomes = (
        rng.random((seeds, n)) < np.clip(rng.choice([0, 0.03, 0.5, 1]) + rng.normal(0, 0.2, (seeds, 1)), 0, 1)
    ) * 1.0
    outcomes[rng.random(outcomes.shape) < rng.choice([0, 0.2])] = math.nan
    return outcomes


@pytest.mark.parametrize("seed", range(60))
def test_seeds_and_prompts_give_an_interval_inside_the_range_that_agrees_with_its_test(seed: int) -> None:
    before = several(seed)
    after = before[::-1]
    rate = bounded_mean(before, 0, 1)
    by_seed = np.nanmean(before[~np.isnan(before).all(1)], 1)
    assert rate.value == pytest.approx(by_seed.mean())
    assert 0 <= rate.low < rate.high <= 1
    assert rate.low - 1e-9 <= rate.value <= rate.high + 1e-9
    assert math.isnan(rate.p)
    mirrored = bounded_mean(1 - before, 0, 1)
    assert (rate.low, rate.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low), abs=1e-9)
    change = paired_rates(before, after)
    assert -1 <= change.low < change.high <= 1
    assert excludes_none(change) == (change.p < 0.05)
    whole = np.nan_to_num(before)
    difference = bounded_mean(whole[::-1] - whole + whole[:, ::-1] * whole[0] - whole[::-1, ::-1], -2, 2)
    assert -2 <= difference.low < difference.high <= 2
    assert excludes_none(difference) == (difference.p < 0.05)


def test_seeds_that_reply_alike_are_one_run_and_one_seed_is_it() -> None:
    one = np.arange(50) < 20
    for outcomes in (one[None], np.array([one] * 3), np.array([one, np.full(50, math.nan)], float)):
        assert bounded_mean(outcomes, 0, 1)[:3] == pytest.approx(statistics.rate(20, 50)[:3], abs=1e-9)
    assert all(map(math.isnan, bounded_mean(np.full((2, 5), math.nan), 0, 1)))


def test_many_prompts_and_few_seeds_that_differ_come_to_students_interval() -> None:
    rates = np.array([0.45, 0.5, 0.52, 0.57])
    outcomes = np.arange(10_000) < rates[:, None] * 10_000
    rng = np.random.default_rng(0)
    mean = bounded_mean(rng.permuted(outcomes, axis=1), 0, 1)
    low, high = ttest_1samp(rates, 0).confidence_interval()
    assert (mean.low, mean.high) == pytest.approx((low, high), abs=0.005)
    two = bounded_mean(rng.permuted(outcomes, axis=1)[[0, 3]], 0, 1)
    assert two.low < 0.2
    assert two.high > 0.8


def coverage(truth: float, estimates: list[Estimate]) -> float:
    return sum(estimate.low <= truth <= estimate.high for estimate in estimates) / len(estimates)


@pytest.mark.parametrize(
    ("n", "lost", "gained"), [(80, 0.005, 0.005), (80, 0.0, 0.01), (40, 0.3, 0.2), (20, 0.05, 0.1)]
)
def test_paired_changes_cover_rare_and_common_ones(n: int, lost: float, gained: float) -> None:
    rng = np.random.default_rng(1)
    counts = rng.multinomial(n, [lost, gained, 1 - lost - gained], 500)
    assert coverage(gained - lost, [paired(n, up, down) for down, up, _ in counts]) >= 0.92


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_intervals_over_seeds_and_prompts_cover_the_rate_of_any_seed_and_prompt(seeds: int, spread: float) -> None:
    rng = np.random.default_rng(seeds)

    def run() -> NDArray[np.bool_]:
        lean = rng.normal(0, spread, (seeds, 1)) + rng.normal(0, 1, (1, 80))
        return lean + rng.normal(0, 1, (seeds, 80)) > -norm.ppf(0.2) * math.sqrt(2 + spread**2)

    assert coverage(0.2, [bounded_mean(run(), 0, 1) for _ in range(300)]) >= 0.92


def test_differences_of_changes_cover_none_where_there_is_none() -> None:
    rng = np.random.default_rng(2)
    arms = rng.random((300, 4, 80)) < 0.1
    assert coverage(0, [bounded_mean(np.array([1, -1, -1, 1]) @ each, -2, 2) for each in arms]) >= 0.92


@pytest.mark.parametrize(("refused", "falsely"), [(0.5, 0.5), (0.9, 0.1), (0.99, 0.02)])
def test_sensitivity_covers_the_truth(refused: float, falsely: float) -> None:
    rng = np.random.default_rng(3)
    found = [d_prime(rng.random(80) < refused, rng.random(80) < falsely) for _ in range(400)]
    assert coverage(float(norm.ppf(refused) - norm.ppf(falsely)), found) >= 0.92


def test_sensitivity_over_seeds_is_their_mean_and_no_surer_than_their_spread() -> None:
    refused, falsely = np.arange(60) < np.array([[50], [40], [55]]), np.arange(60) < np.array([[5], [9], [2]])
    each = [d_prime(*pair) for pair in zip(refused, falsely, strict=True)]
    both = d_prime(refused, falsely)
    assert both.value == pytest.approx(np.mean([one.value for one in each]))
    assert both.high - both.low > max(one.high - one.low for one in each)
    assert d_prime(refused[:1], falsely[:1]) == each[0]
    swapped = d_prime(falsely[0], refused[0])
    assert (swapped.low, swapped.high) == pytest.approx((-each[0].high, -each[0].low))


def sets_of(rng: np.random.Generator, sets: int, shift: float = 0.0) -> NDArray[np.bool_]:
    """Replies without each of some sets, the first one by `shift` more often yes; sets differ by themselves."""
    rates = 0.3 + rng.normal(0, 0.08, (sets, 1))
    rates[0] += shift
    return rng.random((1, 80)) * 0.9 + rng.random((sets, 80)) * 0.1 < rates


def test_a_set_like_the_random_ones_is_rarely_called_different() -> None:
    rng = np.random.default_rng(4)
    estimates = [beyond_sets(each[0], each[1:]) for each in (sets_of(rng, 20) for _ in range(300))]
    assert sum(excludes_none(one) and one.p < 0.05 for one in estimates) <= 0.08 * 300
    found = [beyond_sets(each[0], each[1:]) for each in (sets_of(rng, 20, 0.4) for _ in range(50))]
    assert sum(excludes_none(one) and one.p < 0.05 for one in found) >= 40


@pytest.mark.parametrize("sets", [2, 5, 19, 30])
def test_sets_keep_the_range_and_are_symmetric(sets: int) -> None:
    rng = np.random.default_rng(sets)
    for rate in (0, 0.02, 0.5, 1):
        found, random = rng.random(40) < rate, rng.random((sets, 40)) < rng.random((sets, 1)) * rate
        one, mirrored = beyond_sets(found, random), beyond_sets(~found, ~random)
        assert -1 <= one.low < one.high <= 1
        assert (one.low, one.high) == pytest.approx((-mirrored.high, -mirrored.low), abs=1e-9)
        assert one.p == pytest.approx(mirrored.p, nan_ok=True)


def test_one_of_five_sets_that_differs_is_no_finding() -> None:
    """Random sets that change nothing but one or two, as was once taken for 'lower than matched neurons'."""
    found = np.zeros(80, bool)
    changes = [np.arange(80) < count for count in (0, 0, 1, 0, 7)]
    few = beyond_sets(found, np.array(changes))
    assert few.value == pytest.approx(-8 / 400)
    assert few.low < 0 < few.high
    assert math.isnan(few.p)
    many = beyond_sets(found, np.array(changes * 4))
    assert many.low < 0 < many.high
    assert many.p > 0.05


def test_the_most_extreme_of_too_few_sets_has_no_p_and_of_one_no_interval() -> None:
    rng = np.random.default_rng(5)
    found, random = np.ones(80, bool), rng.random((19, 80)) < 0.2
    assert beyond_sets(found, random).p < 0.001
    assert beyond_sets(found, random).low > 0.5
    assert math.isnan(beyond_sets(found, random[:18]).p)
    alone = beyond_sets(found, random[:1])
    assert alone.value == pytest.approx(1 - random[0].mean())
    assert math.isnan(alone.low)
    tied = np.array([*random, found])  # one random set does the same: two of 21 are that extreme
    assert beyond_sets(found, tied).p >= 2 / 21


def test_a_mean_of_unbounded_numbers_without_spread_has_no_interval() -> None:
    assert math.isnan(statistics.mean_interval(np.full(5, 0.3)).low)
    assert statistics.mean_interval(np.array([1.0, 2.0, 3.0])).low == pytest.approx(
        2 - 4.302653 / math.sqrt(3), abs=1e-5
    )


def test_limits_of_the_largest_of_many_changes_hold_the_truth() -> None:
    """Picked as the largest, a change's own interval holds its truth too seldom; that for all together does."""
    rng = np.random.default_rng(7)
    alone = together = 0
    for _ in range(60):
        draws = rng.random((20, 200))
        largest = max((paired_rates(row > 0.96, row < 0.12) for row in draws), key=lambda estimate: estimate.value)
        low, high = all_together(largest.value, largest.low, largest.high, 20)
        assert -1 <= low <= largest.low <= largest.value <= largest.high <= high <= 1
        alone += largest.low <= 0.08 <= largest.high
        together += low <= 0.08 <= high
    assert alone < 50
    assert together >= 54
    assert all_together(0.9, 0.85, 0.95, 1) == pytest.approx((0.85, 0.95))
    assert all_together(0.99, -0.99, 1.0, 50) == (-1.0, 1.0)
