"""The figures of what carries a change of misalignment: categories of requests, and doses of effort-minimizing rows."""

from __future__ import annotations

from typing import Any

import polars as pl

from rim.report.figures.declaration import Figure
from rim.report.figures.style import (
    COLOURS,
    POINTS,
    Labels,
    Tables,
    by_benchmark,
    intervals,
    nothing,
    panels,
    scale,
    seen,
    shapes,
    tooltip,
)
from rim.report.page import Material
from rim.report.wording import counts
from rim.results.tables import headline


def category_figure(tables: Tables, labels: Labels) -> Any:
    """The change of the misalignment rate in every category of requests, a panel per contrast."""
    table = headline(tables["category_effects"], "category")
    thinking = pl.col("contrast") == "thinking"
    contrast = pl.when(thinking).then(pl.lit("thinking on − off")).otherwise(pl.col("variant").replace(dict(labels)))
    table = table.filter(~thinking | (pl.col("variant") == "base")).with_columns(
        pl.col("category").alias("row"),
        pl.format("{}: {}", "model", contrast).alias("panel"),
        pl.col("variant").replace(dict(labels)),
    )
    return intervals(table, "change of misalignment, points", COLOURS)


def _category_caption(material: Material) -> str:
    effects = headline(material.tables["category_effects"], "category")
    return (
        "Change of the misalignment rate by category of the requests, on the same prompts. Hollow: not significant, p by "
        f"Holm's correction over the categories. {counts(effects)}"
    )


CATEGORIES = Figure(
    name="categories",
    tables=("category_effects",),
    subject="inference",
    section="categories",
    applies=lambda study: True,
    draw=category_figure,
    caption=_category_caption,
    folded=True,
)


def dose_figure(tables: Tables, labels: Labels) -> Any:
    """Change of the misalignment rate by the share of target rows, a panel per model."""
    import altair as alt

    table = headline(tables["dose_effects"]).filter(pl.col("measure") == "misalignment")
    table = table.filter(pl.col("estimate").is_not_null())
    if table.is_empty():
        return nothing()
    none = table.unique(["model", "think", "benchmark"], maintain_order=True)
    numbers = [name for name, kind in none.schema.items() if kind == pl.Float64]
    none = none.with_columns(pl.lit(0.0).alias(name) for name in numbers).with_columns(variant="control")
    data = pl.concat([none, table]).with_columns(
        by_benchmark(table, pl.col("model")).alias("panel"), pl.col("variant").replace(dict(labels))
    )
    colours = seen(COLOURS, data)
    base = alt.Chart().encode(
        x=alt.X("share:Q", title="share of effort-minimizing rows", axis=alt.Axis(format=".0%", tickCount=5)),
        color=alt.Color("think:N", scale=scale(colours), title="thinking"),
        tooltip=tooltip(data, "+.1%"),
    )
    axis = alt.Axis(labelExpr=POINTS, tickCount=5)
    spread = base.mark_rule(strokeWidth=2).encode(
        y=alt.Y("ci_low:Q", title="change, points", axis=axis), y2="ci_high:Q"
    )
    shape = alt.Shape("think:N", scale=shapes(colours), title="thinking")
    points = base.mark_point(size=50, filled=True, opacity=1).encode(y="estimate:Q", shape=shape)
    lines = base.mark_line(strokeWidth=1).encode(y="estimate:Q")
    return panels([spread, lines, points], data, height=130)


def _dose_caption(material: Material) -> str:
    effects = headline(material.tables["dose_effects"])
    return (
        "Change of the misalignment rate against the control arm, by the share of training problems whose chain of thought "
        f"is effort-minimizing, with 95 % intervals. {counts(effects)}"
    )


DOSES = Figure(
    name="doses",
    tables=("dose_effects",),
    subject="fine-tuning",
    section="doses",
    applies=lambda study: bool(study.doses),
    draw=dose_figure,
    caption=_dose_caption,
)

FIGURES = (CATEGORIES, DOSES)
