"""Probes: one cell, and what choosing among many cells does to their significance."""

import numpy as np
import polars as pl
import pytest

from rim.analysis import probes
from rim.analysis.probes import areas, fit, fit_probes, probe, shuffle
from rim.core import contracts, statistics, tables

LAYERS, POSITIONS, WIDTH = 4, ["turn_end", "assistant", "inner", "last"], 12
HARMFUL, HARMLESS = 40, 20  # requests, six of ten for calibration


class Doll:
    """Stands for a cache of activations: noise, but for a signal in one cell of the harmful requests."""

    def __init__(self, seed: int, signal: float = 0.0, at: tuple[int, int] = (3, 1), fulfilled: int = 0) -> None:
        self.layers, self.positions = LAYERS, POSITIONS
        self.rows = [f"request {i}" for i in range(HARMFUL + HARMLESS)]
        rng = np.random.default_rng(seed)
        self.residual = rng.normal(size=(LAYERS, len(self.rows), len(POSITIONS), WIDTH)).astype(np.float32)
        self.residual[at[0], :HARMFUL, at[1], 0] += signal
        self.spans = np.zeros((len(self.rows), len(POSITIONS), 2), dtype=int)
        groups = ["fulfilled"] * fulfilled + ["refused"] * (HARMFUL - fulfilled) + ["harmless"] * HARMLESS
        split = ["calibration" if i % 10 < 6 else "evaluation" for i in range(len(self.rows))]
        self.groups = pl.DataFrame({"key": self.rows, "think": "off", "split": split, "group": groups})

    def read(self, record: str, layer: int) -> np.ndarray:
        assert record == "residual"
        return self.residual[layer]

    def fitted(self, name: str = "harmful") -> pl.DataFrame:
        table = fit_probes(self, self.groups)[0]
        tables.check(table, contracts.PROBES, "probes")
        return table.filter(pl.col("probe") == name)


def groups_of(rng: np.random.Generator, shift: float, count: int, width: int = 24) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(0, 1, (count, width)) + shift * np.eye(width)[3], rng.normal(0, 1, (count, width))


def test_a_probe_finds_a_planted_direction() -> None:
    rng = np.random.default_rng(3)
    found = probe(groups_of(rng, 3.0, 60), groups_of(rng, 3.0, 40))
    assert found.direction.vector.argmax() == 3
    assert areas(found.scores[:, None], 40)[0] > 0.95
    assert found.accuracy > 0.85
    assert found.cross_validated > 0.95


def test_the_threshold_lies_midway_and_groups_too_small_to_fit_give_none() -> None:
    positive, negative = np.array([[3.0, 0.0], [5.0, 0.0]]), np.array([[0.0, 0.0], [2.0, 0.0], [1.0, 0.0]])
    direction = fit(positive, negative)
    assert direction.vector.tolist() == [3.0, 0.0]
    assert direction.tau == pytest.approx((3 * 4 + 3 * 1) / 2)
    assert direction.above(np.array([[2.4, 9.0], [2.6, -9.0]])).tolist() == [False, True]
    assert probe((positive[:1], negative), (positive, negative)) is None


def test_area_and_its_interval() -> None:
    scores = np.array([3.0, 1.0, 2.0, 2.0, 0.0])  # positives 3, 1; negatives 2, 2, 0
    assert areas(scores[:, None], 2)[0] == pytest.approx((3 + 1) / 6)
    estimate = statistics.roc_area(1.0, 20, 30)
    assert 0.85 < estimate.low < estimate.high == 1.0
    wide, narrow = statistics.roc_area(0.8, 20, 20), statistics.roc_area(0.8, 200, 200)
    assert wide.low < narrow.low < 0.8 < narrow.high < wide.high
    mirrored = statistics.roc_area(0.2, 20, 20)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((wide.low, wide.high))


@pytest.mark.parametrize("area", [0.5, 0.8, 0.95])
def test_the_interval_of_an_area_holds_its_level_with_as_few_prompts_as_a_probe_may_have(area: float) -> None:
    from scipy.stats import norm

    rng, few, many, times = np.random.default_rng(0), probes.FEWEST, 72, 600
    scores = rng.normal(size=(few + many, times))
    scores[:few] += np.sqrt(2) * norm.ppf(area)
    intervals = [statistics.roc_area(float(found), few, many) for found in areas(scores, few)]
    covered = np.mean([each.low <= area <= each.high for each in intervals])
    assert 0.93 <= covered <= 0.99


def test_shuffled_labels_give_the_rank_sum_test_where_there_is_one_cell() -> None:
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(1)
    scores, positive = np.r_[rng.normal(0.6, 1, 14), rng.normal(0, 1, 20)], np.arange(34) < 14
    found = shuffle(scores[None], positive)
    exact = mannwhitneyu(scores[positive], scores[~positive], alternative="greater").pvalue
    assert found.p[0] == pytest.approx(exact, abs=0.01)
    assert found.p_max[0] == found.p[0]
    critical = 0.5 + 1.645 * np.sqrt(35 / (12 * 14 * 20))
    assert found.reference[0] == pytest.approx(critical, abs=0.01)


def test_a_prompt_that_lacks_the_position_of_a_cell_does_not_count_there() -> None:
    rng = np.random.default_rng(2)
    whole, positive = rng.normal(size=(1, 40)), np.arange(40) < 15
    lacking = np.concatenate([whole, whole])
    lacking[1, ::4] = np.nan
    alone = shuffle(whole[:, np.arange(40) % 4 > 0], positive[np.arange(40) % 4 > 0])
    found = shuffle(lacking, positive)
    assert found.p[1] == pytest.approx(alone.p[0], abs=0.02)
    assert found.reference[1] > found.reference[0]  # fewer prompts, so chance reaches further
    assert all(found.p_max >= found.p)


def test_a_planted_cell_is_selected_and_stands_out_from_all_others() -> None:
    found = Doll(0, signal=4.0).fitted()
    chosen = found.filter("selected").to_dicts()
    assert [(row["layer"], row["position"]) for row in chosen] == [(3, "assistant")]
    assert chosen[0]["cross_validated"] > 0.95
    assert chosen[0]["p"] <= chosen[0]["p_max"] < 0.01
    assert chosen[0]["ci_low"] > 0.6
    others = found.filter(~pl.col("selected"))
    assert others.height == LAYERS * len(POSITIONS) - 1
    assert all(others["p_max"] > 0.01)


def test_without_any_signal_a_corrected_claim_is_made_in_one_of_twenty_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "SHUFFLES", 399)
    times = 120
    claims = {
        "best, uncorrected": 0,
        "best, against the maximum": 0,
        "selected on the other split": 0,
        "its interval": 0,
    }
    for seed in range(times):
        found = Doll(seed).fitted()
        (selected,) = found.filter("selected").to_dicts()
        claims["best, uncorrected"] += found["p"].min() < 0.05
        claims["best, against the maximum"] += found["p_max"].min() < 0.05
        claims["selected on the other split"] += selected["p"] < 0.05
        claims["its interval"] += not selected["ci_low"] <= 0.5 <= selected["ci_high"]
    shares = {name: count / times for name, count in claims.items()}
    assert shares.pop("best, uncorrected") > 0.4  # what the corrections are for
    for name, share in shares.items():
        assert 0.0 < share < 0.11, (name, shares)


def test_the_order_of_requests_within_a_group_does_not_choose_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """The labels of the evaluation split have no part in the choice."""
    monkeypatch.setattr(probes, "SHUFFLES", 99)
    doll = Doll(5, signal=1.0)
    before = doll.fitted().filter("selected").select("layer", "position").rows()
    evaluation = pl.col("split") == "evaluation"
    rows = doll.groups.with_row_index()
    shuffled = rows.filter(evaluation).with_columns(pl.col("group").shuffle(seed=1))
    doll.groups = pl.concat([rows.filter(~evaluation), shuffled]).sort("index").drop("index")
    assert doll.fitted().filter("selected").select("layer", "position").rows() == before


@pytest.mark.parametrize(("fulfilled", "few"), [(20, False), (6, True), (0, True)])
def test_a_probe_with_fewer_than_five_prompts_in_a_group_is_never_selected(
    fulfilled: int, few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "SHUFFLES", 99)
    found = Doll(1, fulfilled=fulfilled).fitted("refusal")
    smallest = found.select(pl.min_horizontal(*probes.SIZES)).to_series()
    assert set(smallest < probes.FEWEST) == {few} == set(found["few"])
    assert found["selected"].sum() == (0 if few else 1)
    assert found["p"].is_nan().all() == few


def test_ties_are_broken_towards_the_first_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "SHUFFLES", 99)
    doll = Doll(2, signal=60.0, at=(2, 0))
    doll.residual[3, :HARMFUL, 3, 0] += 60.0
    found = doll.fitted()
    assert found.filter(pl.col("cross_validated") == 1).height == 2
    assert found.filter("selected").select("layer", "position").rows() == [(2, "turn_end")]
