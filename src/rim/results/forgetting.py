"""From the checkpoints of all fine-tunes to their tables of results.

What a metric is correlated with is the misalignment rate: its change since the model before tuning differs from it by a constant, which changes no correlation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rim.config.study import Study
from rim.core import correlation, statistics
from rim.core.contracts import CHECKPOINTS, INTEGER, INTERVAL, NUMBER, RUN, TEXT, Columns, Contract
from rim.results.mechanism import KEYS, Run, stacked
from rim.results.tables import ResultTable, results_table

Row = dict[str, Any]


CHECKPOINT_RATES = Contract(**RUN, step=INTEGER, n=INTEGER, incomplete=INTEGER, **INTERVAL)


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


NEURON_SETS = CHECKPOINTS.columns["neurons"]
CORRELATION: Columns = {"metric": TEXT, "neurons": NEURON_SETS, "n": INTEGER, **INTERVAL}
CORRELATIONS = Contract(
    **RUN,
    **CORRELATION,  # Pearson's r with Fisher's interval
    p=NUMBER,  # Student's t
    p_exact=NUMBER,  # over all orders of the checkpoints
    p_holm=NUMBER,  # of p_exact, over the metrics of a run
    spearman=NUMBER,
    spearman_p=NUMBER,
    kendall=NUMBER,
    kendall_p=NUMBER,
)


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


CORRELATIONS_OVER_RUNS = Contract(**CORRELATION, runs=INTEGER)  # within runs; interval over runs


def correlations_over_runs(found: Series) -> pl.DataFrame:
    """Every metric over all runs, each centred on its own mean; the runs are what is resampled."""
    rows = []
    for (metric, neurons), runs in found.items():
        value, low, high, _ = correlation.across_runs(list(runs.values()))
        keys = {"metric": metric, "neurons": neurons, "runs": len(runs), "n": sum(len(x) for x, _ in runs.values())}
        rows.append({**keys, "estimate": value, "ci_low": low, "ci_high": high})
    return results_table(CORRELATIONS_OVER_RUNS, rows)


EARLY_WARNINGS = Contract(  # a metric after a quarter of training with the change at its end, over runs
    **CORRELATION,  # n runs; Pearson's r with Fisher's interval
    p_exact=NUMBER,
    p_holm=NUMBER,
    spearman=NUMBER,
)


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


FORGETTING_PREDICTIONS = Contract(
    model=TEXT,  # left out
    metric=TEXT,
    neurons=NEURON_SETS,
    n=INTEGER,
    error=NUMBER,  # mean absolute, in misalignment rate
    reference=NUMBER,  # error of the mean of the other models
)


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


CHECKPOINT_TABLE = Contract(**RUN, **CHECKPOINTS.columns)


@dataclass(frozen=True)
class Inputs:
    """What the step `summarize_forgetting` has read of each fine-tune."""

    metrics: dict[Run, pl.DataFrame]
    steps: dict[Run, pl.DataFrame]  # judgements of the checkpoints
    before: dict[Run, pl.DataFrame]  # judgements of the models that they began from

    @cached_property
    def checkpoints(self) -> pl.DataFrame:
        return stacked(CHECKPOINT_TABLE, {run: [part] for run, part in self.metrics.items()})

    @cached_property
    def rates(self) -> pl.DataFrame:
        return checkpoint_rates(self.steps, self.before)

    @cached_property
    def series(self) -> Series:
        return series(self.checkpoints, self.rates)


def _applies(study: Study) -> bool:
    return study.forgetting is not None


TABLES: tuple[ResultTable[Inputs], ...] = (
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
