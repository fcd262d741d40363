"""The figures of the activation analyses. Several seeds are shown as their mean; a cell with a small group is hollow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import polars as pl

from rim.figures import COLOURS
from rim.positions import NAMES
from rim.settings.common import BASE

if TYPE_CHECKING:
    import altair as alt

GROUPS = {"refused": "#0072b2", "fulfilled": "#d55e00", "harmless": "#009e73"}
PROBES = {"harmful": "#0072b2", "refusal": "#d55e00"}
MEASURES = {
    "misalignment": "misalignment rate",
    "refusal": "refusals of harmful requests",
    "false_refusal": "false refusals",
    "accuracy": "accuracy",
    "unparsable": "unparsable replies",
}


def over_seeds(table: pl.DataFrame, *keys: str) -> pl.DataFrame:
    """The mean of every number over seeds; a cell is small if it is so in any seed."""
    means = [
        pl.col(name).mean() for name in ("estimate", "ci_low", "ci_high", "shuffled", "share") if name in table.columns
    ]
    flags = [pl.col(name).any() for name in ("few", "found") if name in table.columns]
    return table.group_by(keys, maintain_order=True).agg(*means, *flags)


def _lines(table: pl.DataFrame, colour: str, scale: dict[str, str], title: str, baseline: bool) -> alt.VConcatChart:
    """One row of small panels per model and think mode, one panel per position: a number by layer."""
    import altair as alt

    colours = alt.Color(f"{colour}:N", scale=alt.Scale(domain=list(scale), range=list(scale.values())), title=None)
    y = alt.Y("estimate:Q", scale=alt.Scale(domain=[0, 1]), title=title)
    x = alt.X("layer:Q", title="layer", axis=alt.Axis(tickMinStep=1, grid=False, format="d"))
    rows = []
    for model, think in table.select("model", "think").unique(maintain_order=True).iter_rows():
        part = table.filter((pl.col("model") == model) & (pl.col("think") == think))
        chart = alt.Chart(part).encode(x=x, color=colours)
        layers = [
            chart.mark_rule(opacity=0.35, strokeWidth=3).encode(y=alt.Y("ci_low:Q"), y2="ci_high:Q"),
            chart.mark_line(strokeWidth=1).encode(y=y),
            chart.mark_point(size=25, strokeWidth=1.5, opacity=1).encode(
                y=y, fill=alt.condition("datum.few", alt.value("white"), colours)
            ),
        ]
        if baseline:
            layers.append(chart.mark_line(strokeDash=[2, 2], strokeWidth=1).encode(y="shuffled:Q"))
        panel = alt.layer(*layers).properties(width=74, height=80)
        columns = alt.Column("position:N", sort=list(NAMES), title=None)
        rows.append(panel.facet(column=columns, spacing=6).properties(title=f"{model}, thinking {think}"))
    return _styled(alt.vconcat(*rows))


def probe_figure(scores: pl.DataFrame) -> alt.VConcatChart:
    """Figure 3 of the paper: each group's share above tau, by layer and position, before fine-tuning."""
    table = scores.filter((pl.col("variant") == BASE) & (pl.col("ablation") == "none"))
    return _lines(
        over_seeds(table, "model", "think", "position", "layer", "group"), "group", GROUPS, "share above τ", False
    )


def area_figure(probes: pl.DataFrame) -> alt.VConcatChart:
    """The same cells by how well the groups are parted: area under the ROC curve."""
    table = probes.filter((pl.col("variant") == BASE) & pl.col("estimate").is_not_null())
    return _lines(over_seeds(table, "model", "think", "position", "layer", "probe"), "probe", PROBES, "AUC", True)


def head_figure(heads: pl.DataFrame) -> alt.VConcatChart:
    """Figure 4b of the paper: a bubble per head, its area the share of requests on which attention shifts."""
    import altair as alt

    table = over_seeds(heads, "model", "variant", "layer", "head")
    rows = []
    for model in dict.fromkeys(table["model"]):
        panels: list[Any] = []
        for variant in dict.fromkeys(table.filter(pl.col("model") == model)["variant"]):
            part = table.filter((pl.col("model") == model) & (pl.col("variant") == variant))
            layers, count = part["layer"].n_unique(), part["head"].n_unique()
            chart = alt.Chart(part).mark_point(filled=True, opacity=0.85).encode(
                x=alt.X("head:O", title="head", axis=alt.Axis(labelAngle=0)),
                y=alt.Y("layer:O", title=None if panels else "layer", sort="descending"),
                size=alt.Size("share:Q", scale=alt.Scale(domain=[0, 1], range=[2, 220]), title="share that shifts"),
                color=alt.Color("found:N", scale=alt.Scale(domain=[True, False], range=["#d55e00", "#999999"]), title="refusal head"),
            )  # fmt: skip
            panels.append(chart.properties(title=variant, width=max(80, 14 * count), height=max(80, 14 * layers)))
        rows.append(alt.hconcat(*panels).properties(title=model))
    return _styled(alt.vconcat(*rows))


def ablation_figure(effects: pl.DataFrame) -> alt.VConcatChart:
    """What ablating each set of heads changes, with its interval, and the random sets of equal size beside it."""
    import altair as alt

    table = effects.filter(pl.col("against") == "none").with_columns(
        pl.format("{} ({})", "head_set", "replacement").alias("row"), (pl.col("draw") == "found").alias("found")
    )
    keys = ("model", "variant", "row", "draw", "think", "measure", "benchmark", "found")
    table = over_seeds(table.drop("found"), *keys[:-1]).with_columns((pl.col("draw") == "found").alias("found"))
    rows = []
    for model, variant in table.select("model", "variant").unique(maintain_order=True).iter_rows():
        panels: list[Any] = []
        for measure in [name for name in MEASURES if name in set(table["measure"])]:
            part = table.filter(
                (pl.col("model") == model) & (pl.col("variant") == variant) & (pl.col("measure") == measure)
            )
            # where several benchmarks share a measure, unparsable replies above all, the panel shows their mean
            part = part.group_by("row", "draw", "think", "found", maintain_order=True).agg(
                pl.col("estimate", "ci_low", "ci_high").mean()
            )
            base = alt.Chart(part).encode(
                y=alt.Y("row:N", title=None, axis=alt.Axis(labels=not panels)),
                yOffset=alt.YOffset("think:N", sort=["on", "off"]),
                color=alt.Color(
                    "think:N", scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values())), title="thinking"
                ),
            )
            x = alt.X("estimate:Q", title="change", axis=alt.Axis(format="+.0%"), scale=alt.Scale(domain=[-1, 1]))
            found, random = base.transform_filter("datum.found"), base.transform_filter("!datum.found")
            layers: list[Any] = [
                alt.Chart(part).mark_rule(color="#999", strokeDash=[3, 3]).encode(x=alt.datum(0)),
                random.mark_tick(thickness=1.5, size=9, opacity=0.6).encode(x=x),
                found.mark_rule(strokeWidth=2).encode(x=alt.X("ci_low:Q"), x2="ci_high:Q"),
                found.mark_point(filled=True, size=45, opacity=1).encode(x=x),
            ]
            panels.append(
                alt.layer(*layers).properties(title=MEASURES[measure], width=130, height=34 * part["row"].n_unique())
            )
        rows.append(alt.hconcat(*panels, spacing=6).properties(title=f"{model}, {variant}"))
    return _styled(alt.vconcat(*rows))


def _styled(chart: alt.VConcatChart) -> alt.VConcatChart:
    styled: alt.VConcatChart = (
        chart.configure_view(stroke="#ddd").configure_title(fontSize=10).configure(font="sans-serif")
    )
    return styled


FIGURES: dict[str, tuple[str, Callable[[pl.DataFrame], Any]]] = {  # name -> the table it shows
    "probes": ("probe_scores", probe_figure),
    "probe_areas": ("probes", area_figure),
    "heads": ("heads", head_figure),
    "ablations": ("ablation_effects", ablation_figure),
}


def draw(name: str, tables: dict[str, pl.DataFrame]) -> Any:
    """One figure; a blank one when there is nothing to show, as when no head was found to ablate."""
    import altair as alt

    source, figure = FIGURES[name]
    if tables[source].is_empty():
        return alt.Chart(pl.DataFrame({"text": ["nothing to show"]})).mark_text().encode(text="text:N")
    return figure(tables[source])
