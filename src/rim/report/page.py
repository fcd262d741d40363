"""What a page of the report is made of: sections with text, figures and tables.

A section is a function from `Material` to `Section` (or None when the study has nothing to say there). To add one, write
the function and put it into the tuple `SECTIONS` of `rim.report.sections`. Figures are not its concern: each declares the
section that shows it, see `rim.report.figures.declaration`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from rim.config.study import Study

LARGEST = 400_000  # bytes of an SVG that the report holds


@dataclass
class Drawing:
    """A figure as it was drawn (SVG text), and its Vega-Lite specification; None when there was nothing to show."""

    svg: str
    spec: dict[str, Any] | None

    @property
    def source(self) -> str:
        """The SVG as the address of an image; empty for one of very many marks, which is only drawn when looked at.

        It may stand in an attribute between double quotes as it is, and is a quarter shorter than in base64.
        """
        from markupsafe import Markup

        if len(self.svg) > LARGEST:
            return ""
        text = self.svg.translate(
            {ord("%"): "%25", ord("#"): "%23", ord("&"): "%26", ord("'"): "%26apos;", ord('"'): "'"}
        )
        return Markup(f"data:image/svg+xml;charset=utf-8,{text}")


@dataclass
class Material:
    """What sections are made of: the study, its tables and drawings, and what is known of the jobs that made them."""

    study: Study
    tables: dict[str, pl.DataFrame]
    drawings: dict[str, Drawing]
    timings: pl.DataFrame
    commits: dict[str, str | None] = field(default_factory=dict)  # of hub models, None of those in a local folder
    usage: list[dict[str, Any]] = field(default_factory=list)  # of language models
    origins: list[dict[str, Any]] = field(default_factory=list)  # of tables, see rim.workflow.lineage
    dag: str = ""  # SVG


@dataclass
class CaptionedFigure:
    """A drawing with its caption; one behind a fold is numbered apart."""

    name: str
    drawing: Drawing
    caption: str
    folded: bool
    number: str = ""


@dataclass
class TableRow:
    """One row; `clear` is False for an estimate that is not significant, which is shown in grey."""

    cells: list[str]
    clear: bool = True


@dataclass
class Table:
    """A table whose first `keys` columns name the row."""

    caption: str
    header: list[str]
    keys: int
    rows: list[TableRow]
    number: int = 0


@dataclass
class Section:
    """One part of the report, known by its `anchor`.

    With `finding`, the first paragraph says what was found and stands above the figures; all else is behind a fold.
    """

    anchor: str
    title: str
    text: list[str]
    tables: list[Table] = field(default_factory=list)
    finding: bool = False
    picture: str = ""  # SVG
    preformatted_title: str = ""
    preformatted: str = ""


@dataclass
class Contrast:
    """One question to the models, and what all of them answered."""

    name: str
    text: str
    clear: bool


@dataclass
class FirstScreen:
    """What the models are, the answer in words, where in the models, and how far the answer reaches."""

    subject: str
    answer: str
    where: list[str]
    reach: list[str]
