"""The report: one HTML file that opens offline.

A section is a function from `Material` to `Section` (or None when the study has nothing to say there). To add one, write
the function and put it into the list `SECTIONS` of `sections.py`. Figures are shown as SVG at once and become interactive
when they come into view: their specifications and the Vega libraries that draw them lie in the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl

from rim.config import Study

if TYPE_CHECKING:
    from rim.first_screen import FirstScreen


LARGEST = 800_000  # bytes of an SVG that the report holds


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
    usage: list[dict[str, Any]] = field(default_factory=list)  # of language models
    origins: list[dict[str, Any]] = field(default_factory=list)  # of tables, see rim.lineage
    dag: str = ""  # SVG


@dataclass
class Figure:
    """A drawing with its caption."""

    name: str
    drawing: Drawing
    caption: str


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


@dataclass
class Section:
    """One part of the report; with `finding`, the first paragraph is set off as what was found."""

    anchor: str
    title: str
    text: list[str]
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    finding: bool = False
    picture: str = ""  # SVG
    preformatted_title: str = ""
    preformatted: str = ""


@cache
def vega() -> str:
    """The libraries that draw a Vega-Lite specification, as one script."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def in_script(value: Any) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(value, separators=(",", ":")).replace("</", "<\\/")


def render(
    material: Material, first: FirstScreen, sections: Sequence[Callable[[Material], Section | None]], script: str
) -> str:
    """The HTML of the report: its first screen, and every section that has something to say.

    `script` are the libraries for the figures, see `vega`; without any figure none is needed.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = [section for make in sections if (section := make(material))]
    specs = {figure.name: figure.drawing.spec for section in made for figure in section.figures}
    environment = Environment(loader=PackageLoader("rim"), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.get_template("report.html.j2")
    return template.render(
        study=material.study, first=first, sections=made, specs=in_script(specs), vega=script.replace("</script", "<\\/script")
    )  # fmt: skip
