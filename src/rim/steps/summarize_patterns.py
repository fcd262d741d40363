"""Turn annotations, rewrites and the replies after injection into tables of results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim import pattern_tables, tables
from rim.provenance import verified


def run(
    settings: dict[str, Any],
    annotations: list[Path],
    arms: list[Path],
    rewrites: list[Path],
    injected: list[Path],
    plain: list[Path],
    output: Path,
) -> None:
    """`annotations`, `arms` and `rewrites` are receipts."""
    annotated = {
        name: tables.read(verified(path), tables.ANNOTATION)
        for name, path in zip(settings["annotators"], annotations, strict=True)
    }
    trained = {
        name: tables.read(verified(path), tables.DATASET) for name, path in zip(settings["datasets"], arms, strict=True)
    }
    rewritten = {
        n: tables.read(verified(path), tables.REWRITE) for n, path in zip(settings["rewrites"], rewrites, strict=True)
    }
    judged = [
        {(model, seed): tables.read(path, tables.JUDGEMENT) for (model, seed), path in zip(runs, paths, strict=True)}
        for runs, paths in ((settings["injected"], injected), (settings["plain"], plain))
    ]
    made = {
        "pattern_shares": pattern_tables.pattern_shares(annotated),
        "annotator_agreement": pattern_tables.annotator_agreement(annotated),
        "arm_divergence": pattern_tables.arm_divergence(
            (target, trained[target], control, trained[control]) for target, control in settings["arms"]
        ),
        "rewrite_outcomes": pattern_tables.rewrite_outcomes(rewritten),
        "injection_effects": pattern_tables.injection_effects(*judged),
    }
    for name, table in made.items():
        tables.write_results(table, output, name)
