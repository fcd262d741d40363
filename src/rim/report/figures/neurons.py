"""The figures of safety-critical neurons: how many there are, in which layers, and what zeroing them changes."""

from __future__ import annotations

from typing import Any

import polars as pl

from rim.report.figures.declaration import Figure, has_forgetting
from rim.report.figures.interventions import against_random, measured
from rim.report.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    UPRIGHT,
    Labels,
    Tables,
    nothing,
    panels,
    scale,
    shapes,
    tooltip,
)
from rim.report.page import Material
from rim.report.wording import counts, format_range


def neuron_figure(tables: Tables, labels: Labels) -> Any:
    """How many neurons each frequency finds, with intent and with the placebo."""
    import altair as alt

    curves = tables["neuron_stability"].rename({"neurons": "intent"})
    if curves.is_empty():
        return nothing()
    data = curves.unpivot(
        ["intent", "placebo"], index=["model", "threshold", "chosen", "pairs", "of"], variable_name="sentence", value_name="neurons"
    )  # fmt: skip
    keys = ["model", "sentence", "threshold"]
    data = data.group_by(keys, maintain_order=True).agg(pl.col("neurons", "of").mean(), pl.col("chosen").any(), pl.col("pairs").sum())  # fmt: skip
    data = data.with_columns(pl.col("model").alias("panel"))
    share = alt.X("threshold:Q", title="on at least this share of pairs", axis=alt.Axis(format=".0%"), scale=alt.Scale(zero=False))  # fmt: skip
    colours = {"intent": ORANGE, "placebo": BLUE}
    curve = alt.Chart().encode(
        x=share,
        y=alt.Y("neurons:Q", title="neurons (square-root scale)", scale=alt.Scale(type="sqrt")),
        color=alt.Color("sentence:N", scale=scale(colours), title="added sentence"),
        tooltip=tooltip(data, ".2f"),
    )
    shape = alt.Shape("sentence:N", scale=shapes(colours), title="added sentence")
    chosen = alt.Chart().transform_filter("datum.chosen").mark_rule(strokeDash=[3, 3], color=GREY).encode(x=share)
    return panels(
        [chosen, curve.mark_line(), curve.mark_point(filled=True, size=45).encode(shape=shape)], data, 4, 190, 115
    )


def _neuron_caption(material: Material) -> str:
    pairs = format_range(material.tables["neuron_stability"]["pairs"])
    return (
        "Neurons by the share of pairs on which they are among those that rise most, with a sentence of intent and with the "
        f"placebo of equal length that says nothing of intent; dashed: the share chosen. n = {pairs} pairs of requests."
    )


NEURONS = Figure(
    name="neurons",
    tables=("neuron_stability",),
    subject="neurons",
    section="neurons",
    applies=has_forgetting,
    draw=neuron_figure,
    caption=_neuron_caption,
)


def layer_figure(tables: Tables, labels: Labels) -> Any:
    """In which layers the safety-critical neurons lie."""
    import altair as alt

    places = tables["neuron_layers"]
    if places.is_empty():
        return nothing()
    data = places.group_by("model", "layer", maintain_order=True).agg(
        pl.col("neurons", "frequency", "placebo", "magnitude", "matched").mean()
    )
    data = data.with_columns(pl.col("model").alias("panel"))
    bars = alt.Chart().mark_bar(color=ORANGE).encode(
        x=alt.X("layer:O", axis=alt.Axis(**UPRIGHT)),
        y=alt.Y("neurons:Q", title="safety-critical neurons", axis=alt.Axis(tickMinStep=1)),
        tooltip=tooltip(data, ".2f"),
    )  # fmt: skip
    return panels([bars], data, height=110)


def _layer_caption(material: Material) -> str:
    return "The layers in which the neurons so found lie, of the models that have enough of them."


LAYERS = Figure(
    name="neuron_layers",
    tables=("neuron_layers",),
    subject="neurons",
    section="neurons",
    applies=has_forgetting,
    draw=layer_figure,
    caption=_layer_caption,
    folded=True,
)


def effect_figure(tables: Tables, labels: Labels) -> Any:
    """What zeroing the safety-critical neurons changes, and each of the random sets beside it."""
    if tables["neuron_effects"].is_empty():
        return nothing()
    colours = {"found": ORANGE, "random": GREY, "matched": BLUE}
    place = pl.col("kind").replace_strict({name: i for i, name in enumerate(colours)})
    data = measured(tables["neuron_effects"].sort(place, maintain_order=True))
    return against_random(data, "kind", "neurons zeroed", colours)


def _effect_caption(material: Material) -> str:
    replies = counts(material.tables["neuron_effects"], "replies", "of them incomplete")
    return (
        "Change of each rate without the safety-critical neurons (point, 95 % interval over prompts) and without each of "
        f"the random sets (ticks), of which the matched ones are as active. Hollow: not significant. {replies}"
    )


EFFECTS = Figure(
    name="neuron_effects",
    tables=("neuron_effects",),
    subject="neurons",
    section="neuron-effects",
    applies=has_forgetting,
    draw=effect_figure,
    caption=_effect_caption,
)


FIGURES = (NEURONS, LAYERS, EFFECTS)
