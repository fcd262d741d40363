"""The figures of forgetting over training. What is not significant is drawn hollow."""

from __future__ import annotations

from typing import Any

import polars as pl

from rim.analysis.metrics import TITLES
from rim.core.correlation import MIN_UNITS
from rim.report.figures.declaration import Figure, has_forgetting
from rim.report.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    SHAPES,
    STEP,
    Labels,
    Tables,
    by_seed,
    named,
    nothing,
    panels,
    scale,
    shapes,
    tooltip,
    with_clear,
    zero,
)
from rim.report.page import Material
from rim.report.wording import counts, format_range
from rim.results.forgetting import BASELINES

SETS = {"safety": ORANGE, "random": GREY, "matched": BLUE, "all": GREEN}
SET_NAMES = {"safety": "safety neurons", "random": "random neurons", "matched": "matched neurons", "all": "all neurons"}


def metric_name(metric: str, neurons: str) -> str:
    title = BASELINES.get(metric) or TITLES[metric]
    return f"{title}, {SET_NAMES[neurons]}" if neurons else title


def _joined(tables: Tables, labels: Labels) -> pl.DataFrame:
    """The misalignment rate of every checkpoint, with RAS over all neurons beside it; a panel per fine-tune."""
    keys = ["model", "variant", "seed", "step"]
    ras = tables["checkpoints"].filter((pl.col("metric") == "ras") & (pl.col("neurons") == "all"))
    ras = ras.select(*keys, ras="estimate", ras_low="ci_low", ras_high="ci_high")
    rates = tables["checkpoint_rates"].join(ras, on=keys, how="left", maintain_order="left")
    data = named(rates, labels)
    return data.with_columns(by_seed(data, pl.format("{}: {}", "model", "variant")).alias("panel"))


def course_figure(tables: Tables, labels: Labels) -> Any:
    """The misalignment rate and RAS over training."""
    import altair as alt

    if tables["checkpoint_rates"].is_empty():
        return nothing()
    data = _joined(tables, labels)
    colours = {"misalignment rate (left)": ORANGE, "RAS (right)": BLUE}

    def line(name: str, field: str, **axis: Any) -> Any:
        y = alt.Y(f"{field}:Q", **axis)
        colour = alt.Color("series:N", scale=scale(colours), title=None)
        base = alt.Chart().transform_calculate(series=f"'{name}'")
        base = base.encode(x=alt.X("step:Q", title="optimizer step"), color=colour, tooltip=tooltip(data, ".3~g"))
        low, high = ("ci_low", "ci_high") if field == "estimate" else (f"{field}_low", f"{field}_high")
        spread = base.mark_rule(opacity=0.35, strokeWidth=3).encode(y=alt.Y(f"{low}:Q", **axis), y2=f"{high}:Q")
        point = base.mark_point(filled=True, size=28, opacity=1, shape=SHAPES[colours[name]]).encode(y=y)
        return alt.layer(spread, base.mark_line().encode(y=y), point)

    share = alt.Axis(format=".0%", tickCount=3)
    first, second = colours
    layers = [
        line(first, "estimate", title="misalignment", axis=share, scale=alt.Scale(domain=[0, 1])),
        line(second, "ras", title="RAS", axis=alt.Axis(tickCount=3, orient="right")),
    ]
    return panels(layers, data, 5, 130, 80, apart=True)


def _course_caption(material: Material) -> str:
    return (
        "The misalignment rate (left axis) and RAS over all neurons (right axis, in the unit of an activation) over training, with 95 % "
        f"intervals over prompts and texts. {counts(material.tables['checkpoint_rates'])}"
    )


COURSE = Figure(
    name="forgetting",
    tables=("checkpoint_rates", "checkpoints"),
    subject="forgetting",
    section="forgetting",
    applies=has_forgetting,
    draw=course_figure,
    caption=_course_caption,
)


def scatter_figure(tables: Tables, labels: Labels) -> Any:
    """Figure 8 of the paper: RAS and the misalignment rate of every checkpoint."""
    import altair as alt

    if tables["checkpoint_rates"].is_empty():
        return nothing()
    data = _joined(tables, labels).filter(pl.col("ras").is_not_null())
    base = alt.Chart().encode(
        x=alt.X("ras:Q", title="RAS, all neurons", axis=alt.Axis(tickCount=4)),
        y=alt.Y("estimate:Q", title="misalignment", axis=alt.Axis(format=".0%", tickCount=3), scale=alt.Scale(domain=[0, 1])),
        tooltip=tooltip(data, ".3~g"),
    )  # fmt: skip
    colour = alt.Color("step:Q", title="optimizer step", scale=alt.Scale(range=["#c6dbef", "#08306b"]))
    points = base.mark_point(filled=True, size=45, opacity=1, stroke=INK, strokeWidth=0.4).encode(color=colour)
    return panels([base.mark_line(strokeWidth=0.7, color=GREY).encode(order="step:Q"), points], data, 5, 130, 90)


def _scatter_caption(material: Material) -> str:
    return (
        "RAS and the misalignment rate, a point per checkpoint, joined in the order of training. Both grow with training, so that they go "
        "together is no evidence that one foretells the other."
    )


SCATTER = Figure(
    name="ras_scatter",
    tables=("checkpoint_rates", "checkpoints"),
    subject="forgetting",
    section="forgetting",
    applies=has_forgetting,
    draw=scatter_figure,
    caption=_scatter_caption,
    folded=True,
)


def ras_figure(tables: Tables, labels: Labels) -> Any:
    """RAS as published over training, for each set of neurons; random sets by their mean."""
    import altair as alt

    metrics = tables["checkpoints"].filter(pl.col("metric") == "ras")
    if metrics.is_empty():
        return nothing()
    data = named(metrics, labels)
    data = data.with_columns(by_seed(data, pl.format("{}: {}", "model", "variant")).alias("panel"))
    colours = {name: colour for name, colour in SETS.items() if name in set(data["neurons"])}
    base = alt.Chart().encode(
        x=alt.X("step:Q", title="optimizer step"),
        color=alt.Color("neurons:N", scale=scale(colours), title="neurons"),
        tooltip=tooltip(data, ".4~g"),
    )
    y = alt.Y("estimate:Q", title="RAS", axis=alt.Axis(tickCount=3))
    layers = [
        base.mark_rule(opacity=0.35, strokeWidth=3).encode(y=alt.Y("ci_low:Q", title="RAS"), y2="ci_high:Q"),
        base.mark_line().encode(y=y),
        base.mark_point(filled=True, size=28, opacity=1).encode(
            y=y, shape=alt.Shape("neurons:N", scale=shapes(colours), title="neurons")
        ),
    ]
    return panels(layers, data, 5, 130, 90)


def _ras_caption(material: Material) -> str:
    return (
        "RAS as published over training, over each set of neurons. Noise raises it, so its 95 % interval over texts reaches from below an "
        "estimate that noise does not raise to above the published one. Random sets are shown by their mean."
    )


RAS = Figure(
    name="ras",
    tables=("checkpoints",),
    subject="forgetting",
    section="forgetting",
    applies=has_forgetting,
    draw=ras_figure,
    caption=_ras_caption,
    folded=True,
)


QUESTIONS = {
    "correlations_over_runs": "correlation with misalignment: step partialled out",
    "early_warnings": "prediction of final misalignment: arm partialled out",
}


def correlation_figure(tables: Tables, labels: Labels) -> Any:
    """What every metric tells of misalignment over all models: along training beyond the step, and ahead of its end."""
    import altair as alt

    shown = ["metric", "neurons", "r", "estimate", "ci_low", "ci_high", "p", "p_holm", "models"]
    data = pl.concat(
        [tables[name].select(*shown, pl.lit(title).alias("panel")) for name, title in QUESTIONS.items()], how="vertical"
    ).filter(pl.col("r").is_not_null() | pl.col("estimate").is_not_null())
    pooled = pl.col("models") > 1
    data = data.filter(pooled | ~pooled.any())
    if data.is_empty():
        return nothing()
    rows = [metric_name(*key) for key in data.select("metric", pl.col("neurons").fill_null("")).iter_rows()]
    data = with_clear(data).with_columns(pl.Series("row", rows))
    base = alt.Chart().encode(
        y=alt.Y("row:N", sort=list(dict.fromkeys(rows)), title=None), tooltip=tooltip(data, "+.2f")
    )
    axis: dict[str, Any] = {"title": "correlation", "scale": alt.Scale(domain=[-1, 1]), "axis": alt.Axis(tickCount=5)}
    r = alt.X("estimate:Q", **axis)
    fill = alt.condition("datum.clear", alt.value(ORANGE), alt.value("white"))
    layers = [
        zero(),
        base.mark_tick(thickness=1.5, size=9, color=GREY).encode(x=alt.X("r:Q", **axis)),
        base.mark_rule(strokeWidth=2, color=ORANGE).encode(x=alt.X("ci_low:Q", **axis), x2="ci_high:Q"),
        base.mark_point(size=40, color=ORANGE, opacity=1).encode(x=r, fill=fill),
    ]
    return panels(layers, data, 2, 300, alt.Step(STEP))


def _correlation_caption(material: Material) -> str:
    models = format_range(material.tables["correlations_over_runs"]["models"])
    return (
        "What goes with the misalignment rate along training (left), and what tells before or early in training where it ends (right), for "
        f"n = {models} models; metrics of one model alone are in the tables. Tick: plain r, which whatever grows with training has; point: "
        "what is left with the step or the arm partialled out, with its 95 % interval (hollow: not significant; without an interval: "
        f"fewer than {MIN_UNITS} models)."
    )


CORRELATIONS = Figure(
    name="correlations",
    tables=tuple(QUESTIONS),
    subject="forgetting",
    section="forgetting",
    applies=has_forgetting,
    draw=correlation_figure,
    caption=_correlation_caption,
)


FIGURES = (COURSE, CORRELATIONS, RAS, SCATTER)
