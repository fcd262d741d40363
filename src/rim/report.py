"""The report: one HTML file that opens offline.

A section is a function from `Material` to `Section` (or None when the study has nothing to say there). To add one, write
the function in `sections.py` and put it into its list `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from rim.config import Study


@dataclass
class Material:
    """What sections are made of: the study, its tables, its figures (SVG text) and the timings of its jobs."""

    study: Study
    tables: dict[str, pl.DataFrame]
    figures: dict[str, str]
    timings: pl.DataFrame
    usage: list[dict[str, Any]] = field(default_factory=list)  # of language models


@dataclass
class Figure:
    """A drawing with its caption."""

    svg: str
    caption: str


@dataclass
class TableRow:
    """One row; `clear` is False for an estimate whose interval contains no effect, which is shown in grey."""

    cells: list[str]
    clear: bool = True


@dataclass
class Table:
    """A table whose first `keys` columns name the row."""

    caption: str
    header: list[str]
    keys: int
    rows: list[TableRow]


@dataclass
class Section:
    """One part of the report; with `finding`, the first paragraph is set off as what was found."""

    anchor: str
    title: str
    text: list[str]
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    finding: bool = False
    preformatted_title: str = ""
    preformatted: str = ""


def read_timings(folder: Path) -> pl.DataFrame:
    """Jobs, wall seconds and peak memory per rule, from the benchmark files under `folder`/{rule}/."""
    rows = []
    for rule in sorted(path for path in folder.glob("*") if path.is_dir()):
        files = sorted(rule.rglob("*.tsv"))
        jobs = [pl.read_csv(file, separator="\t", null_values=["NA", "-"], infer_schema_length=None) for file in files]
        if jobs:
            totals = {column: [float(job[column][0] or 0) for job in jobs] for column in ("s", "max_rss")}
            rows.append(
                {
                    "rule": rule.name,
                    "jobs": len(jobs),
                    "wall": sum(totals["s"]),
                    "memory": max(totals["max_rss"]),
                }
            )
    return pl.DataFrame(rows, schema={"rule": pl.String, "jobs": pl.Int64, "wall": pl.Float64, "memory": pl.Float64})


def render(material: Material, sections: Sequence[Callable[[Material], Section | None]]) -> str:
    """The HTML of the report: every section that has something to say."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    study = material.study
    models = [
        f"{name} ({'organism trained here' if model.organism else model.hub})" for name, model in study.models.items()
    ]
    lead = f"Study '{study.study}': does reasoning make these models comply more often with requests they should refuse? Models: {', '.join(models)}."
    made = [section for make in sections if (section := make(material))]
    template = Environment(loader=PackageLoader("rim"), autoescape=True, undefined=StrictUndefined).get_template(
        "report.html.j2"
    )
    return template.render(title=study.title, lead=lead, sections=made)
