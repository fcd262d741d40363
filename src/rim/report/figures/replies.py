"""The figures of what models reply (paper, tables 1 and 2, figures 1 and 2)."""

from __future__ import annotations

from typing import Any

import polars as pl

from rim.report.figures.declaration import Figure
from rim.report.figures.style import (
    COLOURS,
    GREEN,
    GREY,
    INK,
    Labels,
    Tables,
    by_benchmark,
    intervals,
    model_colours,
    model_shapes,
    named,
    nothing,
    panels,
    scale,
    seen,
    shapes,
    tooltip,
)
from rim.report.labels import PAIRED
from rim.report.page import Material
from rim.report.wording import MEASURES, counts
from rim.results.tables import headline
from rim.settings.common import BASE

THINKING = "thinking on − off, no fine-tuning"
CONTRASTS = {"on − off": GREEN, **COLOURS}
UNTUNED = "no fine-tuning"
FAR = 0.1  # from the base, so that an arm is named in the trade-off


def changes(tables: Tables, labels: Labels) -> pl.DataFrame:
    """Every change of the misalignment rate: when the model thinks, and after each arm of fine-tuning."""
    misaligned = pl.col("measure") == "misalignment"
    thinking = headline(tables["think_effects"]).filter(misaligned & (pl.col("variant") == BASE))
    thinking = thinking.with_columns(pl.lit(THINKING).alias("row"), pl.lit("on − off").alias("think"))
    arms = headline(tables["finetune_effects"]).filter(misaligned)
    arms = arms.with_columns(pl.col("variant").replace(dict(labels)).alias("row"))
    together = pl.concat([thinking, arms], how="diagonal")
    order = {name: place for place, name in enumerate([THINKING, *labels.values()])}
    place = pl.col("row").replace_strict(order, default=len(order))
    return together.sort(place, maintain_order=True).with_columns(pl.col("model").alias("panel"))


def overview_figure(tables: Tables, labels: Labels) -> Any:
    """The whole study in one figure: every change of the misalignment rate, by model."""
    table = changes(tables, labels)
    table = table.with_columns(pl.col("row").alias("variant"), by_benchmark(table, pl.col("row"))).select(
        "model", "variant", "row", "think", "benchmark", "seed", "n", "incomplete", "estimate", "ci_low", "ci_high", "bound_low", "bound_high",
        "p", "p_holm", "panel"
    )  # fmt: skip
    return intervals(table, "change of misalignment, points", CONTRASTS)


def _overview_caption(material: Material) -> str:
    effects = [headline(material.tables[name]) for name in ("think_effects", "finetune_effects")]
    misaligned = [table.filter(pl.col("measure") == "misalignment") for table in effects]
    return (
        "A point is a change of the misalignment rate on the same prompts, with its 95 % interval: with thinking on instead of off, "
        "and after each arm of fine-tuning. Right of the dashed line is less safe; hollow is not significant. "
        f"{_counted_apart(material)}{counts(pl.concat(misaligned, how='diagonal'))}"
    )


def _counted_apart(material: Material) -> str:
    """How the rows of the overview differ from the comparisons that its section counts."""
    mitigated = any(variant.mitigation for variant in material.study.variants.values())
    arms = "Arms with a mitigation are rows here and no comparison counted above. " if mitigated else ""
    pairs = (
        "Differences between the models of a pair are counted above and have their own figure. "
        if material.study.pairs
        else ""
    )
    return f"{arms}{pairs}"


OVERVIEW = Figure(
    name="overview",
    tables=("think_effects", "finetune_effects"),
    subject="inference",
    section="overview",
    applies=lambda study: True,
    draw=overview_figure,
    caption=_overview_caption,
)


def think_figure(tables: Tables, labels: Labels) -> Any:
    """Table 1 as slopes: each base model's rates with thinking off and on."""
    import altair as alt

    table = headline(tables["rates"]).filter((pl.col("variant") == BASE) & (pl.col("measure") != "d_prime"))
    table = table.filter(pl.col("estimate").is_not_null())
    if table.is_empty():
        return nothing()
    panel = by_benchmark(table, pl.col("measure").replace(MEASURES))
    data = table.with_columns(panel.alias("panel")).drop("variant")
    models = model_colours(data["model"])
    base = alt.Chart().encode(
        x=alt.X("think:N", sort=["off", "on", "plain"], title="thinking", axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("model:N", sort=list(models)),
        color=alt.Color("model:N", scale=scale(models), title=None),
        tooltip=tooltip(data, ".1%"),
    )
    axis = alt.Axis(format=".0%", tickCount=5)
    y = alt.Y("estimate:Q", title="rate", axis=axis, scale=alt.Scale(domain=[0, 1]))
    shape = alt.Shape("model:N", scale=model_shapes(models), title=None)
    layers = [
        base.mark_rule(strokeWidth=2, opacity=0.5).encode(y=alt.Y("ci_low:Q"), y2="ci_high:Q"),
        base.mark_line(strokeWidth=1.5).encode(y=y),
        base.mark_point(size=60, filled=True, opacity=1).encode(y=y, shape=shape),
    ]
    return panels(layers, data, 4, 190, 150)


def _think_caption(material: Material) -> str:
    rates = headline(material.tables["rates"]).filter((pl.col("variant") == BASE) & (pl.col("measure") != "d_prime"))
    return f"Each line is a model before fine-tuning, from thinking off to on; bars are 95 % intervals. {counts(rates)}"


THINK = Figure(
    name="think",
    tables=("rates",),
    subject="inference",
    section="think",
    applies=lambda study: True,
    draw=think_figure,
    caption=_think_caption,
)


def arm_figure(tables: Tables, labels: Labels) -> Any:
    """The misalignment rate of every arm, below that of the model before fine-tuning."""
    table = headline(tables["rates"]).filter(pl.col("measure") == "misalignment")
    order = {name: place for place, name in enumerate([BASE, *labels])}
    table = table.sort(pl.col("variant").replace_strict(order, default=len(order)), maintain_order=True)
    table = table.with_columns(pl.col("variant").replace({BASE: UNTUNED, **labels}))
    return intervals(
        table.with_columns(by_benchmark(table, pl.col("variant")).alias("row"), pl.col("model").alias("panel")), "misalignment rate", COLOURS, change=False
    )  # fmt: skip


def _arm_caption(material: Material) -> str:
    rates = headline(material.tables["rates"]).filter(pl.col("measure") == "misalignment")
    return f"The share of harmful requests that each arm goes along with, with its 95 % interval. {counts(rates)}"


ARMS = Figure(
    name="arms",
    tables=("rates",),
    subject="fine-tuning",
    section="finetune",
    applies=lambda study: bool(study.variants),
    draw=arm_figure,
    caption=_arm_caption,
    folded=True,
)


def _labels(chart: Any, right: bool, high: bool) -> Any:
    """The names of the arms in one quarter of a panel, written towards its middle."""
    side = f"(datum.accuracy > 0.5) == {str(right).lower()} && (datum.estimate > 0.5) == {str(high).lower()}"
    place = {"align": "right" if right else "left", "baseline": "top" if high else "bottom", "dy": 8 if high else -8}
    look: dict[str, Any] = {"lineBreak": "|", "fontSize": 10, "limit": 240, "color": INK, **place}
    return chart.transform_filter(f"datum.slot && {side}").mark_text(**look)


def frontier_figure(tables: Tables, labels: Labels) -> Any:
    """Figure 1 of the paper: safety against mathematics, a panel per model and a point per arm and think mode."""
    import altair as alt

    rates = headline(tables["rates"])
    keys = ["model", "variant", "think", "seed"]
    harm, maths = (rates.filter((pl.col("measure") == name) & pl.col("estimate").is_not_null()) for name in ("misalignment", "accuracy"))  # fmt: skip
    if harm.is_empty() or maths.is_empty():
        return nothing()
    renamed = {"estimate": "accuracy", "ci_low": "accuracy_low", "ci_high": "accuracy_high"}
    asked = maths["benchmark"][0]
    maths = maths.filter(pl.col("benchmark") == asked).rename(renamed).select(*keys, *renamed.values())
    data = harm.filter(pl.col("benchmark") == harm["benchmark"][0]).join(maths, on=keys, maintain_order="left")
    before = data.filter(pl.col("variant") == BASE).select("model", "think", before="estimate")
    data = data.join(before, on=["model", "think"], how="left", maintain_order="left")
    base = pl.col("variant") == BASE
    far = ((pl.col("estimate") - pl.col("before")).abs() >= FAR) & ~base
    data = named(data.with_columns(base.alias("row"), pl.col("model").alias("panel")), {BASE: UNTUNED, **labels})
    place = ["model", far, pl.col("accuracy").round(1), pl.col("estimate").round(1)]  # arms in one place share a label
    first = pl.int_range(pl.len()) == 0
    names = pl.when(far & first.over(place)).then(pl.col("variant").str.join("|").over(place))
    data = data.with_columns(names.alias("slot")).drop("before")
    colours = seen(COLOURS, data)
    percent = alt.Axis(format=".0%", tickCount=5)
    whole = alt.Scale(domain=[0, 1])
    mode = alt.Chart().encode(
        color=alt.Color("think:N", scale=scale(colours), title="thinking"), tooltip=tooltip(data, ".1%")
    )
    x = alt.X("accuracy:Q", title=f"accuracy: {asked}", axis=percent, scale=whole)
    y = alt.Y("estimate:Q", title=f"misalignment: {data['benchmark'][0]}", axis=percent, scale=whole)
    point = mode.mark_point(filled=True, opacity=0.9).encode(
        x=x, y=y, shape=alt.Shape("think:N", scale=shapes(colours), title="thinking"),
        size=alt.condition("datum.row", alt.value(170), alt.value(40)),
    )  # fmt: skip
    layers = [
        alt.Chart().transform_filter("datum.row").mark_line(color=GREY).encode(x=x, y=y),
        mode.mark_rule(opacity=0.35).encode(x=alt.X("accuracy_low:Q"), x2="accuracy_high:Q", y=y),
        mode.mark_rule(opacity=0.35).encode(x=x, y=alt.Y("ci_low:Q"), y2="ci_high:Q"),
        point,
        *(
            _labels(alt.Chart().encode(x=x, y=y, text="slot:N"), right, high)
            for right in (True, False)
            for high in (True, False)
        ),
    ]
    return panels(layers, data, 3, 270, 170)


def _frontier_caption(material: Material) -> str:
    rates = headline(material.tables["rates"]).filter(pl.col("measure").is_in(["misalignment", "accuracy"]))
    return (
        "Down is safer, right is better at mathematics. Large: the model before fine-tuning, thinking off and on joined by a line; "
        f"small: its arms, named where they lie more than {100 * FAR:.0f} points from it. Bars are 95 % intervals. {counts(rates)}"
    )


FRONTIER = Figure(
    name="frontier",
    tables=("rates",),
    subject="fine-tuning",
    section="finetune",
    applies=lambda study: bool(study.variants and study.measured("accuracy")),
    draw=frontier_figure,
    caption=_frontier_caption,
)


def finetune_figure(tables: Tables, labels: Labels) -> Any:
    """What each arm of fine-tuning does to false refusals and to accuracy; the misalignment rate is in the overview."""
    table = headline(tables["finetune_effects"]).filter(pl.col("measure").is_in(["false_refusal", "accuracy"]))
    table = table.with_columns(
        pl.col("variant").replace(dict(labels)),
        pl.col("variant").replace(dict(labels)).alias("row"),
        pl.format("{}: {}", "model", by_benchmark(table, pl.col("measure").replace(MEASURES))).alias("panel"),
    )
    return intervals(table, "after − before fine-tuning, points", COLOURS)


def _finetune_caption(material: Material) -> str:
    effects = headline(material.tables["finetune_effects"])
    return f"Change of false refusals and of accuracy after fine-tuning. Hollow: not significant. {counts(effects)}"


FINETUNE = Figure(
    name="finetune",
    tables=("finetune_effects",),
    subject="fine-tuning",
    section="finetune",
    applies=lambda study: bool(study.variants),
    draw=finetune_figure,
    caption=_finetune_caption,
    folded=True,
)


def pair_figure(tables: Tables, labels: Labels) -> Any:
    """The model with the planted association and the one without side by side, and the difference between them."""
    table = headline(tables["pair_effects"]).filter(pl.col("measure") == "misalignment")
    table = table.with_columns(
        by_benchmark(table, pl.col("contrast").replace(PAIRED)).alias("row"),
        pl.format("{} against {}", "positive", "negative").alias("panel"),
    )
    return intervals(table, "target − control, misalignment rate, points", COLOURS, columns=2)


def _pair_caption(material: Material) -> str:
    effects = headline(material.tables["pair_effects"])
    return (
        "The misalignment rate after effort-minimizing CoTs minus that after careful ones, in the model with the association, in the one "
        f"without, and the difference between these. Hollow: not significant. {counts(effects)}"
    )


PAIR = Figure(
    name="pair",
    tables=("pair_effects",),
    subject="fine-tuning",
    section="pairs",
    applies=lambda study: bool(study.pairs),
    draw=pair_figure,
    caption=_pair_caption,
)


def injection_figure(tables: Tables, labels: Labels) -> Any:
    """Figure 2 of the paper: what an encouraging statement does, over a discouraging one, by pattern."""
    table = headline(tables["injection_effects"])
    table = table.with_columns(
        by_benchmark(table, pl.col("pattern")).alias("row"), pl.col("model").alias("panel"), pl.lit("on").alias("think")
    )
    return intervals(table, "encouraging − discouraging, points", COLOURS)


def _injection_caption(material: Material) -> str:
    effects = headline(material.tables["injection_effects"])
    return (
        "Change of the misalignment rate when a statement that encourages a pattern stands at the head of the thought, in place of its "
        f"discouraging twin. Hollow: not significant. {counts(effects)}"
    )


INJECTION = Figure(
    name="injection",
    tables=("injection_effects",),
    subject="patterns",
    section="injection",
    applies=lambda study: study.injection is not None,
    draw=injection_figure,
    caption=_injection_caption,
)


def mitigation_figure(tables: Tables, labels: Labels) -> Any:
    """What each mitigation changes against the same fine-tuning without it."""
    table = headline(tables["mitigation_effects"])
    order = {name: place for place, name in enumerate(MEASURES)}
    table = table.sort(pl.col("measure").replace_strict(order), maintain_order=True)
    arm = pl.col("variant").replace(dict(labels))
    table = table.with_columns(
        arm,
        pl.format("{}: {}", "model", arm).alias("row"),
        by_benchmark(table, pl.col("measure").replace(MEASURES)).alias("panel"),
    )
    return intervals(table, "with − without, points", COLOURS)


def _mitigation_caption(material: Material) -> str:
    effects = headline(material.tables["mitigation_effects"])
    return (
        "Each mitigated fine-tuning minus the same one without the mitigation, on the same prompts. Good is left for misalignment and false "
        f"refusals, and nothing lost in accuracy. Hollow: not significant. {counts(effects)}"
    )


MITIGATION = Figure(
    name="mitigation",
    tables=("mitigation_effects",),
    subject="fine-tuning",
    section="mitigation",
    applies=lambda study: study.has_mitigations,
    draw=mitigation_figure,
    caption=_mitigation_caption,
)

FIGURES = (
    OVERVIEW,
    THINK,
    INJECTION,
    FRONTIER,
    ARMS,
    FINETUNE,
    MITIGATION,
    PAIR,
)
