"""From safety-critical neurons and replies without them to tables of results.

Ablating a set is compared with the same model as it is, prompt by prompt, and with each kind of random sets, set by set.
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
from rim.core.contracts import CURVE, INTEGER, INTERVAL, NUMBER, TEXT, THINK, Columns, Contract, one_of
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
    sets=INTEGER,  # how many random or matched sets
    measure=TEXT,
    benchmark=TEXT,
    **mechanism.ABLATION,
)


def neuron_effects(study: Study, scored: dict[Run, list[pl.DataFrame]], sets: dict[Run, pl.DataFrame]) -> pl.DataFrame:
    """The effect of every set of neurons of every model; those of found sets Holm-adjusted within run, measure and comparison."""
    rows: list[Row] = []
    for run, parts in scored.items():
        rows += _effects_of_run(study, run, parts, sets[run])
    return results_table(NEURON_EFFECTS, rows, "model", "seed", "measure", "against")


def _effects_of_run(study: Study, run: Run, scored: list[pl.DataFrame], sets: pl.DataFrame) -> Iterator[Row]:
    outcomes = mechanism.by_condition(study, scored)
    whole = outcomes.pop(NOTHING_DONE)
    sizes = {key: part.height for key, part in sets.group_by("kind", "draw")}
    for condition, cells in outcomes.items():
        own = {"model": run[0], "seed": run[2], "kind": condition.kind, "draw": condition.draw}
        own["neurons"] = sizes[condition.kind, condition.draw]
        for cell, replies in cells.items():
            keys = {**own, "measure": cell[1], "benchmark": cell[2]}
            yield {**keys, "against": "none", **mechanism.change(replies, whole[cell])}
            for kind in RANDOM:
                others = [outcomes[each][cell] for each in mechanism.controls(condition, outcomes, kind)]
                if others:
                    yield {**keys, "against": kind, **mechanism.beyond(replies, others, whole[cell])}


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


INTENT_RATES = Contract(  # whether the pairs by which neurons are found mean what they should
    **BASE_RUN,
    think=THINK,
    added=one_of("nothing", "intent", "placebo"),  # to the request
    n=INTEGER,  # complete replies
    incomplete=INTEGER,
    **INTERVAL,  # the misalignment rate
    change=NUMBER,  # from nothing added, on the same requests
    change_low=NUMBER,
    change_high=NUMBER,
    p=NUMBER,
)


def intent_rates(plain: dict[Run, pl.DataFrame], changed: dict[Run, pl.DataFrame]) -> pl.DataFrame:
    """The misalignment rate on the harmful requests with intent and with a placebo added, beside that without.

    Args:
        plain, changed: judgements of each model before fine-tuning, of its replies to the requests and to their counterfactuals.
    """
    rows = []
    for run, judged in changed.items():
        alone = plain[run].join(judged, on=["benchmark", "think"], how="semi", maintain_order="left")
        alone = alone.with_columns(pl.lit("nothing").alias("target"))
        for (think, added), part in pl.concat([alone, judged]).group_by("think", "target", maintain_order=True):
            known = part.filter(pl.col("misaligned").is_not_null())
            before = alone.filter((pl.col("think") == think) & pl.col("misaligned").is_not_null())
            both = before.join(known, on="id", how="inner", suffix="_after", maintain_order="left")
            value, low, high, _ = statistics.rate(int(known["misaligned"].sum()), known.height)
            row: Row = {"model": run[0], "seed": run[2], "think": think, "added": added, "n": known.height}
            row |= {"incomplete": part.height - known.height, "estimate": value, "ci_low": low, "ci_high": high}
            if added != "nothing":
                change = statistics.paired_rates(both["misaligned"].to_numpy(), both["misaligned_after"].to_numpy())
                row |= dict(zip(("change", "change_low", "change_high", "p"), change, strict=True))
            rows.append(row)
    return results_table(INTENT_RATES, rows)


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
    plain: dict[Run, pl.DataFrame]  # judgements of the models as they are
    counterfactual: dict[Run, pl.DataFrame]  # judgements of their replies to requests with intent and with a placebo

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
    ResultTable(
        "intent_rates",
        "neurons",
        INTENT_RATES,
        lambda given: intent_rates(given.plain, given.counterfactual),
        _applies,
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
