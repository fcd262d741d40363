"""Write the report of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim import config, mechanism_tables
from rim.files import write_text
from rim.report import Material, read_timings, render
from rim.sections import SECTIONS
from rim.tables import read_results


def run(settings: dict[str, Any], tables: Path, figures: Path, timings: Path, output: Path) -> None:
    drawn = {path.stem: path.read_text() for path in sorted(figures.glob("*.svg"))}
    study, results = config.load(settings), read_results(tables)
    if study.mechanism:
        results |= read_results(tables, mechanism_tables.RESULTS)
    material = Material(study, results, drawn, read_timings(timings))
    write_text(output, render(material, SECTIONS))
