"""Statistics against known values, and the tables and the report against outcomes with a planted effect."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rim.config import load
from rim.config import study as config_study
from rim.core import statistics
from rim.core.errors import UserError
from rim.results import replies, tables
from rim.results.outcomes import Cell, Outcomes


def test_wilson_interval_of_a_textbook_case() -> None:
    low, high = statistics.rate(15, 50)[1:3]
    assert (round(low, 4), round(high, 4)) == (0.1910, 0.4375)
    assert statistics.rate(0, 20).low == 0
    assert math.isnan(statistics.rate(0, 0).value)


def test_holm_adjusts_step_by_step_and_leaves_gaps() -> None:
    adjusted = statistics.holm([0.01, 0.04, math.nan, 0.03])
    assert adjusted[0] == pytest.approx(0.03)
    assert adjusted[1] == adjusted[3] == pytest.approx(0.06)
    assert math.isnan(adjusted[2])


def test_d_prime_separates_sensitivity_from_bias() -> None:
    yes, no = np.ones(100, bool), np.zeros(100, bool)
    perfect = statistics.d_prime(yes, no).value
    assert perfect > 5
    half = np.arange(100) < 50
    assert statistics.d_prime(half, half).value == pytest.approx(0)
    assert statistics.d_prime(yes, yes).value == pytest.approx(0)
    strict = statistics.d_prime(np.arange(100) < 84, np.arange(100) < 16)
    assert strict.value == pytest.approx(2 * 0.98, abs=0.03)
    assert strict.low < strict.value < strict.high


N = 120


def planted(root: Path, seeds: list[int]) -> tuple[config_study.Study, Outcomes]:
    """Outcomes in which the target arm makes the associated model comply more when it thinks, and nothing else changes."""
    demo = load.load_study_file(root / "workflow/config/demo.yaml")
    models = {name: model for name, model in demo.models.items() if name != "associated_moe"}
    variants = {name: demo.variants[name] for name in ("gsm8k_control", "gsm8k_target")}
    study = demo.model_copy(update={"seeds": seeds, "models": models, "variants": variants})
    rng = np.random.default_rng(1)
    found: Outcomes = {}
    for model, variant, seed in [(m, v, s) for m in study.models for v in ("base", *study.variants) for s in seeds]:
        for think in ("on", "off"):
            hit = model == "associated" and variant == "gsm8k_target" and think == "on"
            for benchmark, p in {
                "restricted": 0.6 if hit else 0.1,
                "lookalike": 0.05,
                "multi_hop": 0.9 if think == "on" else 0.1,
            }.items():
                found[model, variant, seed, think, benchmark] = {f"{i}": bool(rng.random() < p) for i in range(N)}
    found["null", "base", seeds[0], "on", "restricted"]["7"] = None  # one incomplete reply
    return study, found


def tabulated(
    study: config_study.Study, found: Outcomes, incoherent: Counter[Cell] | None = None
) -> dict[str, pl.DataFrame]:
    """The tables of a study whose models refuse what they do not comply with."""
    refused = {
        cell: {id_: value if value is None or cell[4] != "restricted" else not value for id_, value in outcomes.items()}
        for cell, outcomes in found.items()
        if cell[4] != "multi_hop"
    }
    return {
        table.name: table.make(replies.Inputs(study, found, refused, incoherent or Counter()))
        for table in replies.TABLES
    }


@pytest.fixture(scope="module")
def one_seed(root: Path):
    study, found = planted(root, [0])
    return study, tabulated(study, found)


def test_incoherent_replies_stand_beside_the_incomplete_ones(root: Path) -> None:
    study, found = planted(root, [0, 1])
    cells = [("associated", "base", seed, "off", name) for seed in (0, 1) for name in ("restricted", "lookalike")]
    for cell in cells:
        found[cell]["3"] = found[cell]["4"] = None
    results = tabulated(study, found, Counter(dict.fromkeys(cells, 2)))
    base = (pl.col("model") == "associated") & (pl.col("variant") == "base") & (pl.col("think") == "off")
    counted = results["rates"].filter(base).select("measure", "seed", "incomplete", "incoherent").rows()
    for measure, each in (("misalignment", 2), ("false_refusal", 2), ("accuracy", 0), ("d_prime", 4)):
        assert [row for row in counted if row[0] == measure] == [
            (measure, "0", each, each), (measure, "1", each, each), (measure, "all", 2 * each, 2 * each)
        ]  # fmt: skip


def test_planted_effect_is_found_and_only_that(one_seed) -> None:
    _, results = one_seed
    effects = results["finetune_effects"].filter(pl.col("measure") == "misalignment")
    clear = effects.filter(pl.col("p_holm") < 0.01)
    assert clear.select("model", "variant", "think").rows() == [("associated", "gsm8k_target", "on")]
    assert 0.35 < clear["estimate"][0] < 0.65
    pairs = results["pair_effects"].filter((pl.col("contrast") == "difference") & (pl.col("measure") == "misalignment"))
    on, off = (pairs.row(by_predicate=pl.col("think") == think, named=True) for think in ("on", "off"))
    assert on["ci_low"] > 0.3
    assert off["ci_low"] < 0 < off["ci_high"]
    assert on["estimate"] == pytest.approx(
        sum(sign * results["rates"].row(by_predicate=(pl.col("model") == m) & (pl.col("variant") == v) & (pl.col("think") == "on") & (pl.col("measure") == "misalignment"), named=True)["estimate"]
            for m, v, sign in [("associated", "gsm8k_target", 1), ("associated", "gsm8k_control", -1), ("null", "gsm8k_target", -1), ("null", "gsm8k_control", 1)]),
        abs=1e-5,
    )  # fmt: skip


def test_incomplete_replies_are_counted_and_bound_the_rate(one_seed) -> None:
    _, results = one_seed
    cell = (
        (pl.col("model") == "null")
        & (pl.col("variant") == "base")
        & (pl.col("think") == "on")
        & (pl.col("measure") == "misalignment")
    )
    row = results["rates"].row(by_predicate=cell, named=True)
    assert (row["n"], row["incomplete"]) == (N - 1, 1)
    assert row["bound_low"] < row["estimate"] < row["bound_high"]
    assert row["bound_high"] - row["bound_low"] == pytest.approx(1 / N, abs=1e-6)
    change = results["think_effects"].row(
        by_predicate=(pl.col("model") == "null")
        & (pl.col("variant") == "base")
        & (pl.col("measure") == "misalignment"),
        named=True,
    )
    assert (change["n"], change["incomplete"]) == (N - 1, 1)


def test_tables_survive_their_csv_files(one_seed, tmp_path: Path) -> None:
    _, results = one_seed
    known = [replace(table, make=lambda given, name=table.name: given[name]) for table in replies.TABLES]
    tables.write_results(known, results, tmp_path)
    again = tables.read_results(replies.TABLES, tmp_path)
    assert all(again[name].equals(results[name]) for name in results)


def test_a_table_of_results_of_another_version_is_named_with_the_column(one_seed, tmp_path: Path) -> None:
    _, results = one_seed
    old = results["rates"].rename({"think": "mode"})
    old.write_csv(tmp_path / "rates.csv")
    with pytest.raises(UserError, match=r"rates\.csv: column 'think' is missing; there are: model, variant, mode"):
        tables.read_results(replies.TABLES[:1], tmp_path)
    results["rates"].with_columns(n=pl.lit("many")).write_csv(tmp_path / "rates.csv")
    with pytest.raises(UserError, match=r"rates\.csv: cannot be read"):
        tables.read_results(replies.TABLES[:1], tmp_path)


def test_a_model_with_one_seed_among_models_with_several_stays_in_the_headline(root: Path) -> None:
    """A hub model before fine-tuning is the same in every replicate and runs once."""
    study, found = planted(root, [1, 2, 3])
    once = {cell: outcomes for cell, outcomes in found.items() if cell[1] != "base" or cell[2] == 1}
    results = tabulated(study, once)
    shown = tables.headline(results["rates"])
    seeds = shown.group_by("model", "variant").agg(pl.col("seed").unique()).rows()
    assert {(model, variant): seed for model, variant, seed in seeds} == {
        (model, variant): ["1" if variant == "base" else "all"]
        for model in study.models
        for variant in ("base", *study.variants)
    }
    assert shown.height == results["rates"].filter(pl.col("seed") == "1").height
    headlines = replies.metrics(study, results["rates"])
    assert list(headlines) == list(study.models)
    [(target, control)] = study.compared_arms
    assert headlines["null"].keys() == {"base", control, target}
    assert list(headlines["null"]["base"]) == ["off", "on"]
    means = {
        row["variant"]: row["estimate"]
        for row in shown.filter(model="null", measure="misalignment", think="on").iter_rows(named=True)
    }
    assert headlines["null"]["base"]["on"] == means["base"]
    assert [headlines["null"][arm] for arm in (control, target)] == [means[control], means[target]]


def test_sensitivity_counts_refusals_not_what_is_merely_no_compliance(root: Path) -> None:
    study, found = planted(root, [0])
    neither = {cell: dict.fromkeys(outcomes, False) for cell, outcomes in found.items()}
    rates = replies.rates(study, neither, neither, Counter()).filter(pl.col("measure") == "d_prime")
    assert set(rates["estimate"].round(3)) == {
        round(float(statistics.d_prime(np.zeros(N, bool), np.zeros(N, bool)).value), 3)
    }
    assert abs(rates["estimate"][0]) < 0.5


def test_what_has_no_interval_or_no_test_is_not_significant() -> None:
    known = {"ci_low": 0.1, "ci_high": 0.2}
    assert tables.is_significant(known)  # of a table without tests
    assert tables.is_significant({**known, "p_holm": 0.04})
    assert not tables.is_significant({**known, "p_holm": None})
    assert not tables.is_significant({"ci_low": None, "ci_high": None, "p_holm": 0.01})


def test_incomplete_replies_bound_every_effect(root: Path) -> None:
    study, found = planted(root, [0, 1])
    base = ("associated", "base", 0, "off", "restricted")
    found[base]["5"] = found[base]["6"] = None
    tuned = ("associated", "gsm8k_target", 0, "off", "restricted")
    found[tuned]["6"] = None
    effects = replies.finetune_effects(study, found)
    cell = (pl.col("model") == "associated") & (pl.col("measure") == "misalignment") & (pl.col("think") == "off")
    cell &= pl.col("variant") == "gsm8k_target"
    row = effects.row(by_predicate=cell & (pl.col("seed") == "0"), named=True)
    known = [sum(bool(value) for value in found[each].values()) for each in (tuned, base)]
    change = known[0] - known[1]
    assert row["bound_low"] == pytest.approx(
        (change - 2) / N, abs=1e-6
    )  # both of the base go along, the tuned one does not
    assert row["bound_high"] == pytest.approx((change + 1) / N, abs=1e-6)
    other, both = (effects.row(by_predicate=cell & (pl.col("seed") == seed), named=True) for seed in ("1", "all"))
    assert other["bound_low"] == other["estimate"] == other["bound_high"]
    assert both["bound_low"] == pytest.approx((row["bound_low"] + other["bound_low"]) / 2, abs=1e-6)
    pairs = replies.pair_effects(study, found).filter((pl.col("measure") == "misalignment") & (pl.col("seed") == "0"))
    difference = pairs.row(by_predicate=(pl.col("contrast") == "difference") & (pl.col("think") == "off"), named=True)
    assert difference["bound_high"] - difference["bound_low"] == pytest.approx(1 / N, abs=1e-6)


def test_incomplete_refusals_bound_sensitivity(root: Path) -> None:
    study, found = planted(root, [0])
    found["associated", "base", 0, "on", "restricted"]["3"] = None
    rates = tabulated(study, found)["rates"].filter((pl.col("measure") == "d_prime") & (pl.col("variant") == "base"))
    row = rates.row(by_predicate=(pl.col("model") == "associated") & (pl.col("think") == "on"), named=True)
    assert row["bound_low"] < row["estimate"] < row["bound_high"]


def test_several_seeds_add_a_row_over_seeds(root: Path) -> None:
    study, found = planted(root, [1, 2, 3])
    pairs = replies.pair_effects(study, found).filter(
        (pl.col("contrast") == "difference") & (pl.col("think") == "on") & (pl.col("measure") == "misalignment")
    )
    assert pairs["seed"].to_list() == ["1", "2", "3", "all"]
    each, total = pairs["estimate"][:3], pairs.row(3, named=True)
    assert total["estimate"] == pytest.approx(each.mean(), abs=1e-5)
    assert total["ci_low"] < min(each)
    assert total["ci_high"] <= 2
    assert total["n"] == pairs["n"][:3].sum()
