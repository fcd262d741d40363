"""What the report says of the best of many: it was picked elsewhere or is corrected, and no interval is a mean of others."""

from pathlib import Path

import polars as pl
import pytest

from rim.config import load
from rim.config.study import Study
from rim.report.figures.catalogue import charts, figure_by_name
from rim.report.first_screen import where
from rim.report.labels import names_of
from rim.report.mechanism import head_section, probe_section
from rim.results.selection import SELECTED_PROBES
from rim.settings.common import BASE
from tests import synthetic

Tables = dict[str, pl.DataFrame]


@pytest.fixture(scope="module")
def demo(root: Path) -> Study:
    return load.load_study_file(root / "workflow/config/demo.yaml")


@pytest.fixture(scope="module")
def results(demo: Study) -> Tables:
    return synthetic.synthetic(demo, layers=3, heads=3)


def selected(p: float) -> pl.DataFrame:
    """A cell of each probe of three models, and a refusal probe of which nothing can be said."""
    sizes = {"fitted_positive": 108, "fitted_negative": 12, "tested_positive": 72, "tested_negative": 8}
    numbers = {"cross_validated": 0.9, "accuracy": 0.8, "estimate": 0.875, "ci_low": 0.7, "ci_high": 0.95, "p": p, "p_holm": p}  # fmt: skip
    rows = [
        {"model": model, "variant": BASE, "seed": 0, "probe": probe, "think": think, "cells": 12, "position": "last", "layer": 1, **sizes, **numbers}
        for model in ("associated", "null", "associated_moe") for probe in ("harmful", "refusal") for think in ("on", "off")
    ]  # fmt: skip
    none = dict.fromkeys(numbers, None) | {"position": None, "layer": None, "cells": 0}
    rows[-1] |= none | {"fitted_positive": 119, "fitted_negative": 1, "tested_positive": 77, "tested_negative": 3}
    return pl.DataFrame(rows, schema=dict(SELECTED_PROBES))


def material(demo: Study, results: Tables, **changed: pl.DataFrame) -> object:
    return synthetic.material(demo, results | changed)


@pytest.mark.parametrize(
    ("p", "first", "section"),
    [
        (0.001, "in 3 of 3 models, by probes whose layer is chosen on other requests: at 50 % of the depth (AUC 0.88), in", "in 5 of 5 cases (AUC 0.88)"),
        (0.2, "in 0 of 3 models, by probes whose layer is chosen on other requests.", "in 0 of 5 cases,"),
    ],
)  # fmt: skip
def test_a_probe_is_called_one_that_tells_only_by_its_corrected_test(
    p: float, first: str, section: str, demo: Study, results: Tables
) -> None:
    given = material(demo, results, selected_probes=selected(p))
    assert first in where(given)[0]
    written = probe_section(given)
    assert section in written.text[0]
    assert {row.clear for row in written.tables[0].rows} == {p < 0.05}
    assert len(written.tables[0].rows) == 11


def test_a_probe_without_enough_requests_is_named_with_what_it_would_take(demo: Study, results: Tables) -> None:
    written = probe_section(material(demo, results, selected_probes=selected(0.01)))
    (row,) = written.tables[1].rows
    assert row.cells == [
        "associated_moe",
        "base",
        "0",
        "refusal",
        "off",
        "1 fulfilled (calibration)",
        "200",
        "about 1000",
    ]
    whole = selected(0.01).filter(pl.col("cells") > 0)
    assert len(probe_section(material(demo, results, selected_probes=whole)).tables) == 1


def test_heads_are_marked_by_tests_over_all_heads(demo: Study, results: Tables) -> None:
    def greys(p: float) -> list[set[bool]]:
        heads = results["heads"].with_columns(found=True, share=0.9, share_harmless=0.1, p_holm=pl.lit(p))
        effects = results["head_effects"].with_columns(estimate=1.0, ci_low=0.5, ci_high=1.5, p_holm=pl.lit(p))
        written = head_section(material(demo, results, heads=heads, head_effects=effects))
        return [{row.clear for row in table.rows} for table in written.tables]

    assert greys(0.01) == [{True}, {True}]
    assert greys(0.06) == [{False}, {False}]  # though every interval excludes 0 and every share differs by far


def rows_of(chart: object) -> list[dict]:
    """The data that a figure is drawn from."""
    (data,) = chart.to_dict()["datasets"].values()
    return data


@pytest.mark.parametrize(
    ("name", "table"),
    [("probes", "probe_scores"), ("probe_areas", "probes"), ("ablations", "ablation_effects"), ("forgetting", "checkpoint_rates"),
     ("neuron_effects", "neuron_effects"), ("ras", "checkpoints")],
)  # fmt: skip
def test_every_interval_that_is_drawn_is_that_of_one_row(name: str, table: str, demo: Study, results: Tables) -> None:
    other = results[table].with_columns(
        pl.lit(1, results[table]["seed"].dtype).alias("seed"), pl.col("estimate", "ci_low", "ci_high") / 2
    )
    both = pl.concat([results[table], other])
    drawn = rows_of(charts([figure_by_name(name)], {**results, table: both}, names_of(demo))[name])
    known = set(both.select("estimate", "ci_low", "ci_high").iter_rows())
    shown = [tuple(row[each] for each in ("estimate", "ci_low", "ci_high")) for row in drawn if row["estimate"] is not None]  # fmt: skip
    assert shown
    assert set(shown) <= known
    assert {row["seed"] for row in drawn} == {0, 1}
    assert all("seed" in f"{row['panel']} {row.get('row')}" for row in drawn)


def test_a_cell_is_marked_by_the_largest_area_of_all(demo: Study, results: Tables) -> None:
    table = results["probes"].with_columns(
        p=pl.lit(0.001), p_max=pl.when(pl.col("layer") == 1).then(0.01).otherwise(0.3)
    )
    drawn = rows_of(charts([figure_by_name("probe_areas")], {"probes": table}, names_of(demo))["probe_areas"])
    assert {row["layer"] for row in drawn if row["clear"]} == {1}


def test_an_effect_is_marked_by_its_corrected_test(demo: Study, results: Tables) -> None:
    table = results["ablation_effects"].with_columns(p_holm=pl.lit(0.3), ci_low=pl.lit(0.1), ci_high=pl.lit(0.3))
    drawn = rows_of(charts([figure_by_name("ablations")], {"ablation_effects": table}, names_of(demo))["ablations"])
    assert not any(row["clear"] for row in drawn)
