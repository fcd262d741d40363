"""The figures of attention heads: what zeroing each does, on how many requests it shifts, and where it looks."""

from __future__ import annotations

from typing import Any

import polars as pl

from rim.models.positions import PLACES
from rim.report.figures.declaration import Figure, has_mechanism
from rim.report.figures.style import (
    AROUND,
    COLOURS,
    FEW_LAYERS,
    GREY,
    INK,
    ORANGE,
    SHADES,
    UPRIGHT,
    Labels,
    Tables,
    by_seed,
    heat,
    named,
    nothing,
    panels,
    scale,
    seen,
    shapes,
    tooltip,
)
from rim.report.page import Material
from rim.settings.common import BASE


def head_figure(tables: Tables, labels: Labels) -> Any:
    """Every head before fine-tuning: what zeroing it does, and on how many requests its attention shifts (figure 4b)."""
    import altair as alt

    heads = tables["heads"].filter(pl.col("variant") == BASE)
    if heads.is_empty():
        return nothing()
    effects = tables["head_effects"].filter((pl.col("variant") == BASE) & (pl.col("group") == "harmful"))
    keys = ["model", "seed", "layer", "head"]
    data = heads.select(*keys, "n", "share", "share_harmless", "found").join(
        effects.select(*keys, "estimate", "low_all", "high_all", "p_holm"), on=keys, how="left", maintain_order="left"
    )
    data = data.with_columns(by_seed(data, pl.col("model")).alias("panel"))
    x, y = (alt.X("head:O", axis=alt.Axis(**UPRIGHT)), alt.Y("layer:O", sort="descending", axis=alt.Axis(**UPRIGHT)))
    most = max(data["estimate"].drop_nulls().abs().to_list(), default=1.0)
    title = "fall of logit(refusal) − logit(other)"
    colour = alt.Color("estimate:Q", title=title, scale=alt.Scale(domain=[-most, most], **AROUND))
    rings = alt.Chart().transform_filter("datum.share > 0").mark_point(color="black", opacity=1, strokeWidth=0.9).encode(
        x=x, y=y, fill=alt.condition("datum.found", alt.value("black"), alt.value("transparent")),
        size=alt.Size("share:Q", scale=alt.Scale(domain=[0, 1], range=[30, 160]), title="share of requests that shift", legend=alt.Legend(format=".0%", values=[0.2, 0.4, 0.6, 0.8, 1], symbolStrokeColor=INK)),
    )  # fmt: skip
    side = 26 if data["layer"].n_unique() <= FEW_LAYERS else 8
    return heat(data, x, y, colour, ".3~g", [rings], 4, side, side)


def _head_caption(material: Material) -> str:
    requests = " or ".join(map(str, sorted(set(material.tables["heads"]["n"]))))
    return (
        "Every head before fine-tuning. Colour: how much less the next token favours refusing once the head is zeroed (orange: the head "
        "carries refusal). Ring: share of requests on which its attention shifts when thinking is switched off, the paper's "
        f"criterion; filled: a refusal head by it. n = {requests} requests of the calibration split."
    )


HEADS = Figure(
    name="heads",
    tables=("heads", "head_effects"),
    subject="heads",
    section="heads",
    applies=has_mechanism,
    draw=head_figure,
    caption=_head_caption,
)


def shift_figure(tables: Tables, labels: Labels) -> Any:
    """Figure 4b of the paper for every arm: a bubble per head that shifts, its area the share of requests on which it does."""
    import altair as alt

    heads = tables["heads"]
    table = named(heads, labels).filter((pl.col("share") > 0) | "found")
    if table.is_empty():
        return nothing()
    data = table.with_columns(
        by_seed(heads, pl.format("{}: {}", "model", "variant")).alias("panel"),
        pl.when("found").then(pl.lit("refusal head")).otherwise(pl.lit("other")).alias("kind"),
    )
    step = 14 if heads["layer"].n_unique() <= FEW_LAYERS else 8

    def every(name: str) -> alt.Scale:
        return alt.Scale(domain=sorted(set(heads[name])))

    few_labels = alt.Axis(**UPRIGHT)
    bubbles = alt.Chart().mark_point(filled=True, opacity=0.85).encode(
        x=alt.X("head:O", scale=every("head"), axis=few_labels),
        y=alt.Y("layer:O", scale=every("layer"), sort="descending", axis=few_labels),
        size=alt.Size("share:Q", scale=alt.Scale(domain=[0, 1], range=[4, 220]), title="share that shifts", legend=alt.Legend(format=".0%")),
        color=alt.Color("kind:N", scale=scale({"refusal head": ORANGE, "other": GREY}), title=None),
        tooltip=tooltip(data, ".1%"),
    )  # fmt: skip
    return panels(
        [bubbles], data, 4, max(90, step * heads["head"].n_unique()), max(90, step * heads["layer"].n_unique())
    )


def _shift_caption(material: Material) -> str:
    requests = " or ".join(map(str, sorted(set(material.tables["heads"]["n"]))))
    return (
        "Every head that shifts at all, in every arm; the area of a bubble is the share of harmful requests on which it "
        f"does, {requests} requests of the calibration split each."
    )


SHIFTS = Figure(
    name="head_shifts",
    tables=("heads",),
    subject="heads",
    section="heads",
    applies=has_mechanism,
    draw=shift_figure,
    caption=_shift_caption,
    folded=True,
)


def attention_figure(tables: Tables, labels: Labels) -> Any:
    """Figures 4a and A4 of the paper over all requests: where each refusal head looks before fine-tuning."""
    import altair as alt

    table = tables["head_attention"].filter(
        (pl.col("variant") == BASE) & (pl.col("what") == "weight") & (pl.col("heads") != "all")
    )
    if table.is_empty():
        return nothing()
    panel = by_seed(table, pl.format("{}: thinking {}", "model", "think"))
    data = table.drop("variant", "what").with_columns(panel.alias("panel"))
    places = [name for name in PLACES if name in set(data["position"])]
    x = alt.X("position:O", title=None, sort=places, axis=alt.Axis(labelAngle=-90))
    y = alt.Y("heads:N", title=None, sort=list(dict.fromkeys(data["heads"])))
    colour = alt.Color("estimate:Q", title="attention", scale=alt.Scale(domain=[0, 1], **SHADES))
    return heat(data, x, y, colour, ".2f", columns=4, width=22)


def _attention_caption(material: Material) -> str:
    requests = " or ".join(map(str, sorted(set(material.tables["head_attention"]["n"]))))
    return (
        "Where each refusal head looks from the last token of the prompt, before fine-tuning: mean attention to each position, with "
        f"thinking on and off; the rest goes elsewhere. n = {requests} harmful requests of the calibration split."
    )


ATTENTION = Figure(
    name="head_attention",
    tables=("head_attention",),
    subject="heads",
    section="heads",
    applies=has_mechanism,
    draw=attention_figure,
    caption=_attention_caption,
    folded=True,
)


def largest_figure(tables: Tables, labels: Labels) -> Any:
    """Figure A3 of the paper: at which positions the largest attention of all heads lies before fine-tuning."""
    import altair as alt

    table = tables["head_attention"].filter(
        (pl.col("variant") == BASE) & (pl.col("what") == "largest") & (pl.col("heads") == "all")
    )
    if table.is_empty():
        return nothing()
    data = table.drop("variant", "what", "heads").with_columns(by_seed(table, pl.col("model")).alias("panel"))
    colours = seen(COLOURS, data)
    base = alt.Chart().encode(
        y=alt.Y("position:N", title=None, sort=[*PLACES, "elsewhere"]),
        yOffset=alt.YOffset("think:N", sort=list(colours)),
        color=alt.Color("think:N", scale=scale(colours), title="thinking"),
        tooltip=tooltip(data, ".1%"),
    )
    axis = alt.Axis(format=".0%", tickCount=4)
    x = alt.X("estimate:Q", title="share of heads and requests", axis=axis, scale=alt.Scale(zero=True))
    spread = base.mark_rule(strokeWidth=2).encode(x=alt.X("ci_low:Q", axis=axis), x2="ci_high:Q")
    shape = alt.Shape("think:N", scale=shapes(colours), title="thinking")
    return panels([spread, base.mark_point(filled=True, size=35, opacity=1).encode(x=x, shape=shape)], data, 3)


def _largest_caption(material: Material) -> str:
    return (
        "Where the largest attention from the last token of the prompt lies, the first token left out: share of all heads and harmful "
        "requests, before fine-tuning, with its 95 % interval over requests. A refusal head moves from assistant to inner when thinking "
        "is switched off."
    )


LARGEST = Figure(
    name="largest_attention",
    tables=("head_attention",),
    subject="heads",
    section="heads",
    applies=has_mechanism,
    draw=largest_figure,
    caption=_largest_caption,
    folded=True,
)


FIGURES = (HEADS, SHIFTS, ATTENTION, LARGEST)
