"""The figures on safety-critical neurons and on forgetting over training. What is not significant is drawn hollow."""

from __future__ import annotations

from typing import Any

import polars as pl

from rim.analysis.metrics import TITLES
from rim.config.study import Study
from rim.report.figures.declaration import Figure
from rim.report.figures.mechanism import against_random, measured, over_seeds
from rim.report.figures.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    STEP,
    Labels,
    Tables,
    named,
    nothing,
    panels,
    scale,
    tooltip,
    with_clear,
    zero,
)
from rim.report.page import Material
from rim.report.wording import MEASURES, analysis_caption, counts, format_range

SETS = {"safety": ORANGE, "random": GREY, "matched": BLUE, "all": GREEN}
SET_NAMES = {"safety": "safety neurons", "random": "random neurons", "matched": "matched neurons", "all": "all neurons"}


def _applies(study: Study) -> bool:
    return study.forgetting is not None


def metric_name(metric: str, neurons: str) -> str:
    return f"{TITLES[metric]}, {SET_NAMES[neurons]}" if neurons else TITLES[metric]


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
        y=alt.Y("neurons:Q", title="neurons", scale=alt.Scale(type="symlog")),
        color=alt.Color("sentence:N", scale=scale(colours), title="added sentence"),
        tooltip=tooltip(data, ".2f"),
    )
    shape = alt.Shape("sentence:N", scale=alt.Scale(domain=list(colours)), title="added sentence")
    chosen = alt.Chart().transform_filter("datum.chosen").mark_rule(strokeDash=[3, 3], color=GREY).encode(x=share)
    return panels(
        [chosen, curve.mark_line(), curve.mark_point(filled=True, size=45).encode(shape=shape)], data, height=130
    )


def _neuron_caption(material: Material) -> str:
    pairs = format_range(material.tables["neuron_stability"]["pairs"])
    return (
        "Neurons by the share of pairs on which they are among those that rise most, with a sentence of intent and with the "
        f"placebo; dashed: the share chosen. {pairs} pairs of the calibration split. {analysis_caption(material.study)}"
    )


NEURONS = Figure(
    name="neurons",
    tables=("neuron_stability",),
    subject="neurons",
    section="neurons",
    applies=_applies,
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
        x=alt.X("layer:O", axis=alt.Axis(labelAngle=0, labelOverlap=True)),
        y=alt.Y("neurons:Q", title="safety-critical neurons", axis=alt.Axis(tickMinStep=1)),
        tooltip=tooltip(data, ".2f"),
    )  # fmt: skip
    return panels([bars], data, height=110)


def _layer_caption(material: Material) -> str:
    return f"The layers in which the neurons so found lie. {analysis_caption(material.study)}"


LAYERS = Figure(
    name="neuron_layers",
    tables=("neuron_layers",),
    subject="neurons",
    section="neurons",
    applies=_applies,
    draw=layer_figure,
    caption=_layer_caption,
)


def effect_figure(tables: Tables, labels: Labels) -> Any:
    """What zeroing the safety-critical neurons changes, and each of the random sets beside it."""
    import altair as alt

    if tables["neuron_effects"].is_empty():
        return nothing()
    data = measured(tables["neuron_effects"], "model")
    data = data.with_columns(pl.format("{}: {}", "model", pl.col("measure").replace(MEASURES)).alias("panel"))
    colours = {"found": ORANGE, "random": GREY, "matched": BLUE}
    data = data.sort(pl.col("kind").replace_strict({name: i for i, name in enumerate(colours)}), maintain_order=True)
    models = {name: i for i, name in enumerate(dict.fromkeys(tables["neuron_effects"]["model"]))}
    order = [
        pl.col("model").replace_strict(models),
        pl.col("measure").replace_strict({n: i for i, n in enumerate(MEASURES)}),
    ]
    data = data.sort(order, maintain_order=True)
    colour = {"color": alt.Color("kind:N", scale=scale(colours), title="neurons zeroed")}
    return against_random(data, "kind", colour, data["measure"].n_unique())


def _effect_caption(material: Material) -> str:
    replies = counts(material.tables["neuron_effects"], "replies", "of them incomplete")
    return (
        "Change of each rate without the safety-critical neurons (point, 95 % interval over prompts) and without each of "
        f"the random sets (ticks). Hollow: the interval contains 0. {replies}{analysis_caption(material.study)}"
    )


EFFECTS = Figure(
    name="neuron_effects",
    tables=("neuron_effects",),
    subject="neurons",
    section="neuron-effects",
    applies=_applies,
    draw=effect_figure,
    caption=_effect_caption,
)


def _course(data: pl.DataFrame, y: Any, colour: dict[str, Any], number: str) -> Any:
    """A number over training with its interval, one panel per fine-tune."""
    import altair as alt

    data = data.with_columns(pl.format("{}: {}", "model", "variant").alias("panel"))
    base = alt.Chart().encode(x=alt.X("step:Q", title="optimizer step"), tooltip=tooltip(data, number), **colour)
    lines = [
        base.mark_rule(opacity=0.35, strokeWidth=3).encode(y="ci_low:Q", y2="ci_high:Q"),
        base.mark_line().encode(y=y),
        base.mark_point(filled=True, size=30, opacity=1).encode(y=y),
    ]
    return panels(lines, data, height=110)


def course_figure(tables: Tables, labels: Labels) -> Any:
    """The misalignment rate over training."""
    import altair as alt

    rates = tables["checkpoint_rates"]
    if rates.is_empty():
        return nothing()
    data = over_seeds(named(rates, labels), "model", "variant", "step")
    y = alt.Y("estimate:Q", title="misalignment rate", axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1]))
    return _course(data, y, {"color": alt.value("#333")}, ".1%")


def _course_caption(material: Material) -> str:
    return (
        "Misalignment rate over training with 95 % Wilson intervals; step 0 is before fine-tuning. "
        f"{counts(material.tables['checkpoint_rates'])}{analysis_caption(material.study)}"
    )


COURSE = Figure(
    name="forgetting",
    tables=("checkpoint_rates",),
    subject="forgetting",
    section="forgetting",
    applies=_applies,
    draw=course_figure,
    caption=_course_caption,
)


def ras_figure(tables: Tables, labels: Labels) -> Any:
    """RAS as published over training, for each set of neurons; random sets by their mean."""
    import altair as alt

    metrics = tables["checkpoints"].filter(pl.col("metric") == "ras")
    if metrics.is_empty():
        return nothing()
    data = over_seeds(named(metrics, labels), "model", "variant", "neurons", "step")
    y = alt.Y("estimate:Q", title="RAS", scale=alt.Scale(type="symlog", constant=0.01))
    return _course(data, y, {"color": alt.Color("neurons:N", scale=scale(SETS), title="neurons")}, ".4~g")


def _ras_caption(material: Material) -> str:
    return (
        "RAS as published over training, over each set of neurons, with 95 % bootstrap intervals over texts. Random sets are shown "
        f"by their mean. {analysis_caption(material.study)}"
    )


RAS = Figure(
    name="ras",
    tables=("checkpoints",),
    subject="forgetting",
    section="forgetting",
    applies=_applies,
    draw=ras_figure,
    caption=_ras_caption,
)


def correlation_figure(tables: Tables, labels: Labels) -> Any:
    """r of every metric with the misalignment rate over the checkpoints, one panel per fine-tune."""
    import altair as alt

    known = tables["correlations"].filter(pl.col("estimate").is_not_null())
    if known.is_empty():
        return nothing()
    keys = known.select("metric", pl.col("neurons").fill_null("")).iter_rows()
    data = with_clear(named(known, labels)).with_columns(
        pl.Series("row", [metric_name(*key) for key in keys]),
        pl.format("{}: {}, seed {}", "model", "variant", "seed").alias("panel"),
    )
    base = alt.Chart().encode(
        y=alt.Y("row:N", sort=list(dict.fromkeys(data["row"])), title=None), tooltip=tooltip(data, "+.2f")
    )
    r = alt.X("ci_low:Q", title="Pearson's r", scale=alt.Scale(domain=[-1, 1]))
    fill = alt.condition("datum.clear", alt.value(ORANGE), alt.value("white"))
    layers = [
        zero(),
        base.mark_rule(strokeWidth=2, color=ORANGE).encode(x=r, x2="ci_high:Q"),
        base.mark_point(size=40, color=ORANGE, opacity=1).encode(x="estimate:Q", fill=fill),
    ]
    return panels(layers, data, 2, 200, alt.Step(STEP))


def _correlation_caption(material: Material) -> str:
    return (
        "Pearson's r of each metric with the misalignment rate over the checkpoints of a fine-tune, with Fisher's 95 % "
        f"interval; hollow: not significant (exact permutation, Holm). {analysis_caption(material.study)}"
    )


CORRELATIONS = Figure(
    name="correlations",
    tables=("correlations",),
    subject="forgetting",
    section="forgetting",
    applies=_applies,
    draw=correlation_figure,
    caption=_correlation_caption,
)

FIGURES = (NEURONS, LAYERS, EFFECTS, COURSE, RAS, CORRELATIONS)
