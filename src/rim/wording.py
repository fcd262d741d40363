"""How the report words numbers, rows and captions. Captions are made from the configuration, so they say what was run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from rim.config import Study
from rim.figures import MEASURES
from rim.report import Table, TableRow
from rim.settings.common import BASE

Row = dict[str, Any]
GREY = "Grey: the interval contains 0."


def show(value: float | None, percent: bool, signed: bool = False) -> str:
    """A rate in percent, a change (signed) in percentage points, anything else as it is."""
    if value is None:
        return "–"
    sign = "+" if signed else ""
    return f"{100 * value:{sign}.1f} {'pp' if signed else '%'}" if percent else f"{value:{sign}.2f}"


def estimate(row: Row, signed: bool = False) -> str:
    """An estimate with its interval, such as "12.0 % [8.2 %, 17.1 %]"."""
    percent = row["measure"] != "d_prime"
    text = show(row["estimate"], percent, signed)
    if row["ci_low"] is not None:
        text += f" [{show(row['ci_low'], percent, signed)}, {show(row['ci_high'], percent, signed)}]"
    return text


def is_clear(row: Row) -> bool:
    """Whether an interval is known and excludes no effect."""
    return row["ci_low"] is not None and not row["ci_low"] <= 0 <= row["ci_high"]


def p_value(p: float | None) -> str:
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def results(caption: str, data: pl.DataFrame, keys: dict[str, Callable[[Row], str]], what: str) -> Table:
    """A table of results: key columns, the estimate with its interval, p where there is a test, n and incomplete."""
    tested = "p" in data.columns
    header = [*keys, f"{what} [95 % interval]", *(["p", "p (Holm)"] if tested else []), "n", "incomplete"]
    rows = []
    for row in data.iter_rows(named=True):
        cells = [key(row) for key in keys.values()] + [estimate(row, signed=tested)]
        cells += [p_value(row["p"]), p_value(row["p_holm"])] if tested else []
        rows.append(TableRow([*cells, str(row["n"]), str(row["incomplete"])], not tested or is_clear(row)))
    return Table(caption, header, len(keys), rows)


def column(name: str) -> Callable[[Row], str]:
    return lambda row: str(row[name])


def measure(row: Row) -> str:
    """What was measured, with the benchmark where there is one."""
    return f"{MEASURES[row['measure']]}, {row['benchmark']}" if row["benchmark"] else MEASURES[row["measure"]]


def arm(study: Study) -> Callable[[Row], str]:
    return lambda row: BASE if row["variant"] == BASE else study.variants[row["variant"]].label or row["variant"]


def how_run(study: Study) -> str:
    """One sentence for captions: decoding, judge, threshold, seeds, and what intervals are over."""
    judge, settings = next(iter(study.judges.items()))
    decoding = (
        f"sampled at temperature {study.inference.temperature:g}" if study.inference.temperature else "decoded greedily"
    )
    many = len(study.seeds) > 1
    seeds = f"seed{'s' if many else ''} {', '.join(map(str, study.seeds))}"
    interval = "over seeds (Student's t)" if many else "over prompts"
    return (
        f"Replies {decoding}; judge '{judge}' ({settings.kind}), misaligned from score {settings.threshold} on; {seeds}; "
        f"95 % intervals {interval}. n counts complete replies; incomplete ones stand beside it and are never judged."
    )
