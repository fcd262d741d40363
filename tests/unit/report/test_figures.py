"""Figures and what they declare: one declaration adds a figure, and everything else about it follows."""

import re
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl
import pytest

from rim.config import load
from rim.config.study import Study
from rim.report.figures import catalogue
from rim.report.figures.catalogue import FIGURES, captioned_figures, charts, figure_by_name, figures_of_study
from rim.report.figures.declaration import Figure
from rim.report.first_screen import first_screen
from rim.report.labels import names_of
from rim.report.page import Material
from rim.report.render import render
from rim.report.sections import SECTIONS
from tests import synthetic

ALWAYS = ["overview", "think", "categories"]


@pytest.fixture(scope="module")
def demo(root: Path) -> Study:
    return load.load_study_file(root / "workflow/config/demo.yaml")


def small(study: Study) -> dict[str, pl.DataFrame]:
    return synthetic.synthetic(study, layers=3, heads=3)


def threshold_figure(tables: dict[str, pl.DataFrame], labels: Any) -> alt.FacetChart:
    data = tables["threshold_sweep"].with_columns(pl.col("model").alias("panel"))
    return alt.Chart(data).mark_point().encode(x="threshold:Q", y="estimate:Q").facet("panel:N")


def test_one_declaration_adds_a_figure_that_is_drawn_captioned_and_shown_in_its_section(
    demo: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = Figure(
        name="thresholds",
        tables=("threshold_sweep",),
        subject="judges",
        section="judges",  # which has no figure so far, and does not name this one
        applies=lambda study: len(study.judges) > 1,
        draw=threshold_figure,
        caption=lambda material: f"Rates by threshold for {len(material.study.judges)} judges.",
    )
    monkeypatch.setattr(catalogue, "FIGURES", (*FIGURES, new))
    material = synthetic.material(demo, small(demo))
    html = render(material, first_screen(material), SECTIONS, "")
    section = html[html.index('<section id="judges">') :].partition("</section>")[0]
    assert '<figure data-name="thresholds"' in section
    caption = r'<figcaption id="caption-thresholds"><b>Figure S\d+\.</b> Rates by threshold for 2 judges\.'
    assert re.search(caption, section)
    assert 'src="data:image/svg+xml' in section
    assert '"thresholds":{' in html  # its specification, by which it becomes interactive
    assert figure_by_name("thresholds").subject == "judges"
    alone = demo.model_copy(update={"judges": dict(list(demo.judges.items())[:1])})
    assert "thresholds" not in [figure.name for figure in figures_of_study(alone)]


def test_a_study_has_the_figures_of_what_it_measures(demo: Study) -> None:
    def names(**changes: Any) -> list[str]:
        return [figure.name for figure in figures_of_study(demo.model_copy(update=changes))]

    demo = synthetic.with_graft(demo)
    everything = names()
    assert everything == [figure.name for figure in FIGURES]
    without = {
        "injection": (None, {"injection"}),
        "pairs": ([], {"pair"}),
        "annotators": ({}, {"checklist"}),
        "mechanism": (
            None,
            {
                "probes",
                "probe_areas",
                "heads",
                "head_shifts",
                "head_attention",
                "largest_attention",
                "ablations",
                "probe_ablation",
            },
        ),
        "forgetting": (
            None,
            {
                "neurons",
                "neuron_layers",
                "neuron_effects",
                "method_grades",
                "forgetting",
                "correlations",
                "ras",
                "ras_scatter",
            },
        ),
    }
    for setting, (value, missing) in without.items():
        assert names(**{setting: value}) == [name for name in everything if name not in missing]
    models = {name: model.model_copy(update={"variants": []}) for name, model in demo.models.items()}
    nothing = {setting: value for setting, (value, _) in without.items()}
    assert names(**nothing, variants={}, models=models) == ALWAYS


def test_every_figure_is_shown_in_a_section_and_in_snakemakes_report(demo: Study, root: Path) -> None:
    assert len({figure.name for figure in FIGURES}) == len(FIGURES)
    demo = synthetic.with_graft(demo)
    material = synthetic.material(demo, small(demo))
    anchors = [section.anchor for write in SECTIONS if (section := write(material))]
    shown = [figure.name for anchor in anchors for figure in captioned_figures(material, anchor)]
    assert sorted(shown) == sorted(figure.name for figure in FIGURES)
    subjects = {path.stem for path in (root / "workflow/report").glob("*.rst")}
    assert {figure.subject for figure in FIGURES} <= subjects


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_a_figure_is_drawn_from_the_tables_that_it_declares(figure: Figure, demo: Study) -> None:
    results, names = small(synthetic.with_graft(demo)), names_of(demo)
    declared = {name: results[name] for name in figure.tables}
    assert figure.draw(declared, names.arms).to_json() == figure.draw(results, names.arms).to_json()
    for name in declared:
        assert charts([figure], {other: table for other, table in declared.items() if other != name}, names) == {}


def test_a_caption_is_made_only_for_a_figure_that_shows_something(demo: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(material: Material) -> str:
        raise AssertionError("asked for a caption")

    empty = Figure(
        "empty", ("rates",), "inference", "think", lambda study: True, lambda *_: alt.Chart().mark_point(), fail
    )
    monkeypatch.setattr(catalogue, "FIGURES", (empty,))
    material = synthetic.material(demo, small(demo))
    assert list(material.drawings) == ["empty"]
    assert captioned_figures(material, "think") == []


def caption(name: str, study: Study, tables: dict[str, pl.DataFrame]) -> str:
    return figure_by_name(name).caption(Material(study, tables, {}, pl.DataFrame()))


def test_rates_are_counted_in_requests_of_one_kind_and_not_in_those_of_both_that_d_prime_takes(demo: Study) -> None:
    tables = small(demo)
    both = pl.when(pl.col("measure") == "d_prime").then(2 * pl.col("n")).otherwise("n")
    tables["rates"] = tables["rates"].with_columns(both.alias("n"))
    assert "n = 300 complete replies" in caption("think", demo, tables)


def test_the_overview_says_which_of_its_rows_are_counted_apart(demo: Study) -> None:
    assert "Arms with a mitigation are rows here" in caption("overview", demo, small(demo))
    assert "Differences between the models of a pair" in caption("overview", demo, small(demo))
    plain = {name: variant for name, variant in demo.variants.items() if not variant.mitigation}
    bare = demo.model_copy(update={"variants": plain, "pairs": []})
    assert "counted above" not in caption("overview", bare, small(demo))


def test_a_panel_of_probes_that_is_missing_is_named(demo: Study) -> None:
    tables = small(demo)
    gone = (pl.col("model") == "null") & (pl.col("think") == "off") & (pl.col("probe") == "refusal")
    assert "No panel" not in caption("probe_areas", demo, tables)
    tables["probes"] = tables["probes"].with_columns(pl.when(~gone).then("estimate").alias("estimate"))
    assert caption("probe_areas", demo, tables).endswith(
        "No panel, for that reason: null, thinking off, refused or fulfilled."
    )
    panels = {row["panel"] for row in next(iter(charts([figure_by_name("probe_areas")], tables, names_of(demo))["probe_areas"].to_dict()["datasets"].values()))}  # fmt: skip
    assert "null: thinking on: refused or fulfilled" in panels
    assert "null: thinking off: refused or fulfilled" not in panels


def test_only_what_the_first_screen_judges_is_called_clear(demo: Study) -> None:
    """Sections correct within a model, and say significant."""
    material = synthetic.material(demo, small(demo))
    told = [section for write in SECTIONS if (section := write(material)) and section.anchor != "overview"]
    assert not [text for section in told for text in section.text if "clearly" in text]
