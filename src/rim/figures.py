"""What all figures share, and the figures of what models reply (paper, tables 1 and 2, figure 2).

A figure is one Altair chart over one table: its panels are facets, so that the report can filter it by model and arm
and hand out its data as CSV. Every estimate is drawn with its interval and tells its numbers when pointed at; one that is
not significant is drawn hollow. Colours are Okabe and Ito's, which colour-blind readers can tell apart, and each goes
with a shape of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from rim.settings.common import BASE
from rim.tables import headline, is_clear

if TYPE_CHECKING:
    import altair as alt

Tables = dict[str, pl.DataFrame]
Labels = Mapping[str, str]  # what the report calls each arm
ORANGE, BLUE, GREEN, PURPLE, GREY = "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#767676"
COLOURS = {"on": ORANGE, "off": BLUE}
THINKING = "thinking on − off, no fine-tuning"
CONTRASTS = {"on − off": GREEN, **COLOURS}
MEASURES = {  # in the order in which tables show them
    "misalignment": "misalignment rate",
    "false_refusal": "false refusals",
    "d_prime": "d′",
    "accuracy": "accuracy",
}
STEP = 14  # pixels of a row
POINTS = "format(100 * datum.value, '+.0f')"  # labels of an axis of changes
HIDDEN = {"clear", "panel", "row", "slot", "seed", "found"}  # columns that tooltips leave out


def scale(colours: Mapping[str, str]) -> alt.Scale:
    """Exactly these colours for these values."""
    import altair as alt

    return alt.Scale(domain=list(colours), range=list(colours.values()))


def with_clear(table: pl.DataFrame) -> pl.DataFrame:
    """Add whether each row's effect is significant."""
    found = [is_clear(row) for row in table.iter_rows(named=True)]
    return table.with_columns(pl.Series("clear", found, dtype=pl.Boolean))


def named(table: pl.DataFrame, labels: Labels) -> pl.DataFrame:
    """The arms by the names that the report gives them."""
    return table.with_columns(pl.col("variant").replace(dict(labels)))


def tooltip(data: pl.DataFrame, number: str) -> list[alt.Tooltip]:
    """All that is known of a mark; rates and changes in the format `number`."""
    import altair as alt

    formats = {
        "estimate": number,
        "ci_low": number,
        "ci_high": number,
        "reference": number,
        "p": ".3g",
        "p_holm": ".3g",
    }
    titles = {"ci_low": "95 % from", "ci_high": "to", "variant": "arm", "think": "thinking", "p_holm": "p (Holm)"}
    return [
        alt.Tooltip(
            field=name,
            title=titles.get(name, name.replace("_", " ")),
            type="quantitative" if kind.is_numeric() else "nominal",
            format=formats.get(name, ".4~g") if kind.is_numeric() else alt.Undefined,
        )
        for name, kind in data.schema.items()
        if name not in HIDDEN
    ]


def zero() -> alt.Chart:
    """A dashed line at no effect, once per panel."""
    import altair as alt

    line: alt.Chart = alt.Chart().transform_aggregate(rows="count()").mark_rule(color=GREY, strokeDash=[3, 3])
    at_none: alt.Chart = line.encode(x=alt.datum(0))
    return at_none


def panels(layers: Iterable[Any], data: pl.DataFrame, columns: int = 3, width: int = 230, height: Any = None) -> Any:
    """One panel for each value of the column `panel`, in the order of the data; `columns` side by side."""
    import altair as alt

    order = alt.Facet("panel:N", title=None, sort=list(dict.fromkeys(data["panel"])))
    chart = alt.layer(*layers, data=data).properties(width=width, height=height or alt.Step(STEP))
    return styled(chart.facet(facet=order, columns=min(columns, data["panel"].n_unique())))


def styled(chart: Any) -> Any:
    """The look that all figures have in common."""
    return (
        chart.configure(font="sans-serif")
        .configure_view(stroke="#ddd")
        .configure_axis(labelLimit=260, gridColor="#eee", titleFontWeight="normal")
        .configure_header(labelFontWeight="bold", labelLimit=400)
        .configure_legend(orient="top", labelLimit=300, titleFontWeight="normal", symbolOpacity=1)
    )


def nothing() -> Any:
    """What is drawn when there is nothing to show."""
    import altair as alt

    return alt.Chart(pl.DataFrame({"text": ["nothing to show"]})).mark_text().encode(text="text:N")


def intervals(
    table: pl.DataFrame, title: str, colours: Mapping[str, str], change: bool = True, columns: int = 3
) -> Any:
    """Points with intervals: one row per value of the column `row`, and in it one for each value of `think`."""
    import altair as alt

    table = table.filter(pl.col("estimate").is_not_null())
    if table.is_empty():
        return nothing()
    data = with_clear(table) if change else table.with_columns(pl.lit(True).alias("clear"))
    slot = pl.when(pl.col("think") == "off").then(pl.lit("off")).otherwise(pl.lit("on"))
    data = data.with_columns(slot.alias("slot"))
    number = "+.1%" if change else ".1%"
    base = alt.Chart().encode(
        y=alt.Y("row:N", sort=list(dict.fromkeys(table["row"])), title=None),
        yOffset=alt.YOffset("slot:N", sort=["on", "off"]),
        color=alt.Color("think:N", scale=scale(colours), title="thinking"),
        tooltip=tooltip(data, number),
    )
    axis = alt.Axis(labelExpr=POINTS, tickCount=5) if change else alt.Axis(format=".0%", tickCount=5)
    lines = base.mark_rule(strokeWidth=2).encode(x=alt.X("ci_low:Q", title=title, axis=axis), x2="ci_high:Q")
    fill = alt.condition("datum.clear", alt.Color("think:N", scale=scale(colours)), alt.value("white"))
    shape = alt.Shape("think:N", scale=alt.Scale(domain=list(colours)), title="thinking")
    points = base.mark_point(size=50, strokeWidth=2, opacity=1).encode(x="estimate:Q", fill=fill, shape=shape)
    return panels([zero(), lines, points] if change else [lines, points], data, columns)


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
    table = table.with_columns(pl.col("row").alias("variant")).select(
        "model", "variant", "row", "think", "benchmark", "seed", "n", "incomplete", "estimate", "ci_low", "ci_high", "p", "p_holm", "panel"
    )  # fmt: skip
    return intervals(table, "change of misalignment, points", CONTRASTS)


def think_figure(tables: Tables, labels: Labels) -> Any:
    """Table 1 as a figure: each base model's rates with thinking on and off."""
    table = headline(tables["rates"]).filter((pl.col("variant") == BASE) & (pl.col("measure") != "d_prime"))
    panel = pl.format("{}, {}", pl.col("measure").replace(MEASURES), "benchmark")
    table = table.with_columns(pl.col("model").alias("row"), panel.alias("panel")).drop("variant")
    return intervals(table, "rate with 95 % interval", COLOURS, change=False)


def finetune_figure(tables: Tables, labels: Labels) -> Any:
    """What each arm of fine-tuning does to false refusals and to accuracy; the misalignment rate is in the overview."""
    table = headline(tables["finetune_effects"]).filter(pl.col("measure").is_in(["false_refusal", "accuracy"]))
    table = table.with_columns(
        pl.col("variant").replace(dict(labels)),
        pl.col("variant").replace(dict(labels)).alias("row"),
        pl.format("{}: {}, {}", "model", pl.col("measure").replace(MEASURES), "benchmark").alias("panel"),
    )
    return intervals(table, "after − before fine-tuning, points", COLOURS)


def pair_figure(tables: Tables, labels: Labels) -> Any:
    """The positive and the negative control side by side, and the difference between them."""
    table = headline(tables["pair_effects"]).filter(pl.col("measure") == "misalignment")
    table = table.with_columns(
        pl.col("contrast").alias("row"), pl.format("{} against {}", "positive", "negative").alias("panel")
    )
    return intervals(table, "target − control, misalignment rate, points", COLOURS, columns=2)


def injection_figure(tables: Tables, labels: Labels) -> Any:
    """Figure 2 of the paper: what an encouraging statement does, over a discouraging one, by pattern."""
    table = headline(tables["injection_effects"])
    table = table.with_columns(
        pl.col("pattern").alias("row"), pl.col("model").alias("panel"), pl.lit("on").alias("think")
    )
    return intervals(table, "encouraging − discouraging, points", COLOURS)


def mitigation_figure(tables: Tables, labels: Labels) -> Any:
    """What each mitigation changes against the same fine-tuning without it."""
    table = headline(tables["mitigation_effects"])
    table = table.with_columns(
        pl.col("variant").replace(dict(labels)),
        pl.col("variant").replace(dict(labels)).alias("row"),
        pl.format("{}: {}, {}", "model", pl.col("measure").replace(MEASURES), "benchmark").alias("panel"),
    )
    return intervals(table, "with − without the mitigation, points", COLOURS)
