"""From neurons, ablations and checkpoints of all runs to their tables of results.

Ablating a set is compared with the same model as it is and with the mean of each kind of random sets, prompt by prompt.
Rates are shares of all replies, as for heads (rim.results.mechanism). Over checkpoints, what a metric is correlated with is
the misalignment rate: its change since the model before tuning differs from it by a constant, which changes no correlation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rim.config.study import Study
from rim.core import correlation, statistics
from rim.results import contracts, mechanism, tables
from rim.settings.common import BASE

Run = tuple[str, str, int]  # model, variant, seed
Row = dict[str, Any]
KEYS = ("model", "variant", "seed")
RANDOM = ("random", "matched")  # kinds of sets that the found one is compared with
SHOWN = ("misalignment", "false_refusal", "accuracy", "unparsable")


def results(name: str, rows: list[Row]) -> pl.DataFrame:
    return tables.results_table(name, rows, contracts.FORGETTING_TABLES)


def keyed(name: str, parts: dict[Run, pl.DataFrame]) -> pl.DataFrame:
    """The per-run tables of all runs under each other, behind the keys that the table of results has."""
    keys = [key for key in KEYS if key in contracts.FORGETTING_TABLES[name]]
    rows = [
        {**{key: value for key, value in zip(KEYS, run, strict=True) if key in keys}, **row}
        for run, part in parts.items()
        for row in part.iter_rows(named=True)
    ]
    return results(name, rows)


def neuron_layers(parts: dict[Run, pl.DataFrame]) -> pl.DataFrame:
    """How many neurons were found in each layer that has any, and what they are like."""
    rows = []
    for (model, _, seed), table in parts.items():
        matched = table.filter(pl.col("set").str.starts_with("matched"))
        for (layer,), own in table.filter(pl.col("set") == "found").group_by("layer", maintain_order=True):
            means = {name: own[name].mean() for name in ("frequency", "placebo", "magnitude")}
            alike = matched.filter(pl.col("layer") == layer)["magnitude"].mean()
            rows.append(
                {"model": model, "seed": seed, "layer": layer, "neurons": own.height, **means, "matched": alike}
            )
    return results("neuron_layers", rows)


def neuron_effects(study: Study, scored: dict[Run, list[pl.DataFrame]], sets: dict[Run, pl.DataFrame]) -> pl.DataFrame:
    """The effect of every set of neurons of every model; those of the found sets Holm-adjusted within a run and measure."""
    rows: list[Row] = []
    for run, parts in scored.items():
        sizes = {name: part.height for (name,), part in sets[run].group_by("set", maintain_order=True)}
        rows += _effects_of_run(study, run, parts, {str(name): size for name, size in sizes.items()})
    families: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        row["p_holm"] = None
        if row["draw"] == "found":
            families.setdefault((row["model"], row["seed"], row["measure"]), []).append(row)
    for members in families.values():
        for row, p in zip(members, statistics.holm([row["p"] for row in members]), strict=True):
            row["p_holm"] = p
    return results("neuron_effects", rows)


def _effects_of_run(study: Study, run: Run, scored: list[pl.DataFrame], sizes: dict[str, int]) -> Iterator[Row]:
    outcomes: dict[str, dict[mechanism.Cell, mechanism.Outcome]] = {}
    for table in scored:
        for ablation, cell, id_, outcome in mechanism.measures(study, table):
            outcomes.setdefault(ablation, {}).setdefault(cell, {})[id_] = outcome
    for draw, size in sizes.items():
        for cell, replies in outcomes[draw].items():
            whole = outcomes["none"][cell]
            keys = {
                "model": run[0],
                "seed": run[2],
                "draw": draw,
                "neurons": size,
                "measure": cell[1],
                "benchmark": cell[2],
            }
            yield {**keys, "against": "none", **mechanism.against(replies, [whole], whole)}
            for kind in RANDOM if draw == "found" else ():
                others = [outcomes[name][cell] for name in sizes if name.startswith(kind)]
                if others:
                    yield {**keys, "against": kind, **mechanism.against(replies, others, whole)}


def neuron_effect_summary(effects: pl.DataFrame) -> pl.DataFrame:
    """Means over models, as the paper gives them, beside medians and extremes: one model can carry a mean."""
    kinds = effects.filter(pl.col("against") == "none").with_columns(
        pl.col("draw").str.replace(r"\d+$", "").alias("sets")
    )
    keys = ["measure", "sets"]
    by_model = kinds.group_by([*keys, "model"], maintain_order=True).agg(pl.col("estimate").mean())
    made = by_model.group_by(keys, maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("models"),
        pl.col("estimate").mean().alias("mean"),
        pl.col("estimate").median().alias("median"),
        pl.col("estimate").min().alias("lowest"),
        pl.col("estimate").max().alias("highest"),
    )
    return tables.rounded(made.select(*contracts.FORGETTING_TABLES["neuron_effect_summary"]))


def checkpoint_rates(steps: dict[Run, pl.DataFrame], bases: dict[Run, pl.DataFrame]) -> pl.DataFrame:
    """The misalignment rate of every checkpoint over all replies, step 0 being the base on the same requests."""
    rows = []
    for run, judged in steps.items():
        base = bases[run].join(judged, on=["benchmark", "id", "think"], how="semi", maintain_order="left")
        parts = [(0, base)]
        parts += [
            (int(str(name).removeprefix("step")), part)
            for (name,), part in judged.group_by("ablation", maintain_order=True)
        ]
        for step, part in parts:
            value, low, high, _ = statistics.rate(int(part["misaligned"].fill_null(False).sum()), part.height)
            counts = {"n": part.height, "incomplete": part["misaligned"].null_count()}
            keys = {**dict(zip(KEYS, run, strict=True)), "step": step}
            rows.append({**keys, **counts, "estimate": value, "ci_low": low, "ci_high": high})
    return results("checkpoint_rates", rows)


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
    return results("correlations", [row for members in rows.values() for row in members])


def correlations_over_runs(found: Series) -> pl.DataFrame:
    """Every metric over all runs, each centred on its own mean; the runs are what is resampled."""
    rows = []
    for (metric, neurons), runs in found.items():
        value, low, high, _ = correlation.across_runs(list(runs.values()))
        keys = {"metric": metric, "neurons": neurons, "runs": len(runs), "n": sum(len(x) for x, _ in runs.values())}
        rows.append({**keys, "estimate": value, "ci_low": low, "ci_high": high})
    return results("correlations_over_runs", rows)


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
    return results("early_warnings", rows)


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
    return results("forgetting_predictions", rows)


def base_of(run: Run, bases: list[Run]) -> Run:
    """The run of the model before fine-tuning that a fine-tune began from."""
    own = [base for base in bases if base[0] == run[0]]
    return next((base for base in own if base == (run[0], BASE, run[2])), own[0])
