"""The files of datasets, read as the workflow would read them, and what every step would get of their rows."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from rim.config.study import Study
from rim.core.errors import UserError
from rim.data.adapters import ADAPTERS, Published
from rim.models.benchmarks import asked_rows
from rim.preflight import leakage, rows
from rim.preflight.findings import Findings, error, warning
from rim.preflight.known_rows import KnownRows, comes_later, known_rows
from rim.preflight.todo import Todo
from rim.settings.datasets import Source


def findings(study: Study, todo: Todo) -> Findings:
    """Local files that cannot be read, steps without the rows they need, and prompts both trained on and asked.

    A dataset of the hub that no earlier run has read is taken to be as large as is published.

    Args:
        todo: the jobs that are to run; a file that is gone matters to one of these only.
    """
    datasets: dict[str, KnownRows] = {}
    for name in used_datasets(study):
        try:
            datasets[name] = known_rows(study, name, todo("prepare_dataset", name))
        except UserError as problem:
            yield from _unreadable_sources(study, name, problem)
    asked: dict[str, pl.DataFrame] = {}
    for name, benchmark in study.benchmarks.items():
        if (known := datasets.get(benchmark.dataset)) is not None:
            try:
                asked[name] = asked_rows(name, benchmark, known.table)
            except UserError as problem:
                where, _, what = str(problem).partition(": ")
                yield (error if known.certain else warning)(where, what)
    yield from rows.findings(study, datasets, asked)
    yield from leakage.findings(study, datasets, asked)


def used_datasets(study: Study) -> list[str]:
    """The datasets that some job reads."""
    names = [benchmark.dataset for benchmark in study.benchmarks.values()]
    for variant in study.variants.values():
        mitigation = variant.mitigation.dataset if variant.mitigation else None
        names += [variant.dataset, *([mitigation] if mitigation else [])]
    names += [rewrite.dataset for rewrite in study.rewrites.values()]
    for name in names:  # which grows meanwhile
        names += [each.dataset for each in study.datasets[name].sources if each.dataset and each.dataset not in names]
    return list(dict.fromkeys(names))


def _unreadable_sources(study: Study, name: str, problem: UserError) -> Findings:
    """Which of a dataset's sources cannot be read; the dataset itself when each can."""
    several = False
    for number, source in enumerate(study.datasets[name].sources):
        if not comes_later(source):
            try:
                ADAPTERS[source.adapter].load(source)
            except UserError as own:
                several = True
                yield error(f"datasets.{name}.sources.{number}.path", f"{own}{_expected_columns(source)}")
    if not several:
        yield error(f"datasets.{name}", str(problem))


def _expected_columns(source: Source) -> str:
    """What the adapter reads, where a file can be read but is not what it should be."""
    adapter = ADAPTERS[source.adapter]
    if not isinstance(adapter, Published) or source.path is None:
        return ""
    try:
        adapter.read(Path(source.path))
    except UserError:
        return ""
    return f"; adapter '{source.adapter}' reads {adapter.columns}"
