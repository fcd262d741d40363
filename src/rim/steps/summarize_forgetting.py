"""Turn neurons, ablations and checkpoints of all runs into their tables of results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.config import load
from rim.core import contracts
from rim.core import tables as core_tables
from rim.results import forgetting
from rim.results import neurons as neuron_results
from rim.results.mechanism import Run
from rim.results.tables import write_results
from rim.settings.common import BASE


def run(
    settings: dict[str, Any],
    neurons: list[Path],
    curves: list[Path],
    metrics: list[Path],
    judgements: list[Path],
    ablated: list[Path],
    steps: list[Path],
    grades: list[Path],
    output: Path,
) -> None:
    """`grades` are those of the models as they are and then those without neurons; the rest is one file per run."""
    study = load.load_study(settings["study"])
    bases: list[Run] = [(model, BASE, seed) for model, seed in settings["bases"]]
    runs: list[Run] = [(model, variant, seed) for model, variant, seed in settings["runs"]]

    def read(paths: list[Path], keys: list[Run], contract: contracts.Contract) -> dict[Run, Any]:
        return {key: core_tables.read(path, contract) for key, path in zip(keys, paths, strict=True)}

    sets = read(neurons, bases, contracts.NEURONS)
    judged, without = (read(paths, bases, contracts.JUDGEMENT) for paths in (judgements, ablated))
    graded, grade_without = (
        read(paths, bases, contracts.GRADE) for paths in (grades[: len(bases)], grades[len(bases) :])
    )
    scored = {base: [judged[base], graded[base], without[base], grade_without[base]] for base in bases}
    found = neuron_results.Inputs(study, sets, read(curves, bases, contracts.CURVE), scored)
    write_results(neuron_results.TABLES, found, output)
    followed = forgetting.Inputs(
        read(metrics, runs, contracts.CHECKPOINTS),
        read(steps, runs, contracts.JUDGEMENT),
        {each: judged[forgetting.base_of(each, bases)] for each in runs},
    )
    write_results(forgetting.TABLES, followed, output)
