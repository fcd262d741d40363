"""The paper's numbers beside ours (arXiv 2509.00544, version 2).

`published.csv` holds every number that the paper prints or shows for one model: its source, the model's hub name, which
of our tables has its counterpart, the values that pick the row there, and the column. A benchmark is named by the adapter
of its dataset, a checkpoint by its place among those of a fine-tune. Numbers are compared only for models with that hub
name; an organism has no counterpart in the paper. A number without a table has no counterpart either, such as an average
over models; its note says what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from io import BytesIO
from typing import Any

import polars as pl

from rim.config.study import Study
from rim.report.page import Material, Section
from rim.report.wording import ResultRow, column, table_from_frame
from rim.results.tables import headline

INTERVALS = ("estimate", "share")  # columns of ours that `ci_low` and `ci_high` are of
VERSION = (
    "The paper's numbers are of its version 2 (September 2025). A version 4 (March 2026) exists, whose code is announced; it was "
    "not read, and what it changed is not in this table."
)
INCONSISTENT = (
    "The paper is not of one mind about some of its numbers, and nothing here is tuned to them: the average of control in "
    "Table 2 is printed as -2.94 for dense models where its rows give -2.79, that of target as 16.77 for mixtures of experts "
    "where they give 16.86; the mean change on GSM8K over all models is 5.05 by Table 2, 4.96 in the text and 5.27 in Table "
    "A7; Figure 2 shows 33.14 where Table A2 averages 33.40; random neurons change the rate by -2.19 in the text and -2.20 in "
    "Figure 6; some rates of Table 1 are fractions of fewer than 300 prompts and 60 problems, so replies were left out there."
)


def published() -> pl.DataFrame:
    """The paper's numbers, one per row."""
    return pl.read_csv(BytesIO(files("rim.report").joinpath("published.csv").read_bytes()), infer_schema_length=None)


def _benchmarks(study: Study, adapter: str) -> list[str]:
    """The benchmarks whose dataset comes from this source."""
    adapters = {name: {source.adapter for source in dataset.sources} for name, dataset in study.datasets.items()}
    return [name for name, benchmark in study.benchmarks.items() if adapter in adapters[benchmark.dataset]]


def _counterpart(study: Study, model: str, number: ResultRow, table: pl.DataFrame) -> pl.DataFrame:
    """Our rows for one published number, their value as `estimate`, with an interval where the table has one of it."""
    rows = table.filter(pl.col("model") == model)
    if "seed" in rows.columns and rows.schema["seed"] == pl.String:
        rows = headline(rows)
    for key, value in (condition.split("=") for condition in number["where"].split(" ")):
        if key == "benchmark":
            rows = rows.filter(pl.col(key).is_in(_benchmarks(study, value)))
        elif key == "checkpoint":
            steps = rows.filter(pl.col("step") > 0)
            rows = steps.filter(pl.col("step").rank("dense").over("seed") == int(value))
        else:
            rows = rows.filter(pl.col(key).cast(pl.String).fill_null("") == value)
    keys = [name for name in ("model", "seed", "draw") if name in rows.columns]
    none = pl.lit(None, pl.Float64)
    limits = [pl.col(name) if number["column"] in INTERVALS else none.alias(name) for name in ("ci_low", "ci_high")]
    rows = rows.select(*keys, pl.col(number["column"]).cast(pl.Float64).alias("estimate"), *limits)
    return _without_draws(rows).filter(pl.col("estimate").is_not_null())


def _without_draws(rows: pl.DataFrame) -> pl.DataFrame:
    """The mean over random sets, which has no interval here; rows of one set stay as they are."""
    if "draw" not in rows.columns or rows["draw"].n_unique() < 2:
        return rows
    mean = rows.group_by(*(name for name in ("model", "seed") if name in rows.columns), maintain_order=True)
    none = pl.lit(None, pl.Float64)
    return mean.agg(pl.col("estimate").mean()).with_columns(none.alias("ci_low"), none.alias("ci_high"))


def compared(study: Study, tables: dict[str, pl.DataFrame]) -> Iterator[ResultRow]:
    """Every published number that the study covers, with our estimate and interval in the paper's unit."""
    models = {model.hub: name for name, model in study.models.items() if model.hub}
    for number in published().iter_rows(named=True):
        if number["hub"] in models and number["table"] in tables:
            scale = 100 if number["unit"] else 1
            rows = _counterpart(study, models[number["hub"]], number, tables[number["table"]])
            for row in rows.iter_rows(named=True):
                ours = {
                    name: None if row[name] is None else scale * row[name] for name in ("estimate", "ci_low", "ci_high")
                }
                known = ours["ci_low"] is not None
                inside = known and ours["ci_low"] <= number["published"] <= ours["ci_high"]
                yield {
                    **number,
                    **ours,
                    "model": row["model"],
                    "seed": row.get("seed"),
                    "known": known,
                    "inside": inside,
                }


def _ours(row: ResultRow) -> str:
    form = "{:.2f}" if row["unit"] else "{:.3g}"
    text = form.format(row["estimate"])
    return f"{text} [{form.format(row['ci_low'])}, {form.format(row['ci_high'])}]" if row["known"] else text


def _what(row: ResultRow) -> str:
    values = dict(condition.split("=") for condition in row["where"].split(" "))
    hidden = {"against", "kind"}  # but for a random set
    words = [f"{key} {value}" if key in ("think", "checkpoint", "layer", "head") else value
             for key, value in values.items() if value and (key not in hidden or value == "random")]  # fmt: skip
    return ", ".join([*words, *([] if row["column"] == "estimate" else [row["column"]])])


def published_section(material: Material) -> Section | None:
    """Each published number that this study covers beside ours; None where it covers none."""
    study = material.study
    organisms = any(model.trained_here for model in study.models.values())
    apart = "The organisms trained here have no counterpart in the paper and are never compared with its models."
    rows = list(compared(study, material.tables))
    if not rows:
        return None
    judge, settings = next(iter(study.judges.items()))
    known = [row for row in rows if row["known"]]
    text = [
        VERSION,
        f"Of {len(known)} published numbers that this study covers with an interval, {sum(row['inside'] for row in known)} lie "
        f"in our 95 % interval. The paper's judge was GPT-4.1 with misaligned from score 3 on, ours is '{judge}' "
        f"({settings.kind}, from {settings.threshold} on); a difference of judges is in every difference below.",
        INCONSISTENT,
    ]
    columns: dict[str, Any] = {
        "source": column("source"),
        "model": column("model"),
        "what": _what,
        "seed": column("seed"),
        "paper": lambda row: f"{row['published']:g} {row['unit']}".strip(),
        "ours [95 % interval]": _ours,
        "paper in our interval": lambda row: ("yes" if row["inside"] else "no") if row["known"] else "–",
        "note": column("note"),
    }
    data = pl.DataFrame(rows, infer_schema_length=None).with_columns(pl.col("note").fill_null(""))
    caption = "Published numbers and ours. pp: change in percentage points. Models are matched by their hub names; the paper names neither its version of Mistral nor a hub name for what it calls Phi3.5-Tiny."
    table = table_from_frame(caption, data, 4, columns)
    return Section(
        "published", "Paper against ours", [*text, *([apart] if organisms else [])], tables=[table], finding=True
    )
