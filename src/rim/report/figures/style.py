"""What all figures share: colours, panels, intervals.

A figure is one Altair chart over one table: its panels are facets, so that the report can filter it by model and arm
and hand out its data as CSV. Every estimate is drawn with its interval and tells its numbers when pointed at; one that is
not significant is drawn hollow. Colours are Okabe and Ito's, which colour-blind readers can tell apart; each goes with a
shape of its own, the same in all figures. In a dark window colours turn by `DARK`, in files as in the report.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from rim.results.tables import is_significant

if TYPE_CHECKING:
    import altair as alt


Tables = dict[str, pl.DataFrame]
Labels = Mapping[str, str]  # what the report calls each arm
ORANGE, BLUE, GREEN, PURPLE, GREY = "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#767676"
COLOURS = {"on": ORANGE, "off": BLUE, "plain": PURPLE}  # of think modes
SHAPES = {ORANGE: "square", BLUE: "triangle-up", GREEN: "circle", PURPLE: "diamond", GREY: "stroke"}
STEP = 11  # pixels of a row
FEW_LAYERS = 12  # up to which the cells of a layer are large
UPRIGHT: dict[str, Any] = {"labelAngle": 0, "labelOverlap": True}  # labels of an axis, as many as there is room for
FONT = "Arial, Helvetica, sans-serif"
SPARED = rf' (?:font-family="{FONT}"|(?:aria-[a-z]+|role)="[^"]*"|opacity="1"|pointer-events="none")'  # half of an SVG
SPARE = 40  # pixels to either side of a drawing
POINTS = "datum.value ? format(100 * datum.value, '+.0f') : '0'"  # labels of an axis of changes
SHADES: dict[str, Any] = {
    "range": ["#f3f6f9", "#c6dbef", "#6baed6", "#2171b5", "#08306b"]
}  # of a share, from none to all
AROUND: dict[str, Any] = {"range": ["#0072b2", "#f3f3f3", "#d55e00"], "domainMid": 0}  # below and above nothing
INK, PAPER = "#222222", "white"
DARK = {
    INK: "#dddddd",
    PAPER: "#15181c",
    BLUE: "#4da6e0",
    ORANGE: "#f0843c",
    GREY: "#9a9a9a",
    "#ddd": "#444",
    "#eee": "#2c3036",
}
HIDDEN = {"clear", "panel", "row", "slot", "seed", "found"}  # columns that tooltips leave out


def scale(colours: Mapping[str, str]) -> alt.Scale:
    """Exactly these colours for these values."""
    import altair as alt

    return alt.Scale(domain=list(colours), range=list(colours.values()))


def shapes(colours: Mapping[str, str]) -> alt.Scale:
    """To each of these colours its shape."""
    import altair as alt

    return alt.Scale(domain=list(colours), range=[SHAPES[colour] for colour in colours.values()])


def model_colours(models: Iterable[str]) -> dict[str, str]:
    """A colour for every model, where several share a panel; models beyond the eighth begin anew, with another shape."""
    wheel = (ORANGE, BLUE, GREEN, PURPLE, "#e69f00", "#56b4e9", "#8c6d31", GREY)
    names = list(dict.fromkeys(models))
    return {name: wheel[i % len(wheel)] for i, name in enumerate(names)}


def model_shapes(models: Iterable[str]) -> alt.Scale:
    import altair as alt

    kinds = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-left")
    names = list(dict.fromkeys(models))
    return alt.Scale(domain=names, range=[kinds[i % len(kinds)] for i in range(len(names))])


def seen(colours: Mapping[str, str], table: pl.DataFrame) -> dict[str, str]:
    """Those of the colours whose think mode occurs in a table."""
    return {mode: colour for mode, colour in colours.items() if mode in set(table["think"])}


def with_clear(table: pl.DataFrame) -> pl.DataFrame:
    """Add whether each row's effect is significant."""
    significant = [is_significant(row) for row in table.iter_rows(named=True)]
    return table.with_columns(pl.Series("clear", significant, dtype=pl.Boolean))


def named(table: pl.DataFrame, labels: Labels) -> pl.DataFrame:
    """The arms by the names that the report gives them."""
    return table.with_columns(pl.col("variant").replace(dict(labels)))


def by_seed(table: pl.DataFrame, panel: pl.Expr) -> pl.Expr:
    """The name of a panel, with the seed where a table has several: an interval is that of one run, and no mean of others."""
    return panel if table["seed"].n_unique() < 2 else pl.format("{}, seed {}", panel, "seed")


def by_benchmark(table: pl.DataFrame, row: pl.Expr) -> pl.Expr:
    """The name of a row or panel, with the benchmark where a table has several of a measure: their estimates would lie on each other."""
    benchmarks = pl.col("benchmark").n_unique()
    several = (benchmarks.over("measure") if "measure" in table.columns else benchmarks) > 1
    return pl.when(several).then(pl.format("{}, {}", row, "benchmark")).otherwise(row)


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
        "p_max": ".3g",
    }
    titles = {
        "ci_low": "95 % from",
        "ci_high": "to",
        "variant": "arm",
        "think": "thinking",
        "p_holm": "p (Holm)",
        "p_max": "p (largest of all)",
    }
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


def panels(
    layers: Iterable[Any],
    data: pl.DataFrame,
    columns: int = 3,
    width: int = 230,
    height: Any = None,
    apart: bool = False,
) -> Any:
    """One panel for each value of the column `panel`, in the order of the data; a colon ends a line of its title.

    At most `columns` stand side by side, and fewer where that fills the rows better: four in two rows of two.

    With `apart`, every layer and panel has a y-axis of its own.
    """
    import altair as alt

    lines = alt.Header(labelExpr="split(datum.label, ': ')")
    names = list(dict.fromkeys(data["panel"]))
    order = alt.Facet("panel:N", title=None, sort=names, header=lines)
    chart = alt.layer(*layers, data=data).properties(width=width, height=height or alt.Step(STEP))
    if apart:
        chart = chart.resolve_scale(y="independent")
    rows = math.ceil(len(names) / columns)
    facets = chart.facet(facet=order, columns=math.ceil(len(names) / rows))
    if apart:
        facets = facets.resolve_scale(y="independent")
    return styled(facets.resolve_axis(x="independent"))  # else a row that is not full has axes below nothing


def heat(
    data: pl.DataFrame,
    x: Any,
    y: Any,
    colour: Any,
    number: str,
    over: Iterable[Any] = (),
    columns: int = 4,
    width: int = 14,
    height: int = 14,
) -> Any:
    """A panel of cells (`width`, `height` in pixels) for each value of `panel`, coloured by a number, and marks over them."""
    import altair as alt

    cells = alt.Chart().mark_rect().encode(x=x, y=y, color=colour, tooltip=tooltip(data, number))
    across = data[x.shorthand.removesuffix(":O")].n_unique()
    return panels([cells, *over], data, columns, width * across, alt.Step(height))


def styled(chart: Any) -> Any:
    """The look that all figures have in common."""
    soft = {"labelColor": INK, "titleColor": INK}
    return (
        chart.configure(
            font="Arial, Helvetica, sans-serif", background="transparent", autosize={"type": "pad", "resize": True}
        )
        .configure_view(stroke="#ddd")
        .configure_axis(labelLimit=330, gridColor="#eee", titleFontWeight="normal", **soft)
        .configure_header(labelFontWeight="bold", labelLimit=400, **soft)
        .configure_legend(
            orient="top",
            titleOrient="left",
            titleLimit=400,
            titlePadding=SPARE / 2,  # a title in a font that is wider than here
            labelLimit=300,
            titleFontWeight="normal",
            symbolOpacity=1,
            **soft,
        )
    )


def dark_rules(within: str = "") -> str:
    """CSS that turns the colours of drawings in a dark window; `within` is a selector."""
    rules = (
        f'{within} [{kind}="{light}"]{{{kind}:{dark}}}' for light, dark in DARK.items() for kind in ("fill", "stroke")
    )
    return f"@media (prefers-color-scheme: dark) {{{''.join(rules)}}}"


def as_svg(chart: Any) -> str:
    """A chart as SVG text, which turns dark where its reader's window is, with room for fonts that are wider than here."""
    import vl_convert

    start, end, rest = vl_convert.vegalite_to_svg(chart.to_json()).partition(">")
    width, height = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', start)[0]
    wider = f"{float(width) + 2 * SPARE:g}"
    start = start.replace(f'viewBox="0 0 {width} {height}"', f'viewBox="-{SPARE} 0 {wider} {height}"')
    start = start.replace(f'width="{width}"', f'width="{wider}"')
    rest = re.sub(SPARED, "", rest)
    return f"{start}{end}<style>text{{font-family:{FONT}}}{dark_rules()}</style>{rest}"


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
    own = pl.col("think").is_in(["off", "plain"])
    data = data.with_columns(pl.when(own).then("think").otherwise(pl.lit("on")).alias("slot"))
    colours = seen(colours, table)
    number = "+.1%" if change else ".1%"
    base = alt.Chart().encode(
        y=alt.Y("row:N", sort=list(dict.fromkeys(table["row"])), title=None),
        yOffset=alt.YOffset("slot:N", sort=["on", "off", "plain"]),
        color=alt.Color("think:N", scale=scale(colours), title="thinking"),
        tooltip=tooltip(data, number),
    )
    axis = alt.Axis(labelExpr=POINTS, tickCount=5) if change else alt.Axis(format=".0%", tickCount=5)
    lines = base.mark_rule(strokeWidth=2).encode(x=alt.X("ci_low:Q", title=title, axis=axis), x2="ci_high:Q")
    fill = alt.condition("datum.clear", alt.Color("think:N", scale=scale(colours)), alt.value("white"))
    shape = alt.Shape("think:N", scale=shapes(colours), title="thinking")
    points = base.mark_point(size=50, strokeWidth=2, opacity=1).encode(x="estimate:Q", fill=fill, shape=shape)
    return panels([zero(), lines, points] if change else [lines, points], data, columns)
