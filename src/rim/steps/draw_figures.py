"""Draw the figures of a study from its tables, as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.core.files import write_text
from rim.report.figures import catalogue
from rim.results import contracts
from rim.results.tables import read_results


def run(settings: dict[str, Any], tables: Path, output: Path) -> None:
    import vl_convert

    found = read_results(tables)
    if settings["injection"]:
        found |= read_results(tables, contracts.PATTERN_TABLES)
    if settings["mechanism"]:
        found |= read_results(tables, contracts.MECHANISM_TABLES)
    if settings["forgetting"]:
        found |= read_results(tables, contracts.FORGETTING_TABLES)
    for name, chart in catalogue.charts(catalogue.FIGURES, found, settings["labels"]).items():
        write_text(output / f"{name}.svg", vl_convert.vegalite_to_svg(chart.to_json()))
