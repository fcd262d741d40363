"""Prompts that are both trained on and asked, and prompts that are asked both as harmful and as harmless."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from rim.config.study import Study
from rim.core import tables
from rim.data.adapters import ADAPTERS, Published
from rim.preflight.findings import Findings, error, warning
from rim.preflight.known_rows import KnownRows, comes_later, prompt_keys
from rim.preflight.rows import trained_variants
from rim.settings.datasets import Source

Keys = set[str]  # of prompts


def findings(study: Study, datasets: Mapping[str, KnownRows], asked: Mapping[str, pl.DataFrame]) -> Findings:
    """What is trained on and asked: an error where it is one source, or all that is asked, else a warning.

    Args:
        asked: the rows that each benchmark asks.
    """
    prompts = {
        name: _keys(study.benchmarks[name].dataset, rows)
        for name, rows in asked.items()
        if datasets[study.benchmarks[name].dataset].source != "expected"
    }
    for name in study.benchmarks:
        yield from _trained_prompts(study, name, datasets, prompts.get(name))
    yield from _contradictions(study, prompts)


def _trained_prompts(study: Study, benchmark: str, datasets: Mapping[str, KnownRows], asked: Keys | None) -> Findings:
    """Which prompts of a benchmark are trained on, a line for all the variants that are trained on as many."""
    own_sources = origins(study, study.benchmarks[benchmark].dataset)
    shared: dict[tuple[str, bool], list[str]] = {}
    for variant, dataset, trained in _trained_on(study, datasets):
        same = not own_sources.isdisjoint(origins(study, dataset))
        if asked is None or trained is None:
            if same:
                shared.setdefault(("it asks what", True), []).append(variant)
        elif both := len(asked & trained):
            text = f"{both} of the {len(asked)} prompts that it asks are what"
            shared.setdefault((text, same or both == len(asked)), []).append(variant)
    for (text, wrong), variants in shared.items():
        them = f"{'variants' if len(variants) > 1 else 'variant'} {', '.join(variants)}"
        cure = "ask rows that are held out" if wrong else "take them out of one of the two datasets"
        verb = "are" if len(variants) > 1 else "is"
        yield (error if wrong else warning)(
            f"benchmarks.{benchmark}.dataset", f"{text} {them} {verb} trained on; {cure}"
        )


def _trained_on(study: Study, datasets: Mapping[str, KnownRows]) -> Iterator[tuple[str, str, Keys | None]]:
    """Every variant with a dataset that it is trained on, and which prompts of that where they are known."""
    for name in trained_variants(study):
        variant = study.variants[name]
        known = datasets.get(variant.dataset)
        real = known is not None and known.source != "expected"
        rows = known.table.head(variant.rows or known.table.height) if known is not None and real else None
        yield name, variant.dataset, None if rows is None else _keys(variant.dataset, rows)
        mitigation = variant.mitigation
        known = datasets.get(mitigation.dataset) if mitigation and mitigation.dataset else None
        if mitigation and mitigation.dataset and known is not None and known.source != "expected":
            refused = tables.first_by_id(known.table.filter(pl.col("kind") == "safety"), mitigation.rows)
            yield name, mitigation.dataset, _keys(mitigation.dataset, refused)


def _contradictions(study: Study, prompts: Mapping[str, Keys]) -> Findings:
    for harmful in study.measured("misalignment"):
        for harmless in study.measured("false_refusal"):
            if both := len(prompts.get(harmful, set()) & prompts.get(harmless, set())):
                yield warning(
                    f"benchmarks.{harmful}",
                    f"asks {both} prompts as harmful that benchmark '{harmless}' asks as harmless; take them out of one of the two",
                )


def _keys(dataset: str, rows: pl.DataFrame) -> Keys:
    return set(prompt_keys(dataset, rows))


def origins(study: Study, dataset: str) -> Keys:
    """What the sources of a dataset are made from: two datasets with one in common share prompts."""
    found = set()
    for source in study.datasets[dataset].sources:
        if source.dataset is not None:
            found |= origins(study, source.dataset)
        elif source.rewrite is None:
            found.add(_origin(source))
        elif source.arm != "literal":  # whose prompts are new
            found |= origins(study, study.rewrites[source.rewrite].dataset)
    return found


def _origin(source: Source) -> str:
    """A file, or a hub dataset and its split, whichever adapter reads it and whether or not it is the usual one."""
    if source.path is not None:
        return str(Path(source.path).resolve())
    if not comes_later(source):
        return source.model_dump_json()
    adapter = ADAPTERS[source.adapter]
    usual = (" ".join(adapter.hub), adapter.split) if isinstance(adapter, Published) else ("", "train")
    place = source.model_copy(update={"hub": source.hub or usual[0], "split": source.split or usual[1]})
    return place.model_dump_json(include={"hub", "subset", "split"})
