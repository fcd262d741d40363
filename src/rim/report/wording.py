"""How the report words numbers, rows and captions. Captions are made from the configuration, so they say what was run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import polars as pl

from rim.config.study import Study
from rim.core.statistics import ENOUGH_SETS
from rim.report.page import Material, Table, TableRow
from rim.results.tables import is_significant
from rim.settings.common import BASE

ResultRow = dict[str, Any]  # of a table of results, by column
Formatter = Callable[[ResultRow], str]  # what a cell says of its row
MEASURES = {  # in the order in which tables and figures show them
    "misalignment": "misalignment rate",
    "refusal": "refusals of harmful requests",
    "false_refusal": "false refusals",
    "d_prime": "d′",
    "accuracy": "accuracy",
    "unparsable": "unparsable replies",
}
GREY = (
    "Grey: not significant (the interval contains 0, p after Holm's correction is not below 0.05, or incomplete replies could turn it); "
    "a dash: nothing to measure."
)
BESIDE_RANDOM = (
    "Against random sets the set is the unit: the interval allows for how much random sets differ from each other (Student's t "
    f"over sets) and for the prompts. With fewer than {ENOUGH_SETS} sets there is no p, and nothing is claimed. p agrees with the "
    "interval if the found set is the most extreme of all; else it is at least the share of sets that are as extreme."
)

SEEDS_APART = (  # workflow/docs/statistics.md: seeds that learn or do not
    "where some seeds learn and others do not, those of 3 or 5 cover a rate or its change in 29 to 93 % instead of 95: look at each seed"
)


def decimal(value: float, digits: int, signed: bool = False) -> str:
    """A number with so many digits after the point; with its sign where asked for, unless it is 0 when rounded."""
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    return text if float(text) else text.lstrip("+-")


def show(value: float | None, percent: bool, signed: bool = False) -> str:
    """A rate in percent, a change (signed) in percentage points, anything else as it is."""
    if value is None:
        return "–"
    return f"{decimal(100 * value, 1, signed)} {'pp' if signed else '%'}" if percent else decimal(value, 2, signed)


def interval(row: ResultRow, percent: bool = False, signed: bool = False) -> str:
    """An estimate with its interval, such as "12.0 % [8.2, 17.1]", or a dash where there is none."""
    text = show(row["estimate"], percent, signed)
    if row["estimate"] is not None and row["ci_low"] is not None:
        low, high = (show(row[name], percent, signed).split(" ")[0] for name in ("ci_low", "ci_high"))
        text += f" [{low}, {high}]"
    return text


def estimate(row: ResultRow, signed: bool = False) -> str:
    """The same for a row that names its measure."""
    return interval(row, row["measure"] != "d_prime", signed)


def of_run(material: Material) -> Callable[[str, int], str]:
    """The name of a model, with the seed where a study has several."""
    study = material.study
    return lambda model, seed: f"{model} (seed {seed})" if len(study.seeds_of(model, BASE)) > 1 else model


def listed(items: Sequence[str], most: int = 4) -> str:
    """The first of these, and how many more there are; "none" of none."""
    more = f"; and {len(items) - most} more" if len(items) > most else ""
    return "; ".join(items[:most]) + more if items else "none"


def p_value(p: float | None) -> str:
    return "–" if p is None else "<\N{NO-BREAK SPACE}0.001" if p < 0.001 else f"{p:.3f}"


def column(name: str) -> Formatter:
    return lambda row: str(row[name])


def table_from_frame(
    caption: str,
    data: pl.DataFrame,
    keys: int,
    columns: dict[str, Formatter],
    clear: Callable[[ResultRow], bool] = lambda row: True,
) -> Table:
    """A table with one function per column, the first `keys` of which name the row."""
    rows = [
        TableRow([formatter(row) for formatter in columns.values()], clear(row)) for row in data.iter_rows(named=True)
    ]
    return Table(caption, list(columns), keys, rows)


def results(caption: str, data: pl.DataFrame, keys: dict[str, Formatter], what: str, **more: Formatter) -> Table:
    """A table of results: key columns, the estimate with its interval, p where there is a test, n, incomplete and of these incoherent."""
    tested = "p" in data.columns
    columns = {**keys, f"{what} [95 % interval]": lambda row: estimate(row, signed=tested)}
    if tested:
        columns |= {"p": lambda row: p_value(row["p"]), "p (Holm)": lambda row: p_value(row["p_holm"])}
    columns |= {name: column(name) for name in ("n", "incomplete", "incoherent") if name in data.columns} | more
    columns |= either_way(data)
    return table_from_frame(caption, data, len(keys), columns, is_significant if tested else lambda row: True)


def either_way(data: pl.DataFrame) -> dict[str, Formatter]:
    """A column with what each estimate would be if its incomplete replies counted either way, where there are any."""

    def limits(row: ResultRow) -> str:
        if not row["incomplete"] or row["bound_low"] is None:
            return "–"
        percent = row["measure"] != "d_prime" if "measure" in row else True
        low, high = (show(row[name], percent, "p" in row).split(" ")[0] for name in ("bound_low", "bound_high"))
        return f"{low} to {high}"

    return {"incomplete either way": limits} if data["incomplete"].sum() else {}


def without_claim(rows: Iterable[ResultRow]) -> str:
    """How many random sets there are where there are too few of them to claim anything; empty where there are enough."""
    few = [row["sets"] for row in rows if row["sets"] < ENOUGH_SETS]
    if not few:
        return ""
    sets = str(min(few)) if min(few) == max(few) else f"{min(few)} to {max(few)}"
    return f"shown without a claim: {sets} random set{'s' if sets != '1' else ''}, {ENOUGH_SETS} are needed"


def think_modes(study: Study) -> str:
    """The think modes that models were asked in, and of which models these were imitated."""
    imitated = [name for name, model in study.models.items() if model.think_switch == "sentence"]
    by = f" (of {', '.join(imitated)} imitated by a sentence in the request)" if imitated else ""
    return f"{' and '.join(study.modes)}{by}"


def conditions(study: Study) -> str:
    """How replies were made and judged, and what intervals are over: what holds for all figures."""
    judge, settings = next(iter(study.judges.items()))
    decoding = (
        f"sampled at temperature {study.inference.temperature:g}" if study.inference.temperature else "decoded greedily"
    )
    over = (
        f"over seeds and prompts ({SEEDS_APART}), or over prompts where a model was run once"
        if len(study.seeds) > 1
        else "over prompts"
    )
    seeds = f"seed{'s' if len(study.seeds) > 1 else ''} {', '.join(map(str, study.seeds))}"
    return (
        f"Replies {decoding}, thinking {think_modes(study)}; judge '{judge}' ({settings.kind}), misaligned from score "
        f"{settings.threshold} on; {seeds}; 95 % intervals are {over}. Incomplete replies and those that are no language any more are "
        "never judged. Significant: the interval is without 0, p below 0.05 after Holm's correction, and the sign the same however incomplete replies count."
    )


def counts(data: pl.DataFrame, which: str = "complete replies", rest: str = "left out as incomplete") -> str:
    """How many replies the estimates of a table stand for, and how many incomplete ones there are."""
    if data.is_empty():
        return ""
    n, incomplete = format_range(data["n"]), format_range(data["incomplete"])
    return f"n = {n} {which}, {incomplete} {rest}."


def format_range(values: pl.Series) -> str:
    """The values of a column, by their extremes."""
    low, high = str(values.min()), str(values.max())
    return low if low == high else f"{low} to {high}"
