"""From safety-critical neurons and replies without them to tables of results.

Ablating a set is compared with the same model as it is and with the mean of each kind of random sets, prompt by prompt.
Rates are shares of all replies, as for heads (rim.results.mechanism).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from rim.config.study import Study
from rim.core import statistics
from rim.core.conditions import NOTHING_DONE
from rim.core.contracts import CURVE, INTEGER, INTERVAL, NUMBER, TEXT, Columns, Contract, one_of
from rim.results import mechanism, tables
from rim.results.mechanism import Run
from rim.results.tables import ResultTable, results_table

Row = dict[str, Any]
RANDOM = ("random", "matched")  # kinds of sets that the found one is compared with
BASE_RUN: Columns = {"model": TEXT, "seed": INTEGER}  # of a model before fine-tuning
NEURON_LAYERS = Contract(
    **BASE_RUN,
    layer=INTEGER,
    neurons=INTEGER,  # found
    frequency=NUMBER,  # of the found ones, on average
    placebo=NUMBER,
    magnitude=NUMBER,
    matched=NUMBER,  # magnitude of the sets matched in it
)


def neuron_layers(parts: dict[Run, pl.DataFrame]) -> pl.DataFrame:
    """How many neurons were found in each layer that has any, and what they are like."""
    rows = []
    for (model, _, seed), table in parts.items():
        matched = table.filter(pl.col("kind") == "matched")
        for (layer,), own in table.filter(pl.col("kind") == "found").group_by("layer", maintain_order=True):
            means = {name: own[name].mean() for name in ("frequency", "placebo", "magnitude")}
            alike = matched.filter(pl.col("layer") == layer)["magnitude"].mean()
            rows.append(
                {"model": model, "seed": seed, "layer": layer, "neurons": own.height, **means, "matched": alike}
            )
    return results_table(NEURON_LAYERS, rows)


NEURON_EFFECTS = Contract(
    **BASE_RUN,
    kind=one_of("found", "random", "matched"),
    draw=INTEGER,  # number of the random or matched set
    neurons=INTEGER,
    against=one_of("none", "random", "matched"),  # the model as it is, or the mean of those sets
    measure=TEXT,
    benchmark=TEXT,
    n=INTEGER,
    incomplete=INTEGER,
    **INTERVAL,  # the change
    reference=NUMBER,
    p=NUMBER,
    p_holm=NUMBER,
)


def neuron_effects(study: Study, scored: dict[Run, list[pl.DataFrame]], sets: dict[Run, pl.DataFrame]) -> pl.DataFrame:
    """The effect of every set of neurons of every model; those of the found sets Holm-adjusted within a run and measure."""
    rows: list[Row] = []
    for run, parts in scored.items():
        rows += _effects_of_run(study, run, parts, sets[run])
    families: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        row["p_holm"] = None
        if row["kind"] == "found":
            families.setdefault((row["model"], row["seed"], row["measure"]), []).append(row)
    for members in families.values():
        for row, p in zip(members, statistics.holm([row["p"] for row in members]), strict=True):
            row["p_holm"] = p
    return results_table(NEURON_EFFECTS, rows)


def _effects_of_run(study: Study, run: Run, scored: list[pl.DataFrame], sets: pl.DataFrame) -> Iterator[Row]:
    outcomes = mechanism.by_condition(study, scored)
    whole = outcomes.pop(NOTHING_DONE)
    sizes = {key: part.height for key, part in sets.group_by("kind", "draw")}
    for condition, cells in outcomes.items():
        own = {"model": run[0], "seed": run[2], "kind": condition.kind, "draw": condition.draw}
        own["neurons"] = sizes[condition.kind, condition.draw]
        for cell, replies in cells.items():
            keys = {**own, "measure": cell[1], "benchmark": cell[2]}
            yield {**keys, "against": "none", **mechanism.against(replies, [whole[cell]], whole[cell])}
            for kind in RANDOM:
                others = [outcomes[each][cell] for each in mechanism.controls(condition, outcomes, kind)]
                if others:
                    yield {**keys, "against": kind, **mechanism.against(replies, others, whole[cell])}


NEURON_EFFECT_SUMMARY = Contract(  # over models, as the paper's means are
    measure=TEXT,
    kind=one_of("found", "random", "matched"),
    models=INTEGER,
    mean=NUMBER,
    median=NUMBER,
    lowest=NUMBER,
    highest=NUMBER,
)


def neuron_effect_summary(effects: pl.DataFrame) -> pl.DataFrame:
    """Means over models, as the paper gives them, beside medians and extremes: one model can carry a mean."""
    keys = ["measure", "kind"]
    by_model = (
        effects.filter(pl.col("against") == "none")
        .group_by([*keys, "model"], maintain_order=True)
        .agg(pl.col("estimate").mean())
    )
    made = by_model.group_by(keys, maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("models"),
        pl.col("estimate").mean().alias("mean"),
        pl.col("estimate").median().alias("median"),
        pl.col("estimate").min().alias("lowest"),
        pl.col("estimate").max().alias("highest"),
    )
    return tables.rounded(made.select(*NEURON_EFFECT_SUMMARY))


NEURON_STABILITY = Contract(**BASE_RUN, **CURVE.columns)


def neuron_stability(parts: dict[Run, pl.DataFrame]) -> pl.DataFrame:
    """How many neurons each frequency finds, and how stable the set is."""
    rows = [
        {"model": model, "seed": seed, **row}
        for (model, _, seed), part in parts.items()
        for row in part.iter_rows(named=True)
    ]
    return results_table(NEURON_STABILITY, rows)


@dataclass(frozen=True)
class Inputs:
    """What the step `summarize_forgetting` has read of each model before fine-tuning."""

    study: Study
    neurons: dict[Run, pl.DataFrame]
    curves: dict[Run, pl.DataFrame]
    scored: dict[Run, list[pl.DataFrame]]  # judgements and grades, of the models as they are and without neurons

    @cached_property
    def effects(self) -> pl.DataFrame:
        return neuron_effects(self.study, self.scored, self.neurons)


def _applies(study: Study) -> bool:
    return study.forgetting is not None


TABLES: tuple[ResultTable[Inputs], ...] = (
    ResultTable("neuron_layers", "neurons", NEURON_LAYERS, lambda given: neuron_layers(given.neurons), _applies),
    ResultTable(
        "neuron_stability", "neurons", NEURON_STABILITY, lambda given: neuron_stability(given.curves), _applies
    ),
    ResultTable("neuron_effects", "neurons", NEURON_EFFECTS, lambda given: given.effects, _applies),
    ResultTable(
        "neuron_effect_summary",
        "neurons",
        NEURON_EFFECT_SUMMARY,
        lambda given: neuron_effect_summary(given.effects),
        _applies,
    ),
)
