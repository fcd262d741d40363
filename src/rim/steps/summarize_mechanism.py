"""Turn the activation analyses of all runs into their tables of results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.config import load
from rim.core import contracts
from rim.core import tables as core_tables
from rim.results import mechanism
from rim.results.tables import write_results


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
    study = load.load_study(settings["study"])
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
    inputs = mechanism.Inputs(
        study,
        read(probes, runs, contracts.PROBES),
        score_tables,
        read(heads, head_runs, contracts.HEADS),
        read(effects, ablated_runs, contracts.EFFECTS),
        {run: judged[run] + graded[run] for run in ablated_runs},
        {run: part for run, (part,) in read(sets, ablated_runs, contracts.ABLATED_HEADS).items()},
    )
    write_results(mechanism.TABLES, inputs, output)
