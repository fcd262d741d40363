"""Turn the judgements and grades of a study into its tables of results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim import config, summary, tables
from rim.files import write_json


def run(
    settings: dict[str, Any], judgements: list[Path], grades: list[Path], output: Path, outcomes: Path, metrics: Path
) -> None:
    study = config.load(settings["study"])
    keys = [tuple(key) for key in settings["runs"]]
    judged = {key: tables.read(path, tables.JUDGEMENT) for key, path in zip(keys, judgements, strict=True)}
    graded = {key: tables.read(path, tables.GRADE) for key, path in zip(keys, grades, strict=True)} if grades else {}
    found = summary.outcomes(study, judged, graded)
    tables.write(summary.outcome_table(found), tables.OUTCOME, outcomes)
    results = summary.results(study, found, summary.refusals(study, judged))
    for name, table in results.items():
        tables.write_results(table, output, name)
    write_json(metrics, summary.metrics(results["rates"]))
