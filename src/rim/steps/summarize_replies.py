"""Turn the judgements and grades of a study into its tables of results."""

from __future__ import annotations

from pathlib import Path

from rim.config.study import Study
from rim.core import contracts, tables
from rim.core.files import write_json
from rim.results import doses, outcomes, replies
from rim.results.tables import write_results
from rim.settings import jobs


class Job(jobs.Job):
    study: Study
    runs: list[jobs.Run]
    judgements: list[Path]  # of every run
    grades: list[Path]  # of every run; none where no benchmark is of maths
    folder: Path
    outcomes: Path
    metrics: list[Path]  # {model}.json


def run(job: Job) -> None:
    judged = tables.read_each(job.runs, job.judgements, contracts.JUDGEMENT)
    graded = tables.read_each(job.runs, job.grades, contracts.GRADE) if job.grades else {}
    inputs = replies.Inputs(
        job.study,
        outcomes.outcomes(job.study, judged, graded),
        outcomes.refusals(job.study, judged),
        outcomes.incoherent(judged),
    )
    tables.write(outcomes.outcome_table(inputs.outcomes), contracts.OUTCOME, job.outcomes)
    written = write_results((*replies.TABLES, *doses.TABLES), inputs, job.folder)
    metrics = replies.metrics(job.study, written["rates"])
    for path in job.metrics:
        write_json(path, metrics.get(path.stem, {}))
