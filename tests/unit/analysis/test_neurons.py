"""Finding planted neurons, the bounds of a set, its stability and its controls."""

import math

import numpy as np
import pytest

from rim.analysis.neurons import (
    Layer,
    bounded_threshold,
    columns_from,
    curve,
    matched_set,
    random_set,
    risers,
    stability,
    top_count,
)

PAIRS, WIDTH, PLANTED = 60, 100, (3, 40, 77)


def layer(planted: tuple[int, ...] = PLANTED, raised: float = 1.0, parts: int = 1, seed: int = 0) -> Layer:
    """Noise in which the planted neurons rise on a share of the pairs, and neuron 9 with the placebo as well."""
    rng = np.random.default_rng(seed)
    request, intent, placebo = rng.normal(1, 0.1, (3, PAIRS, WIDTH))
    intent[: round(raised * PAIRS), list(planted)] += 5
    intent[:, 9] += 5
    placebo[:, 9] += 5
    made = Layer(top_count(0.05, WIDTH))
    for rows in np.array_split(np.arange(PAIRS), parts):
        made.add(request[rows], intent[rows], placebo[rows])
    return made


def test_top_m_per_pair_of_those_that_rise() -> None:
    request, changed = np.zeros((2, 5)), np.array([[3.0, 1, 2, 0, -1], [-1, -2, 0.5, 0, np.nan]])
    assert risers(request, changed, 2).tolist() == [
        [True, False, True, False, False],
        [False, False, True, False, False],
    ]


def test_planted_neurons_are_found_and_the_placebo_tells_which_are_not_of_intent() -> None:
    layers = [layer(), layer(planted=(5,), seed=1)]
    found = columns_from([each.frequency() for each in layers], 1.0)
    assert [columns.tolist() for columns in found] == [[3, 9, 40, 77], [5, 9]]
    placebo = columns_from([each.frequency("placebo") for each in layers], 1.0)
    assert [columns.tolist() for columns in placebo] == [[9], [9]]
    rows = {row["threshold"]: row for row in curve(layers, 0.9)}
    assert (rows[1.0]["neurons"], rows[1.0]["placebo"], rows[1.0]["shared"]) == (6, 2, 2)
    assert (rows[0.9]["chosen"], rows[1.0]["chosen"], rows[1.0]["of"]) == (True, False, 2 * WIDTH)


def test_one_odd_pair_empties_the_intersection_but_not_the_frequency_rule() -> None:
    made = layer(raised=0.95)
    assert columns_from([made.frequency()], 1.0)[0].tolist() == [9]
    assert columns_from([made.frequency()], 0.9)[0].tolist() == [3, 9, 40, 77]


def test_parts_make_no_difference() -> None:
    one, many = layer(), layer(parts=7)
    assert np.array_equal(one.frequency(), many.frequency())
    assert np.allclose(one.magnitude(), many.magnitude())


def test_a_set_that_is_too_large_keeps_the_most_frequent() -> None:
    frequencies = [np.array([1.0, 0.95, 0.95, 0.9, 0.1]), np.array([0.98, 0.0, 0.0, 0.0, 0.0])]
    assert bounded_threshold(frequencies, 0.9, 1.0) == 0.9
    assert bounded_threshold(frequencies, 0.9, 0.2) == 0.98
    assert bounded_threshold(frequencies, 0.9, 0.3) == 0.98  # 0.95 would make four
    assert columns_from([np.ones(4)], bounded_threshold([np.ones(4)], 0.9, 0.5))[0].tolist() == []


def test_stability_is_one_for_a_sure_set_and_less_for_a_shaky_one() -> None:
    sure, shaky = (stability([layer(raised=share)], [0.9])[0] for share in (1.0, 0.9))
    assert (sure.value, sure.low) == (1.0, 1.0)
    assert shaky.low < 0.5 < shaky.value < 1
    nothing = Layer(1)
    nothing.add(np.ones((4, 5)), np.zeros((4, 5)), np.zeros((4, 5)))
    assert math.isnan(stability([nothing], [0.9])[0].value)


def test_controls_match_the_layers_and_magnitudes_and_avoid_the_found() -> None:
    rng = np.random.default_rng(0)
    found = [np.array([95, 97]), np.array([], int), np.array([3])]
    magnitudes = [np.arange(100.0)] * 3
    for _ in range(20):
        plain = random_set(found, [100] * 3, rng)
        matched = matched_set(found, magnitudes, rng)
        for drawn in (plain, matched):
            assert [len(columns) for columns in drawn] == [2, 0, 1]
            assert not set(drawn[0]) & {95, 97}
        assert all(column >= 90 for column in matched[0])
        assert matched[2][0] < 10
    assert matched_set([np.array([0, 1])], [np.arange(3.0)], rng)[0].tolist() == [2]  # there is no other left


def test_an_expert_without_tokens_takes_no_part() -> None:
    made = Layer(1)
    request, intent = np.array([[1.0, np.nan], [1.0, 2.0]]), np.array([[2.0, 9.0], [2.0, np.nan]])
    made.add(request, intent, request)
    assert made.frequency().tolist() == [1.0, 0.0]
    assert made.magnitude().tolist() == [1.0, 2.0]


@pytest.mark.parametrize(("share", "neurons", "count"), [(0.05, 384, 19), (0.05, 4, 1), (1.0, 3, 3)])
def test_m_is_a_share_of_the_layer(share: float, neurons: int, count: int) -> None:
    assert top_count(share, neurons) == count
