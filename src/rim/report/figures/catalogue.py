"""All figures, those of a study and of a section, and what the report does with a chart to let its reader filter it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from rim.config.study import Study
from rim.core.contracts import TRAINING_DATA
from rim.report.figures import (
    ablations,
    calibration,
    explanations,
    forgetting,
    heads,
    neurons,
    patterns,
    probes,
    replies,
)
from rim.report.figures.declaration import Figure
from rim.report.figures.style import Tables
from rim.report.labels import Names
from rim.report.page import CaptionedFigure, Material

FIGURES: tuple[Figure, ...] = (
    *replies.FIGURES,
    *explanations.FIGURES,
    *patterns.FIGURES,
    *probes.FIGURES,
    *heads.FIGURES,
    *ablations.FIGURES,
    *calibration.FIGURES,
    *neurons.FIGURES,
    *forgetting.FIGURES,
)
FILTERS = {"model": "model", "variant": "arm", "think": "thinking"}  # columns -> what the reader sees
MANY = 12  # panels; a figure with more begins with its first model alone


def figures_of_study(study: Study) -> list[Figure]:
    """The figures that a study has."""
    return [figure for figure in FIGURES if figure.applies(study)]


def figure_by_name(name: str) -> Figure:
    """The figure of this name; a KeyError when there is none."""
    return {figure.name: figure for figure in FIGURES}[name]


def captioned_figures(material: Material, section: str) -> list[CaptionedFigure]:
    """The figures declared for a section that were drawn and have something to show."""
    drawings = material.drawings
    return [
        CaptionedFigure(figure.name, drawings[figure.name], figure.caption(material), figure.folded)
        for figure in FIGURES
        if figure.section == section and figure.name in drawings and drawings[figure.name].spec
    ]


def charts(figures: Iterable[Figure], tables: Tables, names: Names) -> dict[str, Any]:
    """These figures by name, as far as their tables are there, in the names that their reader sees."""
    import altair as alt

    alt.data_transformers.disable_max_rows()  # ten models have more than its 5000
    tables = {name: _with_names(table, names) for name, table in tables.items()}
    return {figure.name: figure.draw(tables, names.arms) for figure in figures if set(figure.tables) <= set(tables)}


def _with_names(table: pl.DataFrame, names: Names) -> pl.DataFrame:
    """A table that calls benchmarks and training sets what their reader does."""
    if "benchmark" not in table.columns:
        return table
    benchmark = pl.col("benchmark").replace(names.benchmarks)
    if "origin" in table.columns:
        trained = pl.col("benchmark").replace(names.training_sets)
        benchmark = pl.when(pl.col("origin") == TRAINING_DATA).then(trained).otherwise(benchmark)
    return table.with_columns(benchmark)


def interactive(chart: Any) -> dict[str, Any] | None:
    """The Vega-Lite specification of a chart, with a choice for each column of its data that has several values.

    None for a chart that has nothing to show.
    """
    spec: dict[str, Any] = chart.to_dict()
    if "facet" not in spec:
        return None
    (rows,) = spec["datasets"].values()
    for row in rows:
        row.update({name: float(f"{value:.4g}") for name, value in row.items() if isinstance(value, float)})
    spec["params"], spec["transform"] = list(spec.get("params", [])), list(spec.get("transform", []))
    crowded = len({row["panel"] for row in rows}) > MANY
    for column, name in FILTERS.items():
        values = list(dict.fromkeys(row[column] for row in rows if row.get(column) is not None))
        if len(values) > 1:
            initial = values[0] if crowded and column == "model" else "all"
            title = f"{name} " if initial == "all" else f"{name} (one is shown) "
            options = {"input": "select", "options": ["all", *values], "name": title}
            spec["params"].append({"name": f"only_{column}", "value": initial, "bind": options})
            spec["transform"].append({"filter": f"only_{column} == 'all' || datum.{column} == only_{column}"})
    return spec
