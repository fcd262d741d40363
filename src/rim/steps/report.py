"""Write the report of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim import config, dag, drawings, forgetting_tables, judge_tables, lineage, mechanism_tables, pattern_tables
from rim.files import write_text
from rim.first_screen import first_screen
from rim.pattern_sections import read_usage
from rim.report import Drawing, Material, render, vega
from rim.sections import SECTIONS
from rim.tables import read_results
from rim.wording import labels


def run(
    settings: dict[str, Any],
    tables: Path,
    figures: Path,
    timings: Path,
    requests: Path,
    records: Path,
    logs: Path,
    output: Path,
) -> None:
    """`records` and `logs` are Snakemake's: of every job, and of every run of the workflow."""
    study = config.load(settings)
    found = read_results(tables) | read_results(tables, judge_tables.RESULTS)
    if study.has_patterns:
        found |= read_results(tables, pattern_tables.RESULTS)
    if study.mechanism:
        found |= read_results(tables, mechanism_tables.RESULTS)
    if study.forgetting:
        found |= read_results(tables, forgetting_tables.RESULTS)
    charts = drawings.charts(found, labels(study))
    drawn = {path.stem: path.read_text() for path in figures.glob("*.svg") if path.stem in charts}
    files = [tables / f"{name}.csv" for name in sorted(found)]
    behind = lineage.trace(records, map(str, [*files, *figures.glob("*.svg")]))
    material = Material(
        study,
        found,
        {name: Drawing(svg, drawings.interactive(charts[name])) for name, svg in drawn.items()},
        lineage.read_timings(timings),
        read_usage(requests),
        lineage.origins(behind, files, timings),
        dag.rule_graph(behind, lineage.run_began(logs)),
    )
    write_text(output, render(material, first_screen(material), SECTIONS, vega()))
