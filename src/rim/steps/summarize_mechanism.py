"""Turn the activation analyses of all runs into their tables of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rim.config.study import Study
from rim.core import contracts
from rim.core import tables as core_tables
from rim.results import mechanism, tables


def run(
    settings: dict[str, Any],
    probes: list[Path],
    scores: list[Path],
    heads: list[Path],
    effects: list[Path],
    sets: list[Path],
    ablated_scores: list[Path],
    judgements: list[Path],
    grades: list[Path],
    output: Path,
) -> None:
    study = Study.model_validate(settings["study"])
    runs, head_runs, ablated_runs = (
        [(model, variant, seed) for model, variant, seed in settings[name]]
        for name in ("runs", "head_runs", "ablated_runs")
    )

    def read(paths: list[Path], keys: list[mechanism.Run], contract: contracts.Contract) -> Any:
        """The tables of each run; `paths` may hold several for each, one round of all runs after the other."""
        found: dict[mechanism.Run, list[Any]] = {key: [] for key in keys}
        for i, path in enumerate(paths):
            found[keys[i % len(keys)]].append(core_tables.read(path, contract))
        return found

    score_tables = read(scores, runs, contracts.SCORES)
    for key, more in read(ablated_scores, ablated_runs, contracts.SCORES).items():
        score_tables[key] += more
    judged = read(judgements, ablated_runs, contracts.JUDGEMENT)
    graded = read(grades, ablated_runs, contracts.GRADE)
    rows = [
        row
        for key, path in zip(ablated_runs, sets, strict=True)
        for row in mechanism.ablation_rows(study, key, judged[key] + graded[key], json.loads(path.read_text()))
    ]
    results = {
        "probes": mechanism.stacked("probes", read(probes, runs, contracts.PROBES)),
        "probe_scores": mechanism.stacked("probe_scores", score_tables),
        "heads": mechanism.stacked("heads", read(heads, head_runs, contracts.HEADS)),
        "head_effects": mechanism.stacked("head_effects", read(effects, ablated_runs, contracts.EFFECTS)),
        "ablation_effects": mechanism.ablation_effects(rows),
    }
    for name, table in results.items():
        tables.write_results(table, output, name)
