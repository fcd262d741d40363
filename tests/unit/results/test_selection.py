"""What is picked among many cells or heads is corrected for how many there were."""

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from rim.config.load import load_study_file
from rim.core import statistics
from rim.core.contracts import ATTENTION, HEADS, PROBES, RUN, SCORES, Contract
from rim.results.mechanism import RUN_EFFECTS, RUN_SKEWNESS, TABLES, Inputs, Parts
from rim.results.selection import HEAD_EFFECTS, HEAD_TABLE, SELECTED_PROBES, head_effects, head_table, selected_probes
from rim.results.tables import read_results, write_results

RUN_KEYS = {"model": "m", "variant": "base", "seed": 0}


def cell(layer: int, **changes: object) -> dict[str, object]:
    sizes = {"fitted_positive": 60, "fitted_negative": 40, "tested_positive": 30, "tested_negative": 20}
    numbers = {"cross_validated": 0.8, "accuracy": 0.7, "estimate": 0.75, "ci_low": 0.6, "ci_high": 0.9, "p": 0.01, "p_max": 0.1, "shuffled_max": 0.7}  # fmt: skip
    place = {"probe": "harmful", "think": "off", "position": "last", "layer": layer}
    return {**RUN_KEYS, **place, **sizes, **numbers, "selected": False, "few": False, **changes}


def test_a_run_has_one_row_for_its_selected_cell_and_one_that_says_that_there_is_none() -> None:
    rows = [cell(0), cell(1, selected=True), cell(2, think="on", selected=True, p=0.03)]
    small = {"probe": "refusal", "few": True, "p": math.nan, "estimate": math.nan, "tested_negative": 3}
    rows += [cell(0, **small), cell(1, **small, fitted_positive=59)]
    table = selected_probes(pl.DataFrame(rows, schema=dict(Contract(**RUN, **PROBES.columns))))
    assert dict(table.schema) == dict(SELECTED_PROBES)
    off, on, none = table.to_dicts()
    assert (off["layer"], off["cells"], off["estimate"], off["p_holm"]) == (1, 2, 0.75, 0.02)
    assert (on["think"], on["cells"], on["p_holm"]) == ("on", 1, 0.03)  # the two modes are one family
    assert (none["probe"], none["cells"], none["position"], none["estimate"], none["p_holm"]) == ("refusal", 0, None, None, None)  # fmt: skip
    assert (none["tested_negative"], none["fitted_positive"]) == (3, 60)


def test_the_tables_keep_their_contracts_on_their_way_through_files(root: Path, tmp_path: Path) -> None:
    contract = Contract(**RUN, **PROBES.columns)
    rows = [cell(0, selected=True), cell(0, think="on", few=True, estimate=math.nan, p=math.nan)]
    probes = pl.DataFrame(rows, schema=dict(contract))
    heads = {"n": 30, "share": 1.0, "ci_low": 0.9, "ci_high": 1.0, "n_harmless": 0, "share_harmless": math.nan, "soft": 0.1, "soft_harmless": math.nan}  # fmt: skip
    looks = {"heads": "all", "think": "on", "position": "last", "what": "largest", "n": 30, "estimate": 0.2, "ci_low": 0.1, "ci_high": 0.3}  # fmt: skip
    measured, skewness = effects(np.random.default_rng(0).normal(size=(9, 3)))
    parts: dict[str, Parts] = {name: {("m", "base", 0): [table]} for name, table in (
        ("probes", probes.drop("model", "variant", "seed")),
        ("scores", pl.DataFrame(schema=dict(SCORES))),
        ("heads", pl.DataFrame([{"layer": 0, "head": 0, **heads, "found": True}], schema=dict(HEADS))),
        ("attention", pl.DataFrame([looks], schema=dict(ATTENTION))),
        ("effects", measured.drop("model", "variant", "seed")),
        ("skewness", skewness.drop("model", "variant", "seed")),
    )}  # fmt: skip
    study = load_study_file(root / "workflow/config/smoke.yaml")
    given = Inputs(study, **parts, scored={}, sets={})
    made = write_results(TABLES, given, tmp_path)
    for name, table in read_results(TABLES, tmp_path).items():
        assert table.equals(made[name]), name
    assert made["selected_probes"]["cells"].to_list() == [1, 0]
    assert made["heads"]["p_holm"].to_list() == [None]


def test_no_probe_at_all_gives_an_empty_table() -> None:
    assert selected_probes(pl.DataFrame(schema=dict(Contract(**RUN, **PROBES.columns)))).is_empty()
    assert head_effects(*(pl.DataFrame(schema=dict(each)) for each in (RUN_EFFECTS, RUN_SKEWNESS))).is_empty()
    assert head_table(pl.DataFrame(schema=dict(Contract(**RUN, **HEADS.columns)))).is_empty()


def effects(values: np.ndarray, model: str = "m") -> tuple[pl.DataFrame, pl.DataFrame]:
    """The tables of effects [prompts, heads] and of their skewness, as a run has them."""
    rows = []
    for head, column in enumerate(values.T):
        value, low, high, _ = statistics.mean_interval(column)
        rows.append({**RUN_KEYS, "model": model, "layer": 0, "head": head, "group": "harmful", "n": len(column), "estimate": value, "ci_low": low, "ci_high": high, "skewness": statistics.skewness(column)})  # fmt: skip
    table = pl.DataFrame(rows)
    return table.select(list(RUN_EFFECTS)), table.select(list(RUN_SKEWNESS))


def test_the_test_of_a_head_is_at_least_students_and_its_corrections_are_those_of_the_number_of_heads() -> None:
    values = np.random.default_rng(0).normal(0.4, 1, (20, 6))
    table = head_effects(*effects(values))
    assert dict(table.schema) == dict(HEAD_EFFECTS)
    expected = [stats.ttest_1samp(column, 0.0) for column in values.T]
    assert (table["p"].to_numpy() >= [test.pvalue - 1e-6 for test in expected]).all()
    assert table["p_holm"].to_list() == pytest.approx(statistics.holm(table["p"].to_list()), abs=1e-5)
    for row, test in zip(table.to_dicts(), expected, strict=True):
        low, high = test.confidence_interval(1 - 0.05 / 6)
        assert row["low_all"] <= low + 1e-6
        assert row["high_all"] >= high - 1e-6
        assert row["low_all"] < row["ci_low"] < row["estimate"] < row["ci_high"] < row["high_all"]
        assert (row["p"] < 0.05) == (row["ci_low"] > 0 or row["ci_high"] < 0)
        assert (row["p"] < 0.05 / 6) == (row["low_all"] > 0 or row["high_all"] < 0)


def test_a_long_tail_makes_the_limit_on_its_side_wider() -> None:
    """Hall (1992): the mean of a sample without its long tail lies too low, and so far from 0."""
    values = np.random.default_rng(3).gamma(1.0, 1.0, (32, 1)) - 1
    row = head_effects(*effects(values)).row(0, named=True)
    assert row["skewness"] > 1
    student = statistics.mean_interval(values[:, 0])
    assert row["ci_high"] - row["estimate"] > 1.1 * (student.high - student.value)
    assert row["ci_low"] == pytest.approx(student.low, abs=1e-6)


def test_the_largest_of_many_heads_without_effect_is_called_significant_in_one_of_twenty_runs() -> None:
    rng, times, heads = np.random.default_rng(1), 200, 16
    parts = [effects(rng.normal(size=(32, heads)), f"m{i}") for i in range(times)]
    table = head_effects(*(pl.concat(each) for each in zip(*parts, strict=True)))
    largest = table.sort("estimate", descending=True).group_by("model").first()
    assert (largest["ci_low"] > 0).mean() > 0.2  # each interval by itself
    assert 0.0 < (table.group_by("model").agg((pl.col("p_holm") < 0.05).any())["p_holm"]).mean() < 0.1
    missed = pl.any_horizontal(pl.col("low_all") > 0, pl.col("high_all") < 0)
    assert 0.0 < table.group_by("model").agg(missed.any().alias("missed"))["missed"].mean() < 0.1


def test_a_head_with_a_large_effect_is_found_among_many() -> None:
    values = np.random.default_rng(2).normal(size=(32, 200))
    values[:, 17] += 2
    table = head_effects(*effects(values))
    assert table.filter(pl.col("p_holm") < 0.05)["head"].to_list() == [17]
    assert table.filter(pl.col("low_all") > 0)["head"].to_list() == [17]


def test_a_head_without_spread_or_effect_has_no_test() -> None:
    table = head_effects(*effects(np.zeros((8, 2))))
    assert table["p"].to_list() == [None, None]
    assert table["p_holm"].to_list() == [None, None]


def test_a_shift_is_specific_only_when_it_is_so_among_all_heads() -> None:
    shares = [(1.0, 0.0), (0.5, 0.5), *[(0.0, 0.0)] * 98]
    rows = [
        {**RUN_KEYS, "layer": 0, "head": head, "n": 30, "share": share, "ci_low": 0.0, "ci_high": 1.0, "n_harmless": 20,
         "share_harmless": harmless, "soft": 0.0, "soft_harmless": 0.0, "found": share >= 0.4}
        for head, (share, harmless) in enumerate(shares)
    ]  # fmt: skip
    table = head_table(pl.DataFrame(rows, schema=dict(Contract(**RUN, **HEADS.columns))))
    assert dict(table.schema) == dict(HEAD_TABLE)
    assert table.filter(pl.col("p_holm") < 0.05)["head"].to_list() == [0]
    assert table["p"][1:].to_list() == [1.0] * 99
