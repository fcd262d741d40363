"""Turn the activation analyses of all runs into their tables of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rim import config, mechanism_summary, mechanism_tables, tables


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
    study = config.load(settings["study"])
    runs, head_runs, ablated_runs = (
        [(model, variant, seed) for model, variant, seed in settings[name]]
        for name in ("runs", "head_runs", "ablated_runs")
    )

    def read(paths: list[Path], keys: list[mechanism_summary.Run], contract: tables.Contract) -> Any:
        """The tables of each run; `paths` may hold several for each, one round of all runs after the other."""
        found: dict[mechanism_summary.Run, list[Any]] = {key: [] for key in keys}
        for i, path in enumerate(paths):
            found[keys[i % len(keys)]].append(tables.read(path, contract))
        return found

    score_tables = read(scores, runs, mechanism_tables.SCORES)
    for key, more in read(ablated_scores, ablated_runs, mechanism_tables.SCORES).items():
        score_tables[key] += more
    judged = read(judgements, ablated_runs, tables.JUDGEMENT)
    graded = read(grades, ablated_runs, tables.GRADE)
    rows = [
        row
        for key, path in zip(ablated_runs, sets, strict=True)
        for row in mechanism_summary.ablation_rows(study, key, judged[key] + graded[key], json.loads(path.read_text()))
    ]
    results = {
        "probes": mechanism_summary.stacked("probes", read(probes, runs, mechanism_tables.PROBES)),
        "probe_scores": mechanism_summary.stacked("probe_scores", score_tables),
        "heads": mechanism_summary.stacked("heads", read(heads, head_runs, mechanism_tables.HEADS)),
        "head_effects": mechanism_summary.stacked(
            "head_effects", read(effects, ablated_runs, mechanism_tables.EFFECTS)
        ),
        "ablation_effects": mechanism_summary.ablation_effects(rows),
    }
    for name, table in results.items():
        tables.write_results(table, output, name)
