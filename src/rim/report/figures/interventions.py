"""What figures of sets of heads and neurons share: changes without a found set, beside those without random ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from rim.report.figures.style import (
    PAPER,
    POINTS,
    by_benchmark,
    by_seed,
    panels,
    scale,
    shapes,
    tooltip,
    with_clear,
    zero,
)
from rim.report.wording import MEASURES


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
    """Effects against the model as it is: a panel per model, seed and value of `keys`, and a row per measure."""
    data = table.filter((pl.col("against") == "none") & pl.col("estimate").is_not_null())
    place = {name: i for i, name in enumerate(MEASURES)}
    models, benchmarks = (
        {name: i for i, name in enumerate(dict.fromkeys(data[key]))} for key in ("model", "benchmark")
    )
    data = data.sort(
        pl.col("model").replace_strict(models), pl.col("measure").replace_strict(place), pl.col("benchmark").replace_strict(benchmarks), maintain_order=True
    )  # fmt: skip
    return with_clear(data).with_columns(
        by_seed(data, pl.concat_str("model", *keys, separator=": ")).alias("panel"),
        by_benchmark(data, pl.col("measure").replace(MEASURES)).alias("row"),
    )
