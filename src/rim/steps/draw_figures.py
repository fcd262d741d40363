"""Draw the figures of a study from its tables, as SVG."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from rim.core.files import write_text
from rim.report.figures.catalogue import charts, figure_by_name
from rim.report.figures.style import as_svg
from rim.report.labels import Names
from rim.results.catalogue import TABLES
from rim.results.tables import read_results
from rim.settings import jobs


class Job(jobs.Job):
    names: list[str]
    labels: Names
    tables: Path
    figures: Path


def run(job: Job) -> None:
    figures = [figure_by_name(name) for name in job.names]
    needed = {name for figure in figures for name in figure.tables}
    tables = read_results([each for each in chain(*TABLES.values()) if each.name in needed], job.tables)
    for name, chart in charts(figures, tables, job.labels).items():
        write_text(job.figures / f"{name}.svg", as_svg(chart))
