"""Correlations: the published ones from the published points, and known answers."""

import functools
import math
from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from rim.core.correlation import MIN_UNITS, beyond_common, correlate, in_units_of, leave_one_out, partial, within_units
from tests import courses

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


def test_a_constant_series_or_two_points_have_no_correlation() -> None:
    for metric, forgetting in [(np.ones(8), RAS), (RAS, np.zeros(8)), (np.zeros(8), RAS), (RAS[:2], KL[:2])]:
        found = correlate(metric, forgetting)
        assert all(math.isnan(value) for value in found[1:])


def test_a_partial_correlation_is_of_what_the_step_leaves() -> None:
    x, y, step = np.random.default_rng(0).normal(size=(3, 9))
    xy, xs, ys = (np.corrcoef(*pair)[0, 1] for pair in ((x, y), (x, step), (y, step)))
    assert partial(x, y, step) == pytest.approx((xy - xs * ys) / np.sqrt((1 - xs**2) * (1 - ys**2)))
    assert partial(1e-6 * x + 7 * step, y, step) == pytest.approx(partial(x, y, step))
    assert all(math.isnan(partial(*each)) for each in [(3 * step + 1, y, step), (x[:3], y[:3], step[:3])])


def test_what_all_units_share_says_nothing() -> None:
    rng = np.random.default_rng(0)
    own_x, own_y = rng.normal(size=(2, 7, 8))
    expected = beyond_common(own_x, own_y)
    level, shared = rng.normal(0, 100, (7, 1)), 10 * np.exp(courses.SHARE)
    assert beyond_common(own_x + level + shared, own_y - 3 * level + shared) == pytest.approx(expected)
    assert beyond_common(-5 * own_x, 2 * own_y).value == pytest.approx(-expected.value)
    assert beyond_common(own_x, own_x + shared) == pytest.approx((1, 1, 1, 1 / math.factorial(7)))
    only_the_step = np.tile(shared, (7, 1)) + level
    assert within_units(only_the_step, only_the_step) == pytest.approx(1)
    assert all(math.isnan(each) for each in beyond_common(only_the_step, own_y))


def test_what_is_known_already_says_nothing() -> None:
    x, y, known = np.random.default_rng(1).normal(size=(3, 7, 5))
    dummies = np.concatenate([np.kron(np.eye(7), np.ones((5, 1))), np.kron(np.ones((7, 1)), np.eye(5))], 1)
    given = np.concatenate([dummies, known.reshape(-1, 1)], 1)
    left = [each.ravel() - given @ np.linalg.lstsq(given, each.ravel(), rcond=None)[0] for each in (x, y)]
    assert beyond_common(x, y, known).value == pytest.approx(np.corrcoef(*left)[0, 1])
    assert math.isnan(beyond_common(3 * known, y, known).value)
    assert beyond_common(x, y, np.zeros((7, 5))) == beyond_common(x, y)


def test_p_is_the_share_of_exchanges_that_reach_as_far() -> None:
    x, y = np.random.default_rng(2).integers(0, 3, size=(2, 6, 4)).astype(float)  # with ties
    x, y = (each - each.mean(0) - each.mean(1, keepdims=True) + each.mean() for each in (x, y))
    sums = [abs(sum(x[i] @ y[j] for i, j in enumerate(order))) for order in permutations(range(6))]
    assert beyond_common(x, y).p == pytest.approx(np.mean([each >= sums[0] - 1e-9 for each in sums]))
    none_at_all = np.array([[1.0, -1], [-1, 1], [1, -1], [-1, 1], [0, 0], [0, 0]])
    zero = np.array([[1.0, -1], [1, -1], [-1, 1], [-1, 1], [0, 0], [0, 0]])
    assert beyond_common(0.1 * none_at_all, zero / 3).p == 1  # r is zero but for rounding


def test_the_interval_leaves_out_one_unit_after_another() -> None:
    x, y = courses.planted(np.random.default_rng(3), 12)
    found = beyond_common(x, y)
    scores = [np.arctanh(beyond_common(np.delete(x, i, 0), np.delete(y, i, 0)).value) for i in range(12)]
    error = np.sqrt(11 / 12 * np.sum((scores - np.mean(scores)) ** 2)) * stats.t.ppf(0.975, 11)
    assert (found.low, found.high) == pytest.approx(np.tanh(np.arctanh(found.value) + np.array([-error, error])))


def test_of_few_units_nothing_is_claimed() -> None:
    x, y = courses.planted(np.random.default_rng(0), MIN_UNITS)
    assert not any(math.isnan(each) for each in beyond_common(x, y))
    fewer = beyond_common(x[1:], y[1:])
    assert not math.isnan(fewer.value)
    assert all(math.isnan(each) for each in fewer[1:])


def test_units_of_one_model_keep_their_sizes() -> None:
    metric = np.array([[1.0, 3], [10, 14], [5e-6, 9e-6], [2, 2]])
    found = in_units_of(["a", "a", "b", "c"], metric)
    assert found[1, 1] - found[1, 0] == pytest.approx(2 * (found[0, 1] - found[0, 0]))
    assert found[2].std() == pytest.approx(1)
    assert found[3].tolist() == [2, 2]


@pytest.mark.parametrize("world", courses.NULL.values(), ids=courses.NULL)
def test_courses_without_a_relation_are_called_related_in_no_more_than_one_of_twenty(world: courses.World) -> None:
    """A coarse check of what `python -m tests.courses` measures: at 5 %, 300 draws exceed 8 % once in a hundred times."""
    assert courses.called(courses.beyond_the_step, world, MIN_UNITS, 300) <= 0.08


def test_fine_tunes_on_the_same_rows_count_once() -> None:
    """As units of their own they are called related far too often; their mean courses are not."""
    worlds = {
        "runs": lambda rng, units: courses.twins(courses.independent_walks, rng, units)[:2],
        "means": lambda rng, units: courses.mean_of_twins(*courses.twins(courses.independent_walks, rng, units)),
    }
    found = {name: courses.called(courses.beyond_the_step, world, MIN_UNITS, 200) for name, world in worlds.items()}
    assert found["means"] <= 0.09
    assert found["runs"] > 0.2


def test_no_test_within_a_run_holds_its_level() -> None:
    found = {test.__name__: max(courses.called(test, world, 1, 200) for world in courses.NULL.values())
             for test in (courses.student, courses.student_of_differences, courses.student_given_step)}  # fmt: skip
    assert all(share > 0.1 for share in found.values()), found


def test_what_is_seen_and_the_arm_are_no_early_warning() -> None:
    assert courses.called(courses.beyond_the_arm, functools.partial(courses.early, arms=3), MIN_UNITS, 300) <= 0.08


def test_a_planted_relation_is_found() -> None:
    assert courses.called(courses.beyond_the_step, courses.planted, MIN_UNITS, 100) > 0.9


def test_each_model_is_predicted_by_the_others() -> None:
    rng = np.random.default_rng(2)
    models = {
        name: (x, step, 3 * x + 2 * step + 1) for name, (x, step) in zip("abc", rng.normal(size=(3, 2, 8)), strict=True)
    }
    for prediction in leave_one_out(models).values():
        assert prediction.both == pytest.approx(0, abs=1e-9)
        assert min(prediction.error, prediction.step, prediction.reference) > 0.5
    line = {name: (1e-7 * x, step, 3 * x + 1) for name, (x, step, _) in models.items()}
    for prediction in leave_one_out(line).values():
        assert prediction.error == pytest.approx(0, abs=1e-9)
        assert prediction.n == 8
    line["c"] = (line["c"][0], line["c"][1], -line["c"][2])
    assert leave_one_out(line)["c"].error > leave_one_out(line)["c"].reference
    assert leave_one_out({"a": line["a"]}) == {}
