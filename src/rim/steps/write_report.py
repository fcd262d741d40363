"""Write the report of a study."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

from rim.config.study import Study
from rim.core.files import write_text
from rim.core.receipts import verified
from rim.report import pipeline
from rim.report.figures import catalogue
from rim.report.first_screen import first_screen
from rim.report.judges import read_usage
from rim.report.labels import names_of
from rim.report.page import Drawing, Material
from rim.report.render import render, vega
from rim.report.sections import SECTIONS
from rim.results.catalogue import tables_of
from rim.results.tables import read_results
from rim.settings import jobs
from rim.workflow import lineage, rule_graph


class Job(jobs.Job):
    study: Study
    tables: Path
    figures: Path
    timings: Path
    requests: Path
    records: Path  # Snakemake's, of every job
    run_logs: Path  # Snakemake's, of every run of the workflow
    report: Path
    pipeline: Path  # the study in a picture
    manifests: list[Path]  # receipts, of the models that were fetched


def run(job: Job) -> None:
    tables = read_results(list(chain(*tables_of(job.study).values())), job.tables)
    charts = catalogue.charts(catalogue.figures_of_study(job.study), tables, names_of(job.study))
    drawn = {name: path for name in charts if (path := job.figures / f"{name}.svg").exists()}
    files = [job.tables / f"{name}.csv" for name in sorted(tables)]
    jobs_before = lineage.trace(job.records, map(str, [*files, *drawn.values()]))
    fetched = [name for name, model in job.study.models.items() if model.hub]
    commits = {
        name: json.loads(verified(path).read_text())["commit"]
        for name, path in zip(fetched, job.manifests, strict=True)
    }
    material = Material(
        job.study,
        tables,
        {name: Drawing(path.read_text(), catalogue.interactive(charts[name])) for name, path in drawn.items()},
        lineage.read_timings(job.timings),
        commits,
        read_usage(job.requests),
        lineage.origins(jobs_before, files, job.timings),
        rule_graph.rule_graph(jobs_before, lineage.run_began(job.run_logs)),
    )
    write_text(job.pipeline, pipeline.picture(job.study, commits))
    write_text(job.report, render(material, first_screen(material), SECTIONS, vega()))
