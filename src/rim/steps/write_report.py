"""Write the report of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.config import load
from rim.core.files import write_text
from rim.report.figures import catalogue
from rim.report.first_screen import first_screen
from rim.report.judges import read_usage
from rim.report.labels import arm_labels
from rim.report.page import Drawing, Material
from rim.report.render import render, vega
from rim.report.sections import SECTIONS
from rim.results import contracts
from rim.results.tables import read_results
from rim.workflow import lineage, rule_graph


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
    study = load.load_study(settings)
    found = read_results(tables) | read_results(tables, contracts.JUDGE_TABLES)
    if study.has_patterns:
        found |= read_results(tables, contracts.PATTERN_TABLES)
    if study.mechanism:
        found |= read_results(tables, contracts.MECHANISM_TABLES)
    if study.forgetting:
        found |= read_results(tables, contracts.FORGETTING_TABLES)
    charts = catalogue.charts(catalogue.figures_of_study(study), found, arm_labels(study))
    drawn = {path.stem: path.read_text() for path in figures.glob("*.svg") if path.stem in charts}
    files = [tables / f"{name}.csv" for name in sorted(found)]
    behind = lineage.trace(records, map(str, [*files, *figures.glob("*.svg")]))
    material = Material(
        study,
        found,
        {name: Drawing(svg, catalogue.interactive(charts[name])) for name, svg in drawn.items()},
        lineage.read_timings(timings),
        read_usage(requests),
        lineage.origins(behind, files, timings),
        rule_graph.rule_graph(behind, lineage.run_began(logs)),
    )
    write_text(output, render(material, first_screen(material), SECTIONS, vega()))
