"""RAS by hand, and where its ratios break."""

import numpy as np
import pytest

from rim.analysis.ras import AGGREGATES, FORMS, cross_fitted, deltas, kept, resamples, shifts

ALL = {"all": [np.arange(4)]}
SAFETY = np.array([4.0, 2.0, 1.0, 3.0]), np.array([2.0, 1.0, 2.0, 3.0])  # two fall by half, one rises, one stays
TASK = np.array([1.0, 5.0, 2.0, 2.0]), np.array([3.0, 5.0, 1.0, 3.0])


def layers(pair: tuple[np.ndarray, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """One layer, one prompt."""
    return [(pair[0][None], pair[1][None])]


def test_ras_by_hand() -> None:
    found = deltas(layers(SAFETY), layers(TASK), ALL)
    published = found["all", "published"]
    safe = ((4 - 2) / 2 * 4 + (2 - 1) / 1 * 2) / 4  # 1.5
    task = ((3 - 1) / 1 * 3 + (3 - 2) / 2 * 3) / 4  # 1.875
    assert (published.safe[0], published.task[0], published.kept) == (safe, task, 1.0)
    assert published.metric("harmonic")[0] == pytest.approx(2 * safe * task / (safe + task))
    assert published.metric("arithmetic")[0] == pytest.approx((safe + task) / 2)
    assert published.metric("geometric")[0] == pytest.approx((safe * task) ** 0.5)
    assert published.metric("minimum")[0] == safe
    assert found["all", "relative"].safe[0] == pytest.approx((1 + 1) / 4)
    assert found["all", "symmetric"].task[0] == pytest.approx((2 / 2 + 1 / 2.5) / 4)


def test_equal_models_have_none() -> None:
    same = layers((SAFETY[0], SAFETY[0]))
    for found in deltas(same, same, ALL, draws=5).values():
        for aggregate in AGGREGATES:
            assert found.metric(aggregate).tolist() == [0.0] * 6


@pytest.mark.parametrize("form", ["published", "relative", "symmetric"])
def test_zero_negative_and_vanishing_denominators(form: str) -> None:
    before = np.array([1.0, 1.0, 1.0, 0.0, -1.0, 1e-12, 2.0])
    after = np.array([0.0, -1.0, 1e-12, 0.0, -2.0, 0.0, 1.0])
    with np.errstate(all="raise"):
        found = shifts(before, after, form)
    assert np.isfinite(found).all()
    assert kept(before, after).tolist() == [False] * 6 + [True]
    assert found[3] == found[5] == 0  # nothing there
    assert found[6] == {"published": 2.0, "relative": 1.0, "symmetric": 1 / 1.5}[form]
    assert found[:2].tolist() == ([2.0, 2.0] if form == "symmetric" else [0.0, 0.0])


def test_the_share_kept_is_that_of_the_worse_texts_and_all_dimensions_divide() -> None:
    half = np.array([2.0, 2.0, 0.0, -1.0]), np.array([1.0, 1.0, 1.0, 1.0])
    found = deltas(layers(half), layers(TASK), ALL)["all", "published"]
    assert (found.safe[0], found.kept) == ((2 + 2) / 4, 0.5)


def test_one_sided_shifts_make_no_ras() -> None:
    fell = layers((np.array([2.0] * 4), np.array([1.0] * 4)))
    found = deltas(fell, fell, ALL)["all", "published"]
    assert (found.safe[0], found.task[0], found.metric("harmonic")[0]) == (2.0, 0.0, 0.0)


def test_only_the_set_counts_and_layers_add_up() -> None:
    sets = {"two": [np.array([0]), np.array([1])], "none": [np.array([], int)] * 2}
    found = deltas(layers(SAFETY) * 2, layers(TASK) * 2, sets)
    assert found["two", "published"].safe[0] == (4 + 2) / 2
    assert (found["none", "published"].safe[0], found["none", "published"].kept) == (0, 0)


def test_resamples_are_of_prompts_and_the_first_is_the_mean() -> None:
    weights = resamples(5, 3, 0)
    assert weights[0].tolist() == pytest.approx([0.2] * 5)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
    rng = np.random.default_rng(0)
    pair = [(rng.random((30, 8)) + 1, rng.random((30, 8)) + 1)]
    drawn = deltas(pair, pair, {"all": [np.arange(8)]}, draws=50)["all", "relative"].metric("harmonic")
    assert len(set(drawn.round(9))) > 40
    assert np.quantile(drawn, 0.01) < drawn[0] < np.quantile(drawn, 0.99)


@pytest.mark.parametrize("shift", [-0.3, 0.0, 0.3])
def test_cross_fitting_is_the_average_over_halves_of_the_texts(shift: float) -> None:
    """One half says whether a neuron shifts and the other how far, as drawn here and as computed from the spread of resamples."""
    rng = np.random.default_rng(0)
    before = rng.uniform(1, 2, (40, 300))
    after = before + shift + rng.normal(0, 1, before.shape) * 3
    rises = after - before
    halves = [rng.permutation(40) for _ in range(2000)]
    expected = np.mean([np.where(rises[half[:20]].mean(0) > 0, rises[half[20:]].mean(0), 0) for half in halves], 0)
    found = cross_fitted(resamples(40, 2000, 1) @ rises, 40)[0]
    assert found == pytest.approx(expected, abs=0.05)  # a tenth of a standard error
    assert np.all(found <= np.maximum(rises.mean(0), 0))


@pytest.mark.parametrize("form", FORMS)
def test_noise_raises_a_delta_and_lowers_or_leaves_the_cross_fitted_one(form: str) -> None:
    """A tenth of many neurons falls, the others do not; the truth lies between the two estimates."""
    rng = np.random.default_rng(1)
    before = rng.uniform(1, 2, 5000)
    after = before * np.where(np.arange(5000) < 500, 0.95, 1)
    truth = np.maximum(shifts(before, after, form), 0).mean()
    noisy = [(before * np.exp(rng.normal(0, 0.1, (60, 5000))), after * np.exp(rng.normal(0, 0.1, (60, 5000))))]
    found = deltas(noisy, noisy, {"all": [np.arange(5000)]}, draws=100)["all", form]
    assert found.least_safe[0] < 1.1 * truth < 2 * truth < found.safe[0]
    assert found.least_safe[0] > 0.8 * truth
    assert found.least_safe[1:].mean() == pytest.approx(found.least_safe[0])


def test_a_shift_has_its_direction() -> None:
    higher, lower = np.array([2.0, 1.0]), np.array([1.0, 2.0])
    assert shifts(higher, lower, "published").tolist() == [2.0, -0.5]
    assert shifts(higher, lower, "symmetric").tolist() == [1 / 1.5, -1 / 1.5]
