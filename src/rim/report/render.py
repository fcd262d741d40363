"""The report: one HTML file that opens offline.

An article: a summary, the study in a picture, then a claim, its figure and how to read that, section by section, with details,
tables and methods behind folds. Figures are shown as SVG at once and become interactive when they come into view: their
specifications and the Vega libraries that draw them lie in the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import count
from typing import Any

from rim.report.figures.catalogue import captioned_figures
from rim.report.figures.style import dark_rules
from rim.report.glossary import TERMS, explained
from rim.report.page import CaptionedFigure, FirstScreen, Material, Section
from rim.report.pipeline import picture


@cache
def vega() -> str:
    """The libraries that draw a Vega-Lite specification, as one script."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def in_script(value: Any) -> str:
    """JSON that may stand inside a script element, whatever its texts are.

    Not only `</script>` ends one: after `<!--` and `<script`, that does not. So no `<`, `>` or `&` is left, and nothing but ASCII.
    """
    text = json.dumps(value, separators=(",", ":"))
    for character in "<>&":  # in JSON, these stand in texts only
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def by_column(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The rows of a data set as columns: values in order, or, where few are different, these and the place of each row's in them.

    That is a sixth of the size, since rows name every column again. `rowsOf` in report.js makes rows of it.
    """
    columns: dict[str, Any] = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        place = {value: i for i, value in enumerate(dict.fromkeys(values))}
        few = 2 * len(place) <= len(values)
        columns[name] = {"values": list(place), "at": [place[value] for value in values]} if few else values
    return columns


def _small(spec: dict[str, Any]) -> dict[str, Any]:
    """A specification with its data by column."""
    return {**spec, "datasets": {name: by_column(rows) for name, rows in spec["datasets"].items()}}


def render(
    material: Material, first: FirstScreen, sections: Sequence[Callable[[Material], Section | None]], script: str
) -> str:
    """The HTML of the report: its first screen, and every section that has something to say with the figures declared for it.

    `script` are the libraries for the figures, see `vega`; without any figure none is needed.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    written = [section for write in sections if (section := write(material))]
    figures = {section.anchor: captioned_figures(material, section.anchor) for section in written}
    number(written, figures)
    specs = {each.name: _small(each.drawing.spec) for group in figures.values() for each in group if each.drawing.spec}
    environment = Environment(
        loader=PackageLoader("rim.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["explained"] = explained
    template = environment.get_template("report.html.j2")
    return template.render(
        study=material.study,
        first=first,
        pipeline=picture(material.study, material.commits),
        sections=written,
        figures=figures,
        terms=TERMS,
        dark=dark_rules(".live"),
        specs=in_script(specs),
        vega=script.replace("</script", "<\\/script"),
    )


def number(sections: Sequence[Section], figures: Mapping[str, Sequence[CaptionedFigure]]) -> None:
    """Number figures and tables in the order in which they stand; figures behind folds as S1, S2 and so on."""
    shown, folded, tables = count(1), count(1), count(1)
    for section in sections:
        for figure in figures[section.anchor]:
            hidden = figure.folded or not section.finding
            figure.number = f"S{next(folded)}" if hidden else str(next(shown))
        for table in section.tables:
            table.number = next(tables)
