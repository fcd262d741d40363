"""The figures of ablated heads: what it changes in replies and in the published score, beside random heads."""

from __future__ import annotations

from typing import Any

import polars as pl

from rim.report.figures.declaration import Figure, has_mechanism
from rim.report.figures.interventions import against_random, measured
from rim.report.figures.style import (
    COLOURS,
    GREEN,
    GREY,
    ORANGE,
    Labels,
    Tables,
    by_seed,
    named,
    nothing,
    panels,
    scale,
    seen,
    tooltip,
)
from rim.report.page import Material
from rim.report.wording import counts

TARGETS = {"refusal_heads": "refusal heads", "effect_heads": "heads with the largest effect"}
REPLACED = {"zero": "zeroed", "mean": "at their mean"}


def ablation_figure(tables: Tables, labels: Labels) -> Any:
    """What ablating each set of heads changes, with its interval, and the random sets of equal size beside it."""
    if tables["ablation_effects"].is_empty():
        return nothing()
    heads = pl.format("{}, {}", pl.col("target").replace(TARGETS), pl.col("intervention").replace(REPLACED)).alias(
        "heads"
    )
    data = named(tables["ablation_effects"], labels).with_columns(heads)
    arms = ["variant"] if data["variant"].n_unique() > 1 else []
    data = measured(data, *arms, "heads")
    return against_random(data, "think", "thinking", seen(COLOURS, data))


def _ablation_caption(material: Material) -> str:
    replies = counts(material.tables["ablation_effects"], "replies", "of them incomplete")
    return (
        "Change of each rate without a set of heads (point, 95 % interval over prompts), and without each of the random sets of equal "
        f"size (ticks). A change that random sets make too is no effect of these heads. Hollow: not significant. {replies}"
    )


ABLATIONS = Figure(
    name="ablations",
    tables=("ablation_effects",),
    subject="heads",
    section="ablations",
    applies=has_mechanism,
    draw=ablation_figure,
    caption=_ablation_caption,
)

WITHOUT = {"as it is": GREEN, "without the heads": ORANGE, "without random heads": GREY}


def probe_ablation_figure(tables: Tables, labels: Labels) -> Any:
    """Figure 5 of the paper: the probe score by layer as it is, without the found heads, and without random ones."""
    import altair as alt

    scores = tables["probe_scores"].filter((pl.col("think") == "off") & pl.col("position").is_in(["inner", "last"]))
    keys = ["model", "variant", "seed"]
    ablated = scores.filter(pl.col("intervention") != "none").select(*keys).unique()
    scores = scores.join(ablated, on=keys, how="semi", maintain_order="left").filter(pl.col("group") != "harmless")
    if scores.is_empty():
        return nothing()
    condition = pl.col("kind").replace_strict(
        {"": "as it is", "found": "without the heads"}, default="without random heads"
    )
    scores = scores.with_columns(condition.alias("condition"))
    cells = [*keys, "group", "position", "target", "intervention", "condition", "layer"]
    data = scores.group_by(cells, maintain_order=True).agg(pl.col("n").max(), pl.col("estimate").mean())
    panel = pl.format("{}, {}: {}, {}", "model", pl.col("variant").replace(dict(labels)), "group", "position")
    data = named(data, labels).with_columns(by_seed(data, panel).alias("panel"))
    base = alt.Chart().encode(
        x=alt.X("layer:Q", title="layer", axis=alt.Axis(tickMinStep=1, format="d")),
        y=alt.Y("estimate:Q", title="share above τ", axis=alt.Axis(format=".0%", tickCount=3), scale=alt.Scale(domain=[0, 1])),
        color=alt.Color("condition:N", scale=scale(WITHOUT), title=None),
        shape=alt.Shape("condition:N", scale=alt.Scale(domain=list(WITHOUT), range=["circle", "square", "cross"]), title=None),
        detail="target:N", tooltip=tooltip(data, ".1%"),
    )  # fmt: skip
    return panels([base.mark_line(strokeWidth=1), base.mark_point(size=30, opacity=1)], data, 4, 170, 90)


def _probe_ablation_caption(material: Material) -> str:
    return (
        "The published score by layer with thinking off, in the think span and at the last token of the prompt: as it is, without the "
        "found heads, and without random ones (their mean)."
    )


CURVES = Figure(
    name="probe_ablation",
    tables=("probe_scores",),
    subject="heads",
    section="ablations",
    applies=has_mechanism,
    draw=probe_ablation_figure,
    caption=_probe_ablation_caption,
    folded=True,
)


FIGURES = (ABLATIONS, CURVES)
