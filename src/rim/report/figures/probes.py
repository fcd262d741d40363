"""The figures of probes: how well activations tell groups of requests apart, by layer and token position."""

from __future__ import annotations

from typing import Any

import polars as pl

from rim.analysis.probes import FEWEST
from rim.models.positions import PLACES
from rim.report.figures.declaration import Figure, has_mechanism
from rim.report.figures.style import AROUND, FEW_LAYERS, GREY, SHADES, UPRIGHT, Labels, Tables, by_seed, heat, nothing
from rim.report.page import Material
from rim.settings.common import BASE

PROBES = {"harmful": "harmful or harmless", "refusal": "refused or fulfilled"}  # what each probe tells apart


def _cells(data: pl.DataFrame, colour: Any, over: Any = (), columns: int = 6) -> Any:
    """Layers from left to right, token positions in reading order from top to bottom."""
    import altair as alt

    places = [name for name in PLACES if name in set(data["position"])]
    width = 14 if data["layer"].n_unique() <= FEW_LAYERS else 7
    x = alt.X("layer:O", title="layer", axis=alt.Axis(**UPRIGHT))
    y = alt.Y("position:N", title=None, sort=places)
    return heat(data, x, y, colour, ".2f", [each.encode(x=x, y=y) for each in over], columns, width)


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
    applies=has_mechanism,
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
    applies=has_mechanism,
    draw=score_figure,
    caption=_score_caption,
    folded=True,
)


FIGURES = (AREAS, SCORES)
