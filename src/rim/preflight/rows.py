"""The rows that steps need, and those that they would get: by benchmark and split, to train on, and to rewrite."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from rim.config import runs
from rim.config.study import Study
from rim.preflight.findings import Finding, Findings, error, warning
from rim.preflight.known_rows import KnownRows
from rim.settings.common import BASE
from rim.settings.inference import ASKED


def findings(study: Study, datasets: Mapping[str, KnownRows], asked: Mapping[str, pl.DataFrame]) -> Findings:
    """What lacks rows.

    Args:
        asked: the rows that each benchmark asks.
    """
    lacking = set()
    for need in sorted(needs(study), key=lambda each: -each.least):
        place = (need.benchmark, need.split)
        if need.benchmark in asked and place not in lacking:
            known = datasets[study.benchmarks[need.benchmark].dataset]
            for finding in _lack(study, need, known, asked[need.benchmark]):
                lacking.add(place)
                yield finding
    yield from _training(study, datasets)
    yield from _rewrites(study, datasets)


@dataclass(frozen=True)
class Need:
    """Rows of one split, or of any where it is None, that a benchmark must ask."""

    benchmark: str
    split: str | None
    least: int
    purpose: str
    cure: str = "fewer categories"  # beside more rows


def needs(study: Study) -> Iterator[Need]:
    """What the analyses of a study need; that every benchmark asks some row is no matter of these."""
    mechanism, forgetting = study.mechanism, study.forgetting
    if mechanism and runs.analysed_runs(study):
        for name in (mechanism.harmful, mechanism.harmless):
            yield Need(name, "calibration", 2, "probes and heads, which are found there, need")
            yield Need(name, "evaluation", 1, "probes, which are tested there, need")
    if forgetting and runs.neuron_runs(study):
        split = "calibration" if forgetting.held_out else None
        yield Need(forgetting.harmful, split, forgetting.pairs, "forgetting.pairs asks for", "lower it")
    if mechanism and runs.ablated_runs(study):
        for name in runs.ablated_benchmarks(study, mechanism):
            yield Need(name, "evaluation", 1, "the ablation of heads, which is tried there, needs")
    if forgetting and forgetting.held_out and runs.neuron_runs(study):
        for name in runs.ablated_benchmarks(study, forgetting):
            yield Need(name, "evaluation", 1, "the ablation of neurons, which is tried there, needs")


def _lack(study: Study, need: Need, known: KnownRows, asked: pl.DataFrame) -> Iterator[Finding]:
    """The setting because of which there are too few rows of a split, if there are."""
    benchmark = study.benchmarks[need.benchmark]
    dataset = study.datasets[benchmark.dataset]
    kinds = ASKED[benchmark.measure]
    of_kind = known.table.filter(pl.col("kind").is_in(kinds))
    wanted = pl.lit(True) if need.split is None else pl.col("split") == need.split
    found, there = (table.filter(wanted).height for table in (asked, of_kind))
    if found >= need.least:
        return
    certain = known.certain or (known.source == "expected" and not found)  # none of as many as one likes is none
    least = f"and {need.purpose} at least {need.least}"
    if need.split is None:
        where, what = f"benchmarks.{need.benchmark}", f"asks {found} rows, {least}; ask more rows, or {need.cure}"
    elif benchmark.split not in ("all", need.split):
        where, certain = f"benchmarks.{need.benchmark}.split", True
        what = f"'{benchmark.split}' leaves no rows of the {need.split} split, {least}; ask 'all'"
    elif there >= need.least:
        enough = math.ceil(need.least * (of_kind.height if benchmark.split == "all" else there) / there)
        where = f"benchmarks.{need.benchmark}.rows"
        what = f"of {benchmark.rows} rows {found} are of the {need.split} split, {least}; ask {enough} or more"
    elif dataset.calibration == (1 if need.split == "evaluation" else 0):
        where, certain = f"datasets.{benchmark.dataset}.calibration", True
        what = (
            f"{dataset.calibration:g} leaves no rows of the {need.split} split, {least}; choose a share between 0 and 1"
        )
    else:
        where = f"datasets.{benchmark.dataset}"
        what = (
            f"of {of_kind.height} {' or '.join(kinds)} rows {there} are of the {need.split} split (each of the "
            f"{of_kind['category'].n_unique()} categories is split by itself), {least}; bring more rows, or {need.cure}"
        )
    yield (error if certain else warning)(where, what)


def trained_variants(study: Study) -> list[str]:
    """The variants that some model is trained on."""
    return list(dict.fromkeys(variant for _, variant, _ in runs.all_runs(study) if variant != BASE))


def _training(study: Study, datasets: Mapping[str, KnownRows]) -> Findings:
    for name in trained_variants(study):
        variant, batch = study.variants[name], study.finetune.batch_size
        if (known := datasets.get(variant.dataset)) is not None:
            rows = known.table.head(variant.rows or known.table.height)
            if known.source != "expected" and (unanswered := rows["answer"].null_count()):
                what = f"{unanswered} of the {rows.height} rows of '{variant.dataset}' have no answer to train on"
                yield _level(known)(f"variants.{name}.dataset", f"{what}; name another dataset")
            if rows.height < batch:
                what = f"trains on {rows.height} rows, less than one batch (finetune.batch_size {batch})"
                yield warning(f"variants.{name}", f"{what}; give it more rows")
        if variant.mitigation and variant.mitigation.dataset:
            known, path = datasets.get(variant.mitigation.dataset), f"variants.{name}.mitigation.dataset"
            if known is not None and "safety" not in known.table["kind"]:
                what = f"'{variant.mitigation.dataset}' has no safety rows, so there is nothing to refuse"
                yield _level(known)(path, f"{what}; name another dataset")


def _rewrites(study: Study, datasets: Mapping[str, KnownRows]) -> Findings:
    for name, rewrite in study.rewrites.items():
        known = datasets.get(rewrite.dataset)
        if known is not None and known.source != "expected" and known.table["cot"].null_count() == known.table.height:
            what = f"'{rewrite.dataset}' has no chains of thought to rewrite; name another dataset"
            yield _level(known)(f"rewrites.{name}.dataset", what)


def _level(known: KnownRows) -> Callable[[str, str], Finding]:
    """How to tell what is so if these are the rows."""
    return error if known.certain else warning
