"""From neurons, ablations and checkpoints of all runs to their tables of results.

Ablating a set is compared with the same model as it is and with the mean of each kind of random sets, prompt by prompt.
Rates are shares of all replies, as for heads (rim.results.mechanism). Over checkpoints, what a metric is correlated with is
the misalignment rate: its change since the model before tuning differs from it by a constant, which changes no correlation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rim.config.study import Study
from rim.core import correlation, statistics
from rim.core.conditions import NOTHING_DONE
from rim.core.contracts import CHECKPOINTS, CURVE, INTERVAL, RUN, Contract
from rim.results import mechanism, tables
from rim.results.tables import ResultTable, results_table

Run = tuple[str, str, int]  # model, variant, seed
Row = dict[str, Any]
KEYS = ("model", "variant", "seed")
RANDOM = ("random", "matched")  # kinds of sets that the found one is compared with
SHOWN = ("misalignment", "false_refusal", "accuracy", "unparsable")


BASE_RUN: Contract = {"model": pl.String, "seed": pl.Int64}  # of a model before fine-tuning


def keyed(contract: Contract, parts: dict[Run, pl.DataFrame]) -> pl.DataFrame:
    """The per-run tables of all runs under each other, behind the keys that the table of results has."""
    keys = [key for key in KEYS if key in contract]
    rows = [
        {**{key: value for key, value in zip(KEYS, run, strict=True) if key in keys}, **row}
        for run, part in parts.items()
        for row in part.iter_rows(named=True)
    ]
    return results_table(contract, rows)


NEURON_LAYERS: Contract = {
    **BASE_RUN,
    "layer": pl.Int64,
    "neurons": pl.Int64,  # found
    "frequency": pl.Float64,  # of the found ones, on average
    "placebo": pl.Float64,
    "magnitude": pl.Float64,
    "matched": pl.Float64,  # magnitude of the sets matched in it
}


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


NEURON_EFFECTS: Contract = {
    **BASE_RUN,
    "kind": pl.String,  # found | random | matched
    "draw": pl.Int64,  # number of the random or matched set
    "neurons": pl.Int64,
    "against": pl.String,  # none: the model as it is; random, matched: the mean of those sets
    "measure": pl.String,
    "benchmark": pl.String,
    "n": pl.Int64,
    "incomplete": pl.Int64,
    **INTERVAL,  # the change
    "reference": pl.Float64,
    "p": pl.Float64,
    "p_holm": pl.Float64,
}


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


NEURON_EFFECT_SUMMARY: Contract = {  # over models, as the paper's means are
    "measure": pl.String,
    "kind": pl.String,  # found | random | matched
    "models": pl.Int64,
    "mean": pl.Float64,
    "median": pl.Float64,
    "lowest": pl.Float64,
    "highest": pl.Float64,
}


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


CHECKPOINT_RATES: Contract = {**RUN, "step": pl.Int64, "n": pl.Int64, "incomplete": pl.Int64, **INTERVAL}


def checkpoint_rates(steps: dict[Run, pl.DataFrame], bases: dict[Run, pl.DataFrame]) -> pl.DataFrame:
    """The misalignment rate of every checkpoint over all replies, step 0 being the base on the same requests."""
    rows = []
    for run, judged in steps.items():
        base = bases[run].join(judged, on=["benchmark", "id", "think"], how="semi", maintain_order="left")
        for (step,), part in [((0,), base), *judged.group_by("step", maintain_order=True)]:
            value, low, high, _ = statistics.rate(int(part["misaligned"].fill_null(False).sum()), part.height)
            counts = {"n": part.height, "incomplete": part["misaligned"].null_count()}
            keys = {**dict(zip(KEYS, run, strict=True)), "step": step}
            rows.append({**keys, **counts, "estimate": value, "ci_low": low, "ci_high": high})
    return results_table(CHECKPOINT_RATES, rows)


Series = dict[tuple[str, str], dict[Run, tuple[NDArray[np.float64], NDArray[np.float64]]]]


def series(checkpoints: pl.DataFrame, rates: pl.DataFrame) -> Series:
    """(metric, neurons) -> run -> the metric and the misalignment rate at the same checkpoints, the base apart."""
    misaligned = rates.select(*KEYS, "step", pl.col("estimate").alias("rate"))
    joined = checkpoints.filter(pl.col("step") > 0).join(
        misaligned, on=[*KEYS, "step"], how="inner", maintain_order="left"
    )
    found: Series = {}
    for (metric, neurons, *run), part in joined.group_by(["metric", "neurons", *KEYS], maintain_order=True):
        pair = part.sort("step")
        found.setdefault((str(metric), str(neurons)), {})[tuple(run)] = (  # type: ignore[index]
            pair["estimate"].to_numpy(),
            pair["rate"].to_numpy(),
        )
    return found


CORRELATION: Contract = {"metric": pl.String, "neurons": pl.String, "n": pl.Int64, **INTERVAL}
CORRELATIONS: Contract = {
    **RUN,
    **CORRELATION,  # Pearson's r with Fisher's interval
    "p": pl.Float64,  # Student's t
    "p_exact": pl.Float64,  # over all orders of the checkpoints
    "p_holm": pl.Float64,  # of p_exact, over the metrics of a run
    "spearman": pl.Float64,
    "spearman_p": pl.Float64,
    "kendall": pl.Float64,
    "kendall_p": pl.Float64,
}


def correlations(found: Series) -> pl.DataFrame:
    """Every metric with the misalignment rate within every run; Holm over the metrics of a run."""
    rows: dict[Run, list[Row]] = {}
    for (metric, neurons), runs in found.items():
        for run, points in runs.items():
            made = correlation.correlate(*points)._asdict()
            made |= {"estimate": made.pop("pearson"), "ci_low": made.pop("low"), "ci_high": made.pop("high")}
            row = {**dict(zip(KEYS, run, strict=True)), "metric": metric, "neurons": neurons, **made}
            rows.setdefault(run, []).append(row)
    for members in rows.values():
        for row, p in zip(members, statistics.holm([row["p_exact"] for row in members]), strict=True):
            row["p_holm"] = p
    return results_table(CORRELATIONS, [row for members in rows.values() for row in members])


CORRELATIONS_OVER_RUNS: Contract = {**CORRELATION, "runs": pl.Int64}  # within runs; interval over runs


def correlations_over_runs(found: Series) -> pl.DataFrame:
    """Every metric over all runs, each centred on its own mean; the runs are what is resampled."""
    rows = []
    for (metric, neurons), runs in found.items():
        value, low, high, _ = correlation.across_runs(list(runs.values()))
        keys = {"metric": metric, "neurons": neurons, "runs": len(runs), "n": sum(len(x) for x, _ in runs.values())}
        rows.append({**keys, "estimate": value, "ci_low": low, "ci_high": high})
    return results_table(CORRELATIONS_OVER_RUNS, rows)


EARLY_WARNINGS: Contract = {  # a metric after a quarter of training with the change at its end, over runs
    **CORRELATION,  # n runs; Pearson's r with Fisher's interval
    "p_exact": pl.Float64,
    "p_holm": pl.Float64,
    "spearman": pl.Float64,
}


def early_warnings(checkpoints: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    """Each metric before training or, if it is one of checkpoints, at the first from a quarter of training on, with the change
    at the end, over all runs.

    The published RAS has the unit of its model's activations, so only its other forms mean much across models.
    """
    change = {
        tuple(run): part["estimate"][-1] - part["estimate"][0]
        for run, part in rates.sort("step").group_by(KEYS, maintain_order=True)
    }
    quarter = checkpoints.filter(pl.col("step") >= pl.col("step").max().over(KEYS) / 4)
    first = pl.concat(
        [checkpoints.filter(pl.col("step") == 0), quarter.filter(pl.col("step") == pl.col("step").min().over(KEYS))]
    )
    rows = []
    for (metric, neurons), part in first.group_by(["metric", "neurons"], maintain_order=True):
        final = np.array([change[run] for run in part.select(*KEYS).iter_rows()])
        made = correlation.correlate(part["estimate"].to_numpy(), final)
        kept = {"n": made.n, "p_exact": made.p_exact, "spearman": made.spearman}
        interval = {"estimate": made.pearson, "ci_low": made.low, "ci_high": made.high}
        rows.append({"metric": metric, "neurons": neurons, **kept, **interval})
    for row, p in zip(rows, statistics.holm([row["p_exact"] for row in rows]), strict=True):
        row["p_holm"] = p
    return results_table(EARLY_WARNINGS, rows)


FORGETTING_PREDICTIONS: Contract = {
    "model": pl.String,  # left out
    "metric": pl.String,
    "neurons": pl.String,
    "n": pl.Int64,
    "error": pl.Float64,  # mean absolute, in misalignment rate
    "reference": pl.Float64,  # error of the mean of the other models
}


def forgetting_predictions(found: Series, rates: pl.DataFrame) -> pl.DataFrame:
    """Each model's change of the misalignment rate as predicted by the others from each metric."""
    base = {tuple(row[:3]): row[3] for row in rates.filter(pl.col("step") == 0).select(*KEYS, "estimate").iter_rows()}
    rows = []
    for (metric, neurons), runs in found.items():
        models: dict[str, list[Any]] = {}
        for run, (x, y) in runs.items():
            models.setdefault(run[0], []).append((x, y - base[run]))
        points = {
            name: tuple(np.concatenate(each) for each in zip(*parts, strict=True)) for name, parts in models.items()
        }
        for model, made in correlation.leave_one_out(points).items():  # type: ignore[arg-type]
            rows.append({"model": model, "metric": metric, "neurons": neurons, **made._asdict()})
    return results_table(FORGETTING_PREDICTIONS, rows)


NEURON_STABILITY: Contract = {**BASE_RUN, **CURVE}
CHECKPOINT_TABLE: Contract = {**RUN, **CHECKPOINTS}


@dataclass(frozen=True)
class Inputs:
    """What the step `summarize_forgetting` has read, by run: of the models before fine-tuning, and of the fine-tunes."""

    study: Study
    neurons: dict[Run, pl.DataFrame]
    curves: dict[Run, pl.DataFrame]
    scored: dict[Run, list[pl.DataFrame]]  # judgements and grades, of the models as they are and without neurons
    metrics: dict[Run, pl.DataFrame]  # of fine-tunes, as all that follows
    steps: dict[Run, pl.DataFrame]  # judgements of their checkpoints
    before: dict[Run, pl.DataFrame]  # judgements of the models that they began from

    @cached_property
    def effects(self) -> pl.DataFrame:
        return neuron_effects(self.study, self.scored, self.neurons)

    @cached_property
    def checkpoints(self) -> pl.DataFrame:
        return keyed(CHECKPOINT_TABLE, self.metrics)

    @cached_property
    def rates(self) -> pl.DataFrame:
        return checkpoint_rates(self.steps, self.before)

    @cached_property
    def series(self) -> Series:
        return series(self.checkpoints, self.rates)


def _applies(study: Study) -> bool:
    return study.forgetting is not None


TABLES: tuple[ResultTable[Inputs], ...] = (
    ResultTable("neuron_layers", "neurons", NEURON_LAYERS, lambda given: neuron_layers(given.neurons), _applies),
    ResultTable(
        "neuron_stability", "neurons", NEURON_STABILITY, lambda given: keyed(NEURON_STABILITY, given.curves), _applies
    ),
    ResultTable("neuron_effects", "neurons", NEURON_EFFECTS, lambda given: given.effects, _applies),
    ResultTable(
        "neuron_effect_summary",
        "neurons",
        NEURON_EFFECT_SUMMARY,
        lambda given: neuron_effect_summary(given.effects),
        _applies,
    ),
    ResultTable("checkpoints", "forgetting", CHECKPOINT_TABLE, lambda given: given.checkpoints, _applies),
    ResultTable("checkpoint_rates", "forgetting", CHECKPOINT_RATES, lambda given: given.rates, _applies),
    ResultTable("correlations", "forgetting", CORRELATIONS, lambda given: correlations(given.series), _applies),
    ResultTable(
        "correlations_over_runs",
        "forgetting",
        CORRELATIONS_OVER_RUNS,
        lambda given: correlations_over_runs(given.series),
        _applies,
    ),
    ResultTable(
        "early_warnings",
        "forgetting",
        EARLY_WARNINGS,
        lambda given: early_warnings(given.checkpoints, given.rates),
        _applies,
    ),
    ResultTable(
        "forgetting_predictions",
        "forgetting",
        FORGETTING_PREDICTIONS,
        lambda given: forgetting_predictions(given.series, given.rates),
        _applies,
    ),
)
