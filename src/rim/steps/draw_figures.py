"""Draw the figures of a study from its tables, as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim import drawings, forgetting_tables, mechanism_tables, pattern_tables
from rim.files import write_text
from rim.tables import read_results


def run(settings: dict[str, Any], tables: Path, output: Path) -> None:
    import vl_convert

    found = read_results(tables)
    if settings["injection"]:
        found |= read_results(tables, pattern_tables.RESULTS)
    if settings["mechanism"]:
        found |= read_results(tables, mechanism_tables.RESULTS)
    if settings["forgetting"]:
        found |= read_results(tables, forgetting_tables.RESULTS)
    for name, chart in drawings.charts(found, settings["labels"]).items():
        write_text(output / f"{name}.svg", vl_convert.vegalite_to_svg(chart.to_json()))
