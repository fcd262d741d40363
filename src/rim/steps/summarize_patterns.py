"""Turn annotations, rewrites and the replies after injection into tables of results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim.core import contracts, tables
from rim.core.receipts import verified
from rim.results.patterns import TABLES, Inputs
from rim.results.tables import write_results


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
        name: tables.read(verified(path), contracts.ANNOTATION)
        for name, path in zip(settings["annotators"], annotations, strict=True)
    }
    trained = {
        name: tables.read(verified(path), contracts.DATASET)
        for name, path in zip(settings["datasets"], arms, strict=True)
    }
    rewritten = {
        n: tables.read(verified(path), contracts.REWRITE)
        for n, path in zip(settings["rewrites"], rewrites, strict=True)
    }
    injected_judged, plain_judged = (
        {(model, seed): tables.read(path, contracts.JUDGEMENT) for (model, seed), path in zip(runs, paths, strict=True)}
        for runs, paths in ((settings["injected"], injected), (settings["plain"], plain))
    )
    inputs = Inputs(annotated, trained, settings["arms"], rewritten, injected_judged, plain_judged)
    write_results(TABLES, inputs, output)
