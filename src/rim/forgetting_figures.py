"""The figures on safety-critical neurons and on forgetting over training. What is not significant is drawn hollow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import polars as pl

from rim.mechanism_figures import MEASURES, over_seeds

if TYPE_CHECKING:
    import altair as alt

ORANGE, BLUE, GREEN, GREY = "#d55e00", "#0072b2", "#009e73", "#999999"
SETS = {"safety": ORANGE, "random": GREY, "matched": BLUE, "all": GREEN}
NAMES = {
    "ras": "RAS, as published",
    "ras_relative": "RAS, relative",
    "ras_symmetric": "RAS, symmetric",
    "arithmetic": "arithmetic mean",
    "geometric": "geometric mean",
    "minimum": "minimum",
    "delta_safe": "fall on safety alone",
    "delta_task": "rise on the task alone",
    "gradient_conflict": "conflict of gradients before training",
    "gradient_share": "share of the task's gradient before training",
    "kl": "KL divergence",
    "weights": "distance of the weights",
    "activation_l2": "activation shift, L2",
    "activation_cosine": "activation shift, cosine",
}
SET_NAMES = {"safety": "safety neurons", "random": "random neurons", "matched": "matched neurons", "all": "all neurons"}
Tables = dict[str, pl.DataFrame]


def metric_name(metric: str, neurons: str) -> str:
    return f"{NAMES[metric]}, {SET_NAMES[neurons]}" if neurons else NAMES[metric]


def _scale(colours: dict[str, str]) -> alt.Scale:
    import altair as alt

    return alt.Scale(domain=list(colours), range=list(colours.values()))


def neuron_figure(tables: Tables) -> alt.VConcatChart:
    """Per model: how many neurons each frequency finds, with intent and with the placebo, and in which layers they lie."""
    import altair as alt

    curves, layers = tables["neuron_stability"], tables["neuron_layers"]
    colours = alt.Color("arm:N", scale=_scale({"intent": ORANGE, "placebo": BLUE}), title="added sentence")
    rows = []
    for model in dict.fromkeys(curves["model"]):
        own = curves.filter(pl.col("model") == model).rename({"neurons": "intent"})
        long = own.unpivot(
            ["intent", "placebo"], index=["seed", "threshold"], variable_name="arm", value_name="neurons"
        )
        curve = alt.Chart(long).mark_line(point=True).encode(
            x=alt.X("threshold:Q", title="on at least this share of pairs", axis=alt.Axis(format=".0%"), scale=alt.Scale(zero=False)),
            y=alt.Y("mean(neurons):Q", title="neurons", scale=alt.Scale(type="symlog")),
            color=colours,
        )  # fmt: skip
        chosen = alt.Chart(own.filter("chosen")).mark_rule(strokeDash=[3, 3], color=GREY).encode(x="threshold:Q")
        panels: list[Any] = [alt.layer(chosen, curve).properties(width=260, height=120, title=model)]
        places = layers.filter(pl.col("model") == model)
        if places.height:
            bars = alt.Chart(places).mark_bar(color=ORANGE).encode(
                x=alt.X("layer:O", title="layer", axis=alt.Axis(labelAngle=0)),
                y=alt.Y("mean(neurons):Q", title="safety-critical neurons", axis=alt.Axis(tickMinStep=1)),
            )  # fmt: skip
            panels.append(bars.properties(width=160, height=120, title=model))
        rows.append(alt.hconcat(*panels))
    return _styled(alt.vconcat(*rows))


def effect_figure(tables: Tables) -> alt.VConcatChart:
    """Per model: what zeroing the safety-critical neurons changes, and each of the random sets beside it."""
    import altair as alt

    effects = tables["neuron_effects"].filter(pl.col("against") == "none")
    effects = over_seeds(effects, "model", "draw", "measure", "benchmark").with_columns(
        pl.col("draw").str.replace(r"\d+$", "").alias("set")
    )
    colours = alt.Color(
        "set:N", scale=_scale({"found": ORANGE, "random": GREY, "matched": BLUE}), title="neurons zeroed"
    )
    order = ["found", "random", "matched"]
    rows = []
    for model in dict.fromkeys(effects["model"]):
        panels: list[Any] = []
        for measure in [name for name in MEASURES if name in set(effects["measure"])]:
            part = effects.filter((pl.col("model") == model) & (pl.col("measure") == measure))
            part = part.group_by("draw", "set", maintain_order=True).agg(pl.col("estimate", "ci_low", "ci_high").mean())
            x = alt.X("estimate:Q", title="change", axis=alt.Axis(format="+.0%"), scale=alt.Scale(domain=[-1, 1]))
            base = alt.Chart(part).encode(
                y=alt.Y("set:N", sort=order, title=None, axis=alt.Axis(labels=not panels)), color=colours
            )
            found, random = base.transform_filter("datum.set == 'found'"), base.transform_filter("datum.set != 'found'")
            layers: list[Any] = [
                alt.Chart(part).mark_rule(color=GREY, strokeDash=[3, 3]).encode(x=alt.datum(0)),
                random.mark_tick(thickness=1.5, size=14).encode(x=x),
                found.mark_rule(strokeWidth=2).encode(x=alt.X("ci_low:Q"), x2="ci_high:Q"),
                found.mark_point(filled=True, size=45, opacity=1).encode(x=x),
            ]
            panels.append(alt.layer(*layers).properties(title=MEASURES[measure], width=125, height=60))
        rows.append(alt.hconcat(*panels, spacing=6).properties(title=model))
    return _styled(alt.vconcat(*rows))


def course_figure(tables: Tables) -> alt.VConcatChart:
    """Per fine-tune: the misalignment rate over training, and RAS below it over each set of neurons."""
    import altair as alt

    rates, metrics = tables["checkpoint_rates"], tables["checkpoints"].filter(pl.col("metric") == "ras")
    rows = []
    for model in dict.fromkeys(rates["model"]):
        panels: list[Any] = []
        for variant in dict.fromkeys(rates.filter(pl.col("model") == model)["variant"]):
            own = (pl.col("model") == model) & (pl.col("variant") == variant)
            x = alt.X("step:Q", title="optimizer step")
            rate = alt.Chart(over_seeds(rates.filter(own), "step")).encode(x=x)
            ras = alt.Chart(over_seeds(metrics.filter(own), "step", "neurons")).encode(
                x=x, color=alt.Color("neurons:N", scale=_scale(SETS), title="neurons")
            )
            y = alt.Y(
                "estimate:Q", title="misalignment rate", axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1])
            )
            upper = alt.layer(
                rate.mark_area(opacity=0.2, color="#333").encode(y="ci_low:Q", y2="ci_high:Q"),
                rate.mark_line(point=True, color="#333").encode(y=y),
            ).properties(width=210, height=100, title=variant)
            lower = alt.layer(
                ras.mark_rule(opacity=0.4, strokeWidth=2).encode(y="ci_low:Q", y2="ci_high:Q"),
                ras.mark_line(point=True).encode(
                    y=alt.Y("estimate:Q", title="RAS", scale=alt.Scale(type="symlog", constant=0.01))
                ),
            ).properties(width=210, height=100)
            panels.append(alt.vconcat(upper, lower, spacing=4))
        rows.append(alt.hconcat(*panels).properties(title=model))
    return _styled(alt.vconcat(*rows))


def correlation_figure(tables: Tables) -> alt.VConcatChart:
    """Per fine-tune: r of every metric with the misalignment rate, hollow where the interval contains 0."""
    import altair as alt

    found = tables["correlations"].filter(pl.col("estimate").is_not_null())
    names = {
        key: metric_name(*key) for key in found.select("metric", "neurons").unique(maintain_order=True).iter_rows()
    }
    found = found.with_columns(
        pl.struct("metric", "neurons")
        .map_elements(lambda row: names[row["metric"], row["neurons"]], pl.String)
        .alias("name"),
        ((pl.col("ci_low") > 0) | (pl.col("ci_high") < 0)).fill_null(False).alias("clear"),
    )
    rows = []
    for model in dict.fromkeys(found["model"]):
        panels: list[Any] = []
        for variant, seed in (
            found.filter(pl.col("model") == model).select("variant", "seed").unique(maintain_order=True).iter_rows()
        ):
            part = found.filter((pl.col("model") == model) & (pl.col("variant") == variant) & (pl.col("seed") == seed))
            base = alt.Chart(part).encode(
                y=alt.Y(
                    "name:N", sort=list(names.values()), title=None, axis=alt.Axis(labels=not panels, labelLimit=260)
                )
            )
            layers: list[Any] = [
                alt.Chart(part).mark_rule(color=GREY, strokeDash=[3, 3]).encode(x=alt.datum(0)),
                base.mark_rule(strokeWidth=2, color=ORANGE).encode(x=alt.X("ci_low:Q", title="Pearson's r", scale=alt.Scale(domain=[-1, 1])), x2="ci_high:Q"),
                base.mark_point(size=40, color=ORANGE, opacity=1).encode(x="estimate:Q", fill=alt.condition("datum.clear", alt.value(ORANGE), alt.value("white"))),
            ]  # fmt: skip
            panels.append(
                alt.layer(*layers).properties(title=f"{variant}, seed {seed}", width=150, height=14 * len(names))
            )
        rows.append(alt.hconcat(*panels, spacing=6).properties(title=model))
    return _styled(alt.vconcat(*rows))


def _styled(chart: alt.VConcatChart) -> alt.VConcatChart:
    styled: alt.VConcatChart = (
        chart.configure_view(stroke="#ddd").configure_title(fontSize=10).configure(font="sans-serif")
    )
    return styled


FIGURES: dict[str, tuple[str, Callable[[Tables], Any]]] = {  # name -> the table without which there is nothing to show
    "neurons": ("neuron_stability", neuron_figure),
    "neuron_effects": ("neuron_effects", effect_figure),
    "forgetting": ("checkpoints", course_figure),
    "correlations": ("correlations", correlation_figure),
}


def draw(name: str, tables: Tables) -> Any:
    """One figure; a blank one when there is nothing to show, as when no neurons were found or nothing varied."""
    import altair as alt

    source, figure = FIGURES[name]
    known = tables[source].filter(pl.col("estimate").is_not_null()) if name == "correlations" else tables[source]
    if known.is_empty():
        return alt.Chart(pl.DataFrame({"text": ["nothing to show"]})).mark_text().encode(text="text:N")
    return figure(tables)
