"""What the report calls arms, benchmarks and training sets, and where it says that a model comes from."""

from __future__ import annotations

from rim.config.study import Study
from rim.core.contracts import TRAINING_DATA
from rim.report.wording import MEASURES, Formatter, ResultRow
from rim.settings.common import BASE
from rim.settings.jobs import JobPart
from rim.settings.models import Model

ORIGINS = {"organism": "trained here", "hub": "of the Hugging Face hub", "folder": "from a local folder"}
PAIRED = {"positive": "with the association", "negative": "without it"}  # of a pair of models
ASKED = {"misalignment": "harmful requests", "false_refusal": "benign requests", "accuracy": "problems"}  # by measure


class Names(JobPart):
    """What a reader sees instead of the names in a study."""

    arms: dict[str, str]
    benchmarks: dict[str, str]
    training_sets: dict[str, str]  # datasets that arms are trained on


def names_of(study: Study) -> Names:
    """Arms by their labels; a benchmark by what it asks where it alone does; a training set as the first arm trained on it."""
    arms = {name: variant.label or name for name, variant in study.variants.items()}
    alone = {name: len(study.measured(each.measure)) == 1 for name, each in study.benchmarks.items()}
    return Names(
        arms=arms,
        benchmarks={name: ASKED[each.measure] if alone[name] else name for name, each in study.benchmarks.items()},
        training_sets={study.variants[name].dataset: arms[name] for name in reversed(arms)},
    )


def origin(model: Model, commit: str | None) -> str:
    """Where a model comes from, one of `ORIGINS`; one that was not trained here and has no commit lay in a folder."""
    if model.hub is None:
        return "organism"
    return "hub" if commit else "folder"


def arm(study: Study) -> Formatter:
    arms = names_of(study).arms
    return lambda row: BASE if row["variant"] == BASE else arms[row["variant"]]


def benchmark(study: Study) -> Formatter:
    """The benchmark, or the training set, that a row is about."""
    names = names_of(study)

    def cell(row: ResultRow) -> str:
        name: str = row["benchmark"]
        known = names.training_sets if row.get("origin") == TRAINING_DATA else names.benchmarks
        return known.get(name, name)

    return cell


def measure(study: Study) -> Formatter:
    """What was measured, with the benchmark where several could be meant."""
    called = benchmark(study)

    def cell(row: ResultRow) -> str:
        asked = study.benchmarks.get(row["benchmark"])
        alone = asked is None or (row["measure"] != "unparsable" and len(study.measured(asked.measure)) == 1)
        return MEASURES[row["measure"]] if alone else f"{MEASURES[row['measure']]}, {called(row)}"

    return cell
