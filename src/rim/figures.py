"""The figures of the report, drawn by Altair from the tables of results and saved as SVG.

Every estimate is drawn with its interval; an interval that contains no effect is drawn hollow, so that what is not
significant looks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from rim.tables import headline

if TYPE_CHECKING:
    import altair as alt

COLOURS = {"on": "#d55e00", "off": "#0072b2"}  # Okabe and Ito's colour-blind safe palette
MEASURES = {  # in the order in which tables show them
    "misalignment": "misalignment rate",
    "false_refusal": "false refusals",
    "d_prime": "d′",
    "accuracy": "accuracy",
}
ROW_HEIGHT = 15


def _intervals(table: pl.DataFrame, rows: str, title: str, zero_line: bool) -> Any:
    """Points with intervals: one row per value of `rows`, think ON above OFF."""
    import altair as alt

    data = table.with_columns(
        pl.when(zero_line & (pl.col("ci_low") <= 0) & (pl.col("ci_high") >= 0))
        .then(pl.lit("no"))
        .otherwise(pl.lit("yes"))
        .alias("clear")
    )
    axis = alt.Axis(format="+.0%" if zero_line else ".0%")
    colours = alt.Scale(domain=list(COLOURS), range=list(COLOURS.values()))
    base = alt.Chart(data).encode(
        y=alt.Y(rows, sort=list(dict.fromkeys(table[rows])), title=None),
        yOffset=alt.YOffset("think:N", sort=["on", "off"]),
        color=alt.Color("think:N", scale=colours, title="thinking"),
    )
    interval = base.mark_rule(strokeWidth=2).encode(x=alt.X("ci_low", title=title, axis=axis), x2="ci_high")
    fill = alt.condition(alt.datum.clear == "yes", alt.Color("think:N", scale=colours), alt.value("white"))
    point = base.mark_point(size=45, strokeWidth=2, opacity=1).encode(x="estimate", fill=fill)
    zero = alt.Chart(data).mark_rule(color="#999", strokeDash=[3, 3]).encode(x=alt.datum(0))
    return alt.layer(*([zero] if zero_line else []), interval, point)


def _grid(table: pl.DataFrame, rows: str, columns: str, title: str, zero_line: bool) -> alt.ConcatChart:
    """One panel per value of `columns`, side by side."""
    import altair as alt

    panels = []
    for value in dict.fromkeys(table[columns]):
        part = table.filter(pl.col(columns) == value)
        height = 2 * ROW_HEIGHT * part[rows].n_unique() + 10
        panels.append(
            _intervals(part, rows, title, zero_line).properties(
                title=MEASURES.get(value, value), width=230, height=height
            )
        )
    grid: alt.ConcatChart = alt.concat(*panels, columns=3)
    if zero_line:  # changes of different models are compared by eye
        grid = grid.resolve_scale(x="shared")
    styled: alt.ConcatChart = (
        grid.configure_view(stroke="#ddd").configure_axis(labelLimit=260).configure(font="sans-serif")
    )
    return styled


def think_figure(rates: pl.DataFrame) -> alt.ConcatChart:
    """Table 1 as a figure: each base model's rates with thinking on and off."""
    table = headline(rates).filter((pl.col("variant") == "base") & (pl.col("measure") != "d_prime"))
    labelled = table.with_columns(
        pl.when(pl.col("measure") == "accuracy")
        .then(pl.format("{}, {}", "model", "benchmark"))
        .otherwise("model")
        .alias("row")
    )
    return _grid(labelled, "row", "measure", "rate with 95 % interval", zero_line=False)


def finetune_figure(effects: pl.DataFrame) -> alt.ConcatChart:
    """Table 2 as a figure: the change of the misalignment rate after each arm."""
    table = headline(effects).filter(pl.col("measure") == "misalignment")
    return _grid(table, "variant", "model", "change of the misalignment rate", zero_line=True)


def pair_figure(effects: pl.DataFrame) -> alt.ConcatChart:
    """The positive and the negative control side by side, and the difference between them."""
    names = (
        pl.when(pl.col("contrast") == "difference")
        .then(pl.lit("difference"))
        .otherwise(pl.when(pl.col("contrast") == "positive").then("positive").otherwise("negative"))
    )
    table = (
        headline(effects)
        .filter(pl.col("measure") == "misalignment")
        .with_columns(names.alias("row"), pl.format("{} against {}", "positive", "negative").alias("pair"))
    )
    return _grid(table, "row", "pair", "target − control, misalignment rate", zero_line=True)


def injection_figure(effects: pl.DataFrame) -> alt.ConcatChart:
    """Figure 2 of the paper: what an encouraging statement does, over a discouraging one, by pattern."""
    table = headline(effects).with_columns(pl.lit("on").alias("think"))
    return _grid(table, "pattern", "model", "encouraging − discouraging, misalignment rate", zero_line=True)


def mitigation_figure(effects: pl.DataFrame) -> alt.ConcatChart:
    """What each mitigation changes against the same fine-tuning without it."""
    table = headline(effects).with_columns(pl.format("{}, {}", "model", "variant").alias("row"))
    return _grid(table, "row", "measure", "mitigated − plain", zero_line=True)
