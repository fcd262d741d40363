"""Grades of methods, against brute force and known answers."""

import itertools

import numpy as np
import polars as pl
import pytest

from rim.results import calibration
from rim.settings.models import Graft


def test_area_is_the_share_of_pairs_that_are_in_order() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        scores, true = rng.integers(0, 5, 30).astype(float), rng.random(30) < 0.3
        true[0], true[1] = True, False
        pairs = itertools.product(scores[true], scores[~true])
        expected = np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs])
        assert calibration.area(scores, true) == pytest.approx(expected)


def test_ties_at_the_border_count_by_their_share() -> None:
    """Every order of what ties is as good as another."""
    rng = np.random.default_rng(2)
    for _ in range(20):
        scores, true = rng.integers(0, 4, 12).astype(float), rng.random(12) < 0.4
        hits = []
        for _ in range(3000):
            order = np.lexsort((rng.random(12), -scores))
            hits.append(true[order[:5]].sum())
        assert calibration.expected_hits(scores, true, 5) == pytest.approx(np.mean(hits), abs=0.1)


def table(scores: list[float], grafted: list[bool], method: str) -> pl.DataFrame:
    rows = range(len(scores))
    return pl.DataFrame(
        {
            "part": "neuron",
            "layer": 0,
            "expert": 0,
            "index": rows,
            "grafted": grafted,
            "method": method,
            "score": scores,
        }
    )


def test_a_method_that_only_some_organisms_have_is_graded_on_these() -> None:
    grafts = {"grafted": Graft(onto="base", neurons=2)}
    known = [True, True, False, False]
    values = [1.0, 0.9, 0.2, 0.1]
    both = pl.concat([table(values, known, "intent"), table(values, known, "zeroing")])
    for first, second in ((both, table(values, known, "intent")), (table(values, known, "intent"), both)):
        scores = {("grafted", "base", 0): first, ("grafted", "base", 1): second}
        grades = calibration.method_grades(grafts, scores).filter(measure="area")
        assert dict(grades.select("method", "seeds").iter_rows()) == {"intent": 2, "zeroing": 1}


def test_grades_of_two_organisms() -> None:
    grafts = {"grafted": Graft(onto="base", neurons=2)}
    known = [True, True, False, False]
    scores = {
        ("grafted", "base", 0): table([1.0, 0.9, 0.2, 0.1], known, "intent"),
        ("grafted", "base", 1): table([0.1, 0.9, 0.95, 0.6], known, "intent"),
    }
    found = {
        (row["measure"], row["cut"]): row for row in calibration.method_grades(grafts, scores).iter_rows(named=True)
    }
    assert found["area", ""]["estimate"] == pytest.approx((1 + 0.25) / 2)
    assert found["precision", "first K"]["estimate"] == pytest.approx((1 + 0.5) / 2)
    assert found["found", "from 0.9"]["estimate"] == 2
    assert found["precision", "from 0.9"]["estimate"] == pytest.approx((1 + 0.5) / 2)
    assert found["recall", "from 0.9"]["estimate"] == pytest.approx((1 + 0.5) / 2)
    assert found["recall", "from 1"]["estimate"] == pytest.approx(0.25)
    assert found["precision", "from 1"]["seeds"] == 1  # the other finds nothing, so that it has none
    for row in found.values():
        assert row["grafted"] == 2
        if row["measure"] == "found" or row["seeds"] == 1:
            assert row["ci_low"] is None
            assert row["ci_high"] is None
        else:
            assert row["ci_low"] <= row["estimate"] <= row["ci_high"]
    assert found["area", ""]["chance"] == 0.5
    assert found["precision", "first K"]["chance"] == 0.5
