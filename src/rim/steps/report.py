"""Write the report of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim import config, forgetting_tables, judge_tables, mechanism_tables, pattern_sections, pattern_tables
from rim.files import write_text
from rim.report import Material, read_timings, render
from rim.sections import SECTIONS, run_section
from rim.tables import read_results


def run(settings: dict[str, Any], tables: Path, figures: Path, timings: Path, requests: Path, output: Path) -> None:
    study = config.load(settings)
    drawn = {path.stem: path.read_text() for path in sorted(figures.glob("*.svg"))}
    found = read_results(tables) | read_results(tables, judge_tables.RESULTS)
    if study.has_patterns:
        found |= read_results(tables, pattern_tables.RESULTS)
    if study.mechanism:
        found |= read_results(tables, mechanism_tables.RESULTS)
    if study.forgetting:
        found |= read_results(tables, forgetting_tables.RESULTS)
    material = Material(study, found, drawn, read_timings(timings), pattern_sections.read_usage(requests))
    first = [section for section in SECTIONS if section is not run_section]
    write_text(output, render(material, [*first, *pattern_sections.SECTIONS, run_section]))
