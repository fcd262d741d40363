"""The figures of the activation analyses. Each seed has panels of its own; what is not significant or too small is hollow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from rim.analysis.probes import FEWEST
from rim.config.study import Study
from rim.models.positions import PLACES
from rim.report.figures.declaration import Figure
from rim.report.figures.style import (
    AROUND,
    COLOURS,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PAPER,
    POINTS,
    SHADES,
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
    with_clear,
    zero,
)
from rim.report.page import Material
from rim.report.wording import MEASURES, counts
from rim.settings.common import BASE

PROBES = {"harmful": "harmful or harmless", "refusal": "refused or fulfilled"}  # what each probe tells apart
FEW_LAYERS = 12  # up to which cells are large
PLAIN: dict[str, Any] = {"labelAngle": 0, "labelOverlap": True}


def _applies(study: Study) -> bool:
    return study.mechanism is not None


def _step(table: pl.DataFrame) -> int:
    return 14 if table["layer"].n_unique() <= FEW_LAYERS else 7


def _cells(data: pl.DataFrame, colour: Any, over: Any = (), columns: int = 6) -> Any:
    """Layers from left to right, token positions in reading order from top to bottom."""
    import altair as alt

    places = [name for name in PLACES if name in set(data["position"])]
    x = alt.X("layer:O", title="layer", axis=alt.Axis(**PLAIN))
    y = alt.Y("position:N", title=None, sort=places)
    return heat(data, x, y, colour, ".2f", [each.encode(x=x, y=y) for each in over], columns, _step(data))


def area_figure(tables: Tables, labels: Labels) -> Any:
    """How well the groups are parted before fine-tuning, by layer and token position: area under the ROC curve."""
    import altair as alt

    table = tables["probes"].filter((pl.col("variant") == BASE) & pl.col("estimate").is_not_null())
    if table.is_empty():
        return nothing()
    table = table.drop("variant").with_columns((pl.col("p_max") < 0.05).fill_null(False).alias("clear"))
    data = table.with_columns(
        by_seed(table, pl.format("{}: thinking {}: {}", "model", "think", pl.col("probe").replace(PROBES))).alias(
            "panel"
        )
    )
    models = {name: place for place, name in enumerate(dict.fromkeys(data["model"]))}
    data = data.sort(pl.col("model").replace_strict(models), "seed", "probe", maintain_order=True)
    colour = alt.Color(
        "estimate:Q",
        title="area under the ROC curve (0.5: chance)",
        scale=alt.Scale(domain=[0, 1], **{**AROUND, "domainMid": 0.5}),
    )
    dots = alt.Chart().transform_filter("datum.clear").mark_point(filled=True, size=9, color="black", opacity=1)
    chosen = (
        alt.Chart()
        .transform_filter("datum.selected")
        .mark_point(shape="diamond", size=90, color="black", strokeWidth=1.5, opacity=1)
    )
    return _cells(data, colour, (dots, chosen))


def _area_caption(material: Material) -> str:
    return (
        "How well a probe parts the two groups at each layer and token position before fine-tuning: area under the ROC curve on the "
        "evaluation split. Dot: larger than the largest area of all cells is by chance (p < 0.05); diamond: the cell chosen on the "
        "calibration split. Positions run from the end of the request to the answer: inner is the empty thought of thinking switched off, "
        "cot_first and cot the first token and the mean of the model's own. Blank: prompts have no such token, or a group has fewer than "
        f"{FEWEST} requests in a split.{_no_panel(material)}"
    )


def _no_panel(material: Material) -> str:
    """Which probes have no panel, since no cell of theirs could be measured."""
    base = material.tables["probes"].filter(pl.col("variant") == BASE)
    panels_of = base.group_by("model", "seed", "think", "probe", maintain_order=True).agg(pl.col("estimate").count())
    missing = panels_of.filter(pl.col("estimate") == 0).with_columns(pl.col("probe").replace(PROBES))
    names = missing.select(by_seed(base, pl.format("{}, thinking {}, {}", "model", "think", "probe")))
    return f" No panel, for that reason: {'; '.join(names.to_series())}." if missing.height else ""


AREAS = Figure(
    name="probe_areas",
    tables=("probes",),
    subject="probes",
    section="probes",
    applies=_applies,
    draw=area_figure,
    caption=_area_caption,
)


def score_figure(tables: Tables, labels: Labels) -> Any:
    """Figure 3 of the paper: each group's share above tau, by layer and position, before fine-tuning."""
    import altair as alt

    table = tables["probe_scores"].filter((pl.col("variant") == BASE) & (pl.col("intervention") == "none"))
    if table.is_empty():
        return nothing()
    shown = ["model", "seed", "think", "position", "layer", "group", "n", "estimate", "ci_low", "ci_high", "few"]
    panel = by_seed(table, pl.format("{}: thinking {}: {}", "model", "think", "group"))
    data = table.select(*shown, panel.alias("panel"))
    colour = alt.Color("estimate:Q", title="share above τ", scale=alt.Scale(domain=[0, 1], **SHADES), legend=alt.Legend(format=".0%"))  # fmt: skip
    few = alt.Chart().transform_filter("datum.few").mark_point(shape="stroke", size=20, color=GREY, opacity=1)
    return _cells(data, colour, (few,))


def _score_caption(material: Material) -> str:
    return (
        "The published score before fine-tuning: the share of each group's evaluation prompts above τ of the harmful/harmless probe, by "
        "layer and token position. Dash: a group of fewer than ten prompts."
    )


SCORES = Figure(
    name="probes",
    tables=("probe_scores",),
    subject="probes",
    section="probes",
    applies=_applies,
    draw=score_figure,
    caption=_score_caption,
    folded=True,
)


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
    x, y = (alt.X("head:O", axis=alt.Axis(**PLAIN)), alt.Y("layer:O", sort="descending", axis=alt.Axis(**PLAIN)))
    most = max(data["estimate"].drop_nulls().abs().to_list(), default=1.0)
    title = "fall of logit(refusal) − logit(other)"
    colour = alt.Color("estimate:Q", title=title, scale=alt.Scale(domain=[-most, most], **AROUND))
    rings = alt.Chart().transform_filter("datum.share > 0").mark_point(color="black", opacity=1, strokeWidth=0.9).encode(
        x=x, y=y, fill=alt.condition("datum.found", alt.value("black"), alt.value("transparent")),
        size=alt.Size("share:Q", scale=alt.Scale(domain=[0, 1], range=[30, 160]), title="share of requests that shift", legend=alt.Legend(format=".0%", values=[0.2, 0.4, 0.6, 0.8, 1], symbolStrokeColor=INK)),
    )  # fmt: skip
    side = 26 if _step(data) > 7 else 8
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
    applies=_applies,
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
    step = 14 if heads["layer"].n_unique() <= 12 else 8

    def every(name: str) -> alt.Scale:
        return alt.Scale(domain=sorted(set(heads[name])))

    few_labels = alt.Axis(labelAngle=0, labelOverlap=True)
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
    applies=_applies,
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
    applies=_applies,
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
    applies=_applies,
    draw=largest_figure,
    caption=_largest_caption,
    folded=True,
)


def against_random(data: pl.DataFrame, by: str, title: str, colours: Mapping[str, str]) -> Any:
    """Changes without a found set (point and interval), and without each random set (tick); a colour per value of `by`."""
    import altair as alt

    colour = alt.Color(f"{by}:N", scale=scale(colours), title=title)
    base = alt.Chart().encode(
        y=alt.Y("row:N", title=None, sort=list(dict.fromkeys(data["row"]))),
        yOffset=alt.YOffset(f"{by}:N", sort=list(colours)),
        color=colour,
        tooltip=tooltip(data, "+.1%"),
    )
    axis = alt.Axis(labelExpr=POINTS, tickCount=5)
    x = alt.X("estimate:Q", title="change, percentage points", axis=axis)
    found, random = base.transform_filter("datum.kind == 'found'"), base.transform_filter("datum.kind != 'found'")
    layers = [
        zero(),
        random.mark_tick(thickness=1.5, size=9, opacity=0.7).encode(x=x),
        found.mark_rule(strokeWidth=2).encode(x=alt.X("ci_low:Q", axis=axis), x2="ci_high:Q"),
        found.mark_point(size=45, strokeWidth=2, opacity=1).encode(
            x=x,
            fill=alt.condition("datum.clear", colour, alt.value(PAPER)),
            shape=alt.Shape(f"{by}:N", scale=shapes(colours), title=title),
        ),
    ]
    return panels(layers, data, 3)


def measured(table: pl.DataFrame, *keys: str) -> pl.DataFrame:
    """Effects against the model as it is: a panel per model, seed and value of `keys`, and a row per measure.

    A row names the benchmark too where several have its measure.
    """
    data = table.filter((pl.col("against") == "none") & pl.col("estimate").is_not_null())
    place = {name: i for i, name in enumerate(MEASURES)}
    models, benchmarks = (
        {name: i for i, name in enumerate(dict.fromkeys(data[key]))} for key in ("model", "benchmark")
    )
    data = data.sort(
        pl.col("model").replace_strict(models), pl.col("measure").replace_strict(place), pl.col("benchmark").replace_strict(benchmarks), maintain_order=True
    )  # fmt: skip
    several = pl.col("benchmark").n_unique().over("measure") > 1
    benchmark = pl.when(several).then(", " + pl.col("benchmark")).otherwise(pl.lit(""))
    return with_clear(data).with_columns(
        by_seed(data, pl.concat_str("model", *keys, separator=": ")).alias("panel"),
        (pl.col("measure").replace(MEASURES) + benchmark).alias("row"),
    )


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
    applies=_applies,
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
    applies=_applies,
    draw=probe_ablation_figure,
    caption=_probe_ablation_caption,
    folded=True,
)

FIGURES = (AREAS, SCORES, HEADS, SHIFTS, ATTENTION, LARGEST, ABLATIONS, CURVES)
