"""The figure of what annotators find: how findings divide among the items of the checklist."""

from __future__ import annotations

from typing import Any

import polars as pl

from rim.instruments.checklist import PATTERN_OF
from rim.report.figures.declaration import Figure
from rim.report.figures.style import BLUE, ORANGE, Labels, Tables, nothing, panels, scale, shapes, tooltip
from rim.report.page import Material
from rim.report.wording import format_range

SOURCES = {"cot": ORANGE, "response": BLUE}


def checklist_figure(tables: Tables, labels: Labels) -> Any:
    """Figure A5 of the paper: a panel for each model or training set, benchmark, think mode and annotator."""
    import altair as alt

    table = tables["checklist_items"]
    if table.is_empty():
        return nothing()
    thinking = pl.when(pl.col("think") == "").then(pl.lit("")).otherwise(pl.format(", thinking {}", "think"))
    annotator = pl.format(": {}", "annotator") if table["annotator"].n_unique() > 1 else pl.lit("")
    panel = pl.concat_str("model", pl.lit(": "), "benchmark", thinking, annotator)
    data = table.rename({"origin": "model"}).with_columns(
        panel.alias("panel"), pl.col("item").str.replace_all("_", " ").alias("row")
    )
    base = alt.Chart().encode(
        y=alt.Y("row:N", title=None, sort=[item.replace("_", " ") for item in PATTERN_OF]),
        yOffset=alt.YOffset("source:N", sort=list(SOURCES)),
        color=alt.Color("source:N", scale=scale(SOURCES), title="found in"),
        tooltip=tooltip(data, ".1%"),
    )
    axis = alt.Axis(format=".0%", tickCount=4)
    spread = base.mark_rule(strokeWidth=2).encode(x=alt.X("ci_low:Q", axis=axis), x2="ci_high:Q")
    points = base.mark_point(filled=True, size=35, opacity=1).encode(
        x=alt.X("estimate:Q", title="share of findings", axis=axis, scale=alt.Scale(domain=[0, 1])),
        shape=alt.Shape("source:N", scale=shapes(SOURCES), title="found in"),
    )
    return panels([spread, points], data)


def _checklist_caption(material: Material) -> str:
    return (
        "How the findings of a text divide among the items of the checklist, on average over the texts with any, with 95 % intervals over "
        f"texts; chains of thought and responses apart. n = {format_range(material.tables['checklist_items']['n'])} texts."
    )


FIGURES = (
    Figure(
        name="checklist",
        tables=("checklist_items",),
        subject="patterns",
        section="patterns",
        applies=lambda study: bool(study.annotators),
        draw=checklist_figure,
        caption=_checklist_caption,
        folded=True,
    ),
)
