"""Draw the figures of a study from its tables, as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.core.files import write_text
from rim.report.figures import catalogue
from rim.results.catalogue import TABLES
from rim.results.tables import read_results


def run(settings: dict[str, Any], tables: Path, output: Path) -> None:
    import vl_convert

    found = read_results(TABLES["summarize"], tables)
    for section in ("mechanism", "forgetting"):
        if settings[section]:
            found |= read_results(TABLES[f"summarize_{section}"], tables)
    if settings["injection"]:
        found |= read_results(TABLES["summarize_patterns"], tables)
    for name, chart in catalogue.charts(found, settings["labels"]).items():
        write_text(output / f"{name}.svg", vl_convert.vegalite_to_svg(chart.to_json()))
