"""Turn neurons, ablations and checkpoints of all runs into their tables of results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim import config, forgetting_tables, tables
from rim import forgetting_summary as summary
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
    study = config.load(settings["study"])
    bases: list[summary.Run] = [(model, BASE, seed) for model, seed in settings["bases"]]
    runs: list[summary.Run] = [(model, variant, seed) for model, variant, seed in settings["runs"]]

    def read(paths: list[Path], keys: list[summary.Run], contract: tables.Contract) -> dict[summary.Run, Any]:
        return {key: tables.read(path, contract) for key, path in zip(keys, paths, strict=True)}

    sets = read(neurons, bases, forgetting_tables.NEURONS)
    judged, without = (read(paths, bases, tables.JUDGEMENT) for paths in (judgements, ablated))
    graded, grade_without = (read(paths, bases, tables.GRADE) for paths in (grades[: len(bases)], grades[len(bases) :]))
    scored = {base: [judged[base], graded[base], without[base], grade_without[base]] for base in bases}
    checkpoints = summary.keyed("checkpoints", read(metrics, runs, forgetting_tables.CHECKPOINTS))
    before = {each: judged[summary.base_of(each, bases)] for each in runs}
    rates = summary.checkpoint_rates(read(steps, runs, tables.JUDGEMENT), before)
    effects = summary.neuron_effects(study, scored, sets)
    found = summary.series(checkpoints, rates)
    made = {
        "neuron_layers": summary.neuron_layers(sets),
        "neuron_stability": summary.keyed("neuron_stability", read(curves, bases, forgetting_tables.CURVE)),
        "neuron_effects": effects,
        "neuron_effect_summary": summary.neuron_effect_summary(effects),
        "checkpoints": checkpoints,
        "checkpoint_rates": rates,
        "correlations": summary.correlations(found),
        "correlations_over_runs": summary.correlations_over_runs(found),
        "early_warnings": summary.early_warnings(checkpoints, rates),
        "forgetting_predictions": summary.forgetting_predictions(found, rates),
    }
    for name, table in made.items():
        tables.write_results(table, output, name)
