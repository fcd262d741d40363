"""The figure of ground truth: how well each method ranks the parts in which safety is known to sit."""

from __future__ import annotations

from typing import Any

import polars as pl

from rim.config.runs import scored_runs
from rim.report.figures.declaration import Figure
from rim.report.figures.style import BLUE, GREY, ORANGE, Labels, Tables, nothing, panels, scale, shapes, tooltip
from rim.report.page import Material
from rim.report.wording import format_range

TAUGHT = {"alignment": "safety", "sign_off": "a phrase (harmless)"}  # what a graft teaches, in words
COLOURS = dict(zip(TAUGHT.values(), (ORANGE, BLUE), strict=True))


def grades_figure(tables: Tables, labels: Labels) -> Any:
    """The area under the ROC curve of every method, a panel for each model."""
    import altair as alt

    data = tables["method_grades"].filter(pl.col("measure") == "area", pl.col("estimate").is_not_null())
    if data.is_empty():
        return nothing()
    data = data.with_columns(
        pl.format("{}, {}s", "model", "part").alias("panel"),
        pl.col("method").alias("row"),
        pl.col("teaches").replace(TAUGHT),
    )
    base = alt.Chart().encode(
        y=alt.Y("row:N", sort=list(dict.fromkeys(data["row"])), title=None),
        color=alt.Color("teaches:N", scale=scale(COLOURS), title="the new parts were taught"),
        tooltip=tooltip(data, ".2f"),
    )
    chance = alt.Chart().transform_aggregate(rows="count()").mark_rule(color=GREY, strokeDash=[3, 3])
    across = alt.X("ci_low:Q", scale=alt.Scale(domain=[0, 1]), title="area under the ROC curve")
    spread = base.mark_rule(strokeWidth=2).encode(x=across, x2="ci_high:Q")
    shape = alt.Shape("teaches:N", scale=shapes(COLOURS), title="the new parts were taught")
    points = base.mark_point(size=50, filled=True, opacity=1).encode(x="estimate:Q", shape=shape)
    return panels([chance.encode(x=alt.datum(0.5)), spread, points], data)


def _caption(material: Material) -> str:
    seeds = format_range(material.tables["method_grades"].filter(measure="area")["seeds"])
    over = "There is one organism, and so no interval" if seeds == "1" else f"Intervals are over {seeds} organisms"
    return (
        "How often a method scores a new part, in which what was trained is known to lie, above another part; 0.5 (dashed) is chance. "
        f"{over}. Where the same parts were taught a phrase at the end of every reply, there is no safety to find."
    )


FIGURES = (
    Figure(
        name="method_grades",
        tables=("method_grades",),
        subject="calibration",
        section="calibration",
        applies=lambda study: bool(scored_runs(study)),
        draw=grades_figure,
        caption=_caption,
    ),
)
