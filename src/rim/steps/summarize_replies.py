"""Turn the judgements and grades of a study into its tables of results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.config import load
from rim.core import contracts, tables
from rim.core.files import write_json
from rim.results import replies
from rim.results import tables as results_tables


def run(
    settings: dict[str, Any], judgements: list[Path], grades: list[Path], output: Path, outcomes: Path, metrics: Path
) -> None:
    study = load.load_study(settings["study"])
    keys = [tuple(key) for key in settings["runs"]]
    judged = {key: tables.read(path, contracts.JUDGEMENT) for key, path in zip(keys, judgements, strict=True)}
    graded = {key: tables.read(path, contracts.GRADE) for key, path in zip(keys, grades, strict=True)} if grades else {}
    found = replies.outcomes(study, judged, graded)
    tables.write(replies.outcome_table(found), contracts.OUTCOME, outcomes)
    results = replies.results(study, found, replies.refusals(study, judged))
    for name, table in results.items():
        results_tables.write_results(table, output, name)
    write_json(metrics, replies.metrics(results["rates"]))
