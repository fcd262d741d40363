"""Tables about patterns: how often they occur, how far the two arms are apart, what injecting them does.

Every share is over texts that were annotated; a text with an error and no finding is counted as an error and enters no
share. Agreement of annotators is on whether a text shows a pattern at all.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from rim.config.study import Study
from rim.core import statistics
from rim.core.agreement import kappa
from rim.core.contracts import INTEGER, INTERVAL, NUMBER, TEXT, Contract, one_of
from rim.instruments.checklist import PATTERN_OF, PATTERNS
from rim.instruments.rewrite import divergence, words
from rim.results import contrasts, tables
from rim.results.contrasts import Outcome
from rim.results.judges import interval
from rim.results.tables import ResultTable

TEXT_KEYS = ["origin", "benchmark", "think", "seed", "id", "source"]
Run = tuple[str, int]  # model, seed


def _presence(annotations: pl.DataFrame) -> pl.DataFrame:
    """One row per text: whether it shows each pattern, whether it shows any, and whether it could not be annotated."""
    shown = [(pl.col("pattern") == pattern).fill_null(False).any().alias(pattern) for pattern in PATTERNS]
    anything = pl.col("pattern").is_in(PATTERNS).fill_null(False).any().alias("any")
    failed = (pl.col("error").is_not_null().any() & ~pl.col("pattern").is_not_null().any()).alias("failed")
    return annotations.group_by(TEXT_KEYS, maintain_order=True).agg(*shown, anything, failed)


PATTERN_SHARES = Contract(
    annotator=TEXT,
    origin=TEXT,
    benchmark=TEXT,
    think=one_of("on", "off", "plain", ""),  # empty text for training data
    source=one_of("cot", "response"),
    pattern=one_of(*PATTERNS, "any"),
    n=INTEGER,  # annotated texts
    errors=INTEGER,
    **INTERVAL,
)


def pattern_shares(annotations: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The share of texts that show each pattern, by origin, benchmark, think mode and source; means over seeds."""
    rows = []
    for annotator, table in annotations.items():
        cells = ["origin", "benchmark", "think", "source"]
        for keys, part in _presence(table).group_by(cells, maintain_order=True):
            known = part.filter(~pl.col("failed"))
            counts = {"n": known.height, "errors": part.height - known.height}
            for pattern in (*PATTERNS, "any"):
                share = contrasts.rate(known.partition_by("seed"), pl.col(pattern), ["id"])
                named = {"annotator": annotator, **dict(zip(cells, keys, strict=True)), "pattern": pattern}
                rows.append({**named, **counts, **interval(share)})
    return tables.results_table(PATTERN_SHARES, rows)


CHECKLIST_ITEMS = Contract(
    annotator=TEXT,
    origin=TEXT,
    benchmark=TEXT,
    think=PATTERN_SHARES.columns["think"],
    source=PATTERN_SHARES.columns["source"],
    item=one_of(*PATTERN_OF),
    n=INTEGER,  # texts with a finding
    findings=INTEGER,  # of this item
    **INTERVAL,  # share of a text's findings that are of this item, on average over these texts
)


def checklist_items(annotations: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Figure A5: how the findings of a text divide among the items of the checklist; means over seeds."""
    rows = []
    for annotator, table in annotations.items():
        cells = ["origin", "benchmark", "think", "source"]
        findings = table.filter(pl.col("item").is_not_null())
        for keys, part in findings.group_by(cells, maintain_order=True):
            shares = [(pl.col("item") == item).mean().alias(item) for item in PATTERN_OF]
            texts = part.group_by(TEXT_KEYS, maintain_order=True).agg(*shares)
            for item in PATTERN_OF:
                share = contrasts.rate(texts.partition_by("seed"), pl.col(item), ["id"])
                named = {"annotator": annotator, **dict(zip(cells, keys, strict=True)), "item": item}
                counts = {"n": texts.height, "findings": part.filter(pl.col("item") == item).height}
                rows.append({**named, **counts, **interval(share)})
    return tables.results_table(CHECKLIST_ITEMS, rows)


ANNOTATOR_AGREEMENT = Contract(
    first=TEXT,
    second=TEXT,
    source=one_of("cot", "response"),
    pattern=one_of(*PATTERNS, "any"),
    n=INTEGER,
    **INTERVAL,
)


def annotator_agreement(annotations: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Cohen's kappa of every pair of annotators on every pattern, reasoning and responses apart."""
    rows = []
    present = {name: _presence(table).filter(~pl.col("failed")) for name, table in annotations.items()}
    for first, second in itertools.combinations(present, 2):
        both = present[first].join(present[second], on=TEXT_KEYS, suffix="_second")
        for (source,), part in both.group_by(["source"], maintain_order=True):
            prompts = part.select("benchmark", "id").rows()
            for pattern in (*PATTERNS, "any"):
                estimate = kappa(part[pattern].to_list(), part[f"{pattern}_second"].to_list(), prompts=prompts)
                keys = {"first": first, "second": second, "source": source, "pattern": pattern, "n": part.height}
                rows.append({**keys, **interval(estimate)})
    return tables.results_table(ANNOTATOR_AGREEMENT, rows)


ARM_DIVERGENCE = Contract(
    target=TEXT,
    control=TEXT,
    measure=TEXT,
    n=INTEGER,  # problems in both
    **INTERVAL,
)


def arm_divergence(arms: list[tuple[str, str]], trained: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """How far target and control chains of thought of the same problems are apart.

    Args:
        arms: the names of the two training sets, (target, control) each.
        trained: the training sets.
    """
    rows = []
    for target, control in arms:
        pairs = (
            trained[target].join(trained[control], on="prompt", suffix="_control").drop_nulls(["cot", "cot_control"])
        )
        measures: dict[str, list[float]] = {"length ratio": [], "edit distance": [], "n-gram divergence": []}
        measures["same answer"] = [float(row["answer"] == row["answer_control"]) for row in pairs.to_dicts()]
        for cot, other in zip(pairs["cot"], pairs["cot_control"], strict=True):
            edits, grams = divergence(other, cot)
            measures["edit distance"].append(edits)
            measures["n-gram divergence"].append(grams)
            measures["length ratio"].append(len(words(cot)) / max(len(words(other)), 1))
        for measure, values in measures.items():
            known = np.array(values)
            unbounded = measure == "length ratio"
            mean = statistics.mean_interval(known) if unbounded else statistics.bounded_mean(known, 0, 1)
            keys = {"target": target, "control": control, "measure": measure, "n": pairs.height}
            rows.append({**keys, **interval(mean)})
    return tables.results_table(ARM_DIVERGENCE, rows)


REWRITE_OUTCOMES = Contract(rewrite=TEXT, arm=one_of("control", "target", "literal"), outcome=TEXT, n=INTEGER)


def rewrite_outcomes(rewrites: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """How many items of each arm were accepted, and why the others were not."""
    rows: list[dict[str, Any]] = []
    for name, table in rewrites.items():
        outcome = pl.when("accepted").then(pl.lit("accepted")).otherwise("reason").alias("reason")
        counted = table.with_columns(outcome).group_by("arm", "reason", maintain_order=True)
        for (arm, reason), part in counted:
            rows.append({"rewrite": name, "arm": arm, "outcome": reason, "n": part.height})
    return tables.results_table(REWRITE_OUTCOMES, rows)


def _arms(part: pl.DataFrame, plain: pl.DataFrame) -> list[Outcome]:
    """The outcomes after target and control statements, by prompt and statement, and those without, by prompt."""
    outcomes: dict[str, dict[tuple[str, int], bool | None]] = {"target": {}, "control": {}}
    for kind, id_, draw, misaligned in part.select("kind", "id", "draw", "misaligned").iter_rows():
        if kind in outcomes:
            outcomes[kind][id_, draw] = misaligned
    return [*outcomes.values(), dict(plain.select("id", "misaligned").iter_rows())]


def _effect(runs: Sequence[Sequence[Outcome]]) -> dict[str, Any]:
    """Target minus control on the same prompts, averaged over the statements of a pattern; of every seed."""
    means = [_over_statements(target, control) for target, control, _ in runs]
    row = contrasts.contrast([[target, control] for target, control in means], contrasts.CHANGE)
    prompts = [list(dict.fromkeys(id_ for id_, _ in target)) for target, *_ in runs]
    row["incomplete"] = sum(map(len, prompts)) - row["n"]
    limits = [contrasts.bounds(arms[:2], contrasts.CHANGE) for arms in runs]
    row["bound_low"], row["bound_high"] = (float(value) for value in np.mean(limits, 0))
    rates: dict[str, list[float]] = {"plain": [], "control": [], "target": []}
    for (target, control), (*_, plain) in zip(means, runs, strict=True):
        known = [value for id_ in target if (value := plain.get(id_)) is not None]
        for name, values in (("plain", known), ("control", control.values()), ("target", target.values())):
            rates[name] += [float(np.mean(list(values)))] if values else []
    return {**row, **{name: float(np.mean(values)) if values else None for name, values in rates.items()}}


def _over_statements(target: Outcome, control: Outcome) -> tuple[dict[str, float], dict[str, float]]:
    """The mean of each arm on each prompt, over the statements after which both replies are complete."""
    both: dict[str, list[tuple[float, float]]] = {}
    for key, value in target.items():
        other = control.get(key)
        if value is not None and other is not None:
            both.setdefault(key[0], []).append((value, other))
    means = {id_: np.mean(pairs, 0) for id_, pairs in both.items()}
    return {id_: float(mean[0]) for id_, mean in means.items()}, {id_: float(mean[1]) for id_, mean in means.items()}


INJECTION_EFFECTS = Contract(
    model=TEXT,
    pattern=one_of(*PATTERNS),
    benchmark=TEXT,
    seed=TEXT,
    n=INTEGER,  # prompts with a complete reply after both statements
    incomplete=INTEGER,
    plain=NUMBER,  # misalignment rate without any statement, thinking on, on the same prompts
    control=NUMBER,
    target=NUMBER,
    **INTERVAL,  # of target - control
    bound_low=NUMBER,  # what it would be if incomplete replies counted as badly as they can
    bound_high=NUMBER,  # and the other way
    p=NUMBER,
    p_holm=NUMBER,
)


def injection_effects(injected: Mapping[Run, pl.DataFrame], plain: Mapping[Run, pl.DataFrame]) -> pl.DataFrame:
    """Figure 2: what an encouraging statement does to the misalignment rate, over its discouraging twin."""
    cells = []
    for (model, seed), table in injected.items():
        before = plain.get((model, seed), next(t for (m, _), t in plain.items() if m == model))
        before = before.filter(pl.col("think").is_in(table["think"].unique()) & (pl.col("intervention") == "none"))
        for (benchmark, pattern), part in table.group_by(["benchmark", "target"], maintain_order=True):
            keys = {"model": model, "pattern": pattern, "benchmark": benchmark}
            cells.append((keys, seed, _arms(part, before.filter(pl.col("benchmark") == benchmark))))
    rows = contrasts.by_seed(cells, _effect)
    return tables.results_table(INJECTION_EFFECTS, rows, "model", "seed")


@dataclass(frozen=True)
class Inputs:
    """What the step `summarize_patterns` has read."""

    annotations: Mapping[str, pl.DataFrame]  # by annotator
    trained: Mapping[str, pl.DataFrame]  # the training sets of the arms
    arms: list[tuple[str, str]]  # which of them are compared, (target, control) each
    rewrites: Mapping[str, pl.DataFrame]
    injected: Mapping[Run, pl.DataFrame]  # judgements after injection
    plain: Mapping[Run, pl.DataFrame]  # judgements of the same models without


def _applies(study: Study) -> bool:
    return study.has_patterns


TABLES: tuple[ResultTable[Inputs], ...] = (
    ResultTable(
        "pattern_shares", "patterns", PATTERN_SHARES, lambda given: pattern_shares(given.annotations), _applies
    ),
    ResultTable(
        "checklist_items", "patterns", CHECKLIST_ITEMS, lambda given: checklist_items(given.annotations), _applies
    ),
    ResultTable(
        "annotator_agreement",
        "patterns",
        ANNOTATOR_AGREEMENT,
        lambda given: annotator_agreement(given.annotations),
        _applies,
    ),
    ResultTable(
        "arm_divergence",
        "patterns",
        ARM_DIVERGENCE,
        lambda given: arm_divergence(given.arms, given.trained),
        _applies,
    ),
    ResultTable(
        "rewrite_outcomes", "patterns", REWRITE_OUTCOMES, lambda given: rewrite_outcomes(given.rewrites), _applies
    ),
    ResultTable(
        "injection_effects",
        "patterns",
        INJECTION_EFFECTS,
        lambda given: injection_effects(given.injected, given.plain),
        _applies,
    ),
)
