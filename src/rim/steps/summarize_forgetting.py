"""Turn neurons, ablations and checkpoints of all runs into their tables of results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.config.study import Study
from rim.core import contracts
from rim.core import tables as core_tables
from rim.results import forgetting, tables
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
    study = Study.model_validate(settings["study"])
    bases: list[forgetting.Run] = [(model, BASE, seed) for model, seed in settings["bases"]]
    runs: list[forgetting.Run] = [(model, variant, seed) for model, variant, seed in settings["runs"]]

    def read(paths: list[Path], keys: list[forgetting.Run], contract: contracts.Contract) -> dict[forgetting.Run, Any]:
        return {key: core_tables.read(path, contract) for key, path in zip(keys, paths, strict=True)}

    sets = read(neurons, bases, contracts.NEURONS)
    judged, without = (read(paths, bases, contracts.JUDGEMENT) for paths in (judgements, ablated))
    graded, grade_without = (
        read(paths, bases, contracts.GRADE) for paths in (grades[: len(bases)], grades[len(bases) :])
    )
    scored = {base: [judged[base], graded[base], without[base], grade_without[base]] for base in bases}
    checkpoints = forgetting.keyed("checkpoints", read(metrics, runs, contracts.CHECKPOINTS))
    before = {each: judged[forgetting.base_of(each, bases)] for each in runs}
    rates = forgetting.checkpoint_rates(read(steps, runs, contracts.JUDGEMENT), before)
    effects = forgetting.neuron_effects(study, scored, sets)
    found = forgetting.series(checkpoints, rates)
    made = {
        "neuron_layers": forgetting.neuron_layers(sets),
        "neuron_stability": forgetting.keyed("neuron_stability", read(curves, bases, contracts.CURVE)),
        "neuron_effects": effects,
        "neuron_effect_summary": forgetting.neuron_effect_summary(effects),
        "checkpoints": checkpoints,
        "checkpoint_rates": rates,
        "correlations": forgetting.correlations(found),
        "correlations_over_runs": forgetting.correlations_over_runs(found),
        "early_warnings": forgetting.early_warnings(checkpoints, rates),
        "forgetting_predictions": forgetting.forgetting_predictions(found, rates),
    }
    for name, table in made.items():
        tables.write_results(table, output, name)
