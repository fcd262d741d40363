"""Turn the judgements and grades of a study into its tables of results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.config import load
from rim.core import contracts, tables
from rim.core.files import write_json
from rim.results import outcomes as outcomes_of
from rim.results import replies
from rim.results.tables import write_results


def run(
    settings: dict[str, Any], judgements: list[Path], grades: list[Path], output: Path, outcomes: Path, metrics: Path
) -> None:
    study = load.load_study(settings["study"])
    keys = [tuple(key) for key in settings["runs"]]
    judged = {key: tables.read(path, contracts.JUDGEMENT) for key, path in zip(keys, judgements, strict=True)}
    graded = {key: tables.read(path, contracts.GRADE) for key, path in zip(keys, grades, strict=True)} if grades else {}
    inputs = replies.Inputs(study, outcomes_of.outcomes(study, judged, graded), outcomes_of.refusals(study, judged))
    tables.write(outcomes_of.outcome_table(inputs.outcomes), contracts.OUTCOME, outcomes)
    written = write_results(replies.TABLES, inputs, output)
    write_json(metrics, replies.metrics(written["rates"]))
