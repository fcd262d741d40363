"""From the checkpoints of all fine-tunes to their tables of results.

Forgetting is the change of the misalignment rate since the model before tuning. Beside every metric stands what needs no look
into the model: the logarithm of the step and, in early warnings, the misalignment that is seen already.

**What counts once.** The fine-tunes of one model on the rows of one dataset (seeds of a hub model, other numbers of passes,
mitigations) are a cluster, which counts with its mean course. Clusters are not independent of each other: those of one model share
the model, those of one dataset what there is to learn. So the units are models, each with its courses over all arms that every
model has, and what an arm does in all models at a checkpoint is taken out. An organism of another seed is trained from scratch,
and so another model.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rim.config.study import Study
from rim.core import correlation, statistics
from rim.core.contracts import CHECKPOINTS, INTEGER, INTERVAL, NUMBER, RUN, TEXT, Columns, Contract
from rim.core.statistics import Estimate
from rim.results import contrasts
from rim.results.mechanism import KEYS, Run, stacked
from rim.results.tables import ResultTable, results_table, rounded, with_holm
from rim.settings.jobs import Lesson

Row = dict[str, Any]
Values = NDArray[np.float64]
LOG_STEP, SEEN = "log_step", "seen"
BASELINES = {LOG_STEP: "log(step) alone", SEEN: "misalignment so far"}  # and what the report calls them


CHECKPOINT_RATES = Contract(**RUN, step=INTEGER, n=INTEGER, incomplete=INTEGER, **INTERVAL)


def checkpoint_rates(steps: dict[Run, pl.DataFrame], bases: dict[Run, pl.DataFrame]) -> pl.DataFrame:
    """The misalignment rate of every checkpoint over its complete replies, step 0 being the base on the same requests."""
    rows = []
    for run, judged in steps.items():
        base = bases[run].join(judged, on=["benchmark", "id", "think"], how="semi", maintain_order="left")
        for (step,), part in [((0,), base), *judged.group_by("step", maintain_order=True)]:
            known = part["misaligned"].drop_nulls()
            value, low, high, _ = statistics.rate(int(known.sum()), len(known))
            counts = {"n": len(known), "incomplete": part.height - len(known)}
            keys = {**dict(zip(KEYS, run, strict=True)), "step": step}
            rows.append({**keys, **counts, "estimate": value, "ci_low": low, "ci_high": high})
    return results_table(CHECKPOINT_RATES, rows)


def changes(rates: pl.DataFrame) -> pl.DataFrame:
    """The change of the misalignment rate since step 0 at every step, null where there is none."""
    since = pl.col("estimate") - pl.col("estimate").first().over(KEYS)
    return rates.sort("step", maintain_order=True).select(*KEYS, "step", since.alias("change"))


class Course(NamedTuple):
    """A metric and the change of the misalignment rate at all checkpoints of a fine-tune, nan where it is not known."""

    step: Values
    metric: Values
    change: Values

    @property
    def known(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.metric + self.change)

    def at(self, count: int) -> Course:
        """The same at `count` evenly spaced shares of training, which are its own where it has as many checkpoints."""
        own, wanted = (np.arange(1, n + 1) / n for n in (len(self.step), count))
        return Course(*(np.interp(wanted, own[self.known], values[self.known]) for values in self))


Series = dict[tuple[str, str], dict[Run, Course]]


def series(checkpoints: pl.DataFrame, rates: pl.DataFrame) -> Series:
    """(metric, neurons) -> run -> its course; the first metric is the logarithm of the step."""
    after = changes(rates).filter(pl.col("step") > 0)
    steps = after.select(*KEYS, "step", metric=pl.lit(LOG_STEP), neurons=pl.lit(""), estimate=pl.col("step").log())
    measured = pl.concat([steps, checkpoints.select(steps.columns)])
    joined = measured.join(after, on=[*KEYS, "step"], how="inner", maintain_order="left")
    found: Series = {}
    for (metric, neurons, *run), part in joined.group_by(["metric", "neurons", *KEYS], maintain_order=True):
        columns = part.sort("step").select(pl.col("step", "estimate", "change").cast(pl.Float64))
        course = Course(*columns.to_numpy().T)
        if course.known.any():
            found.setdefault((str(metric), str(neurons)), {})[tuple(run)] = course  # type: ignore[index]
    return found


NEURON_SETS = CHECKPOINTS.columns["neurons"]
METRIC: Columns = {"metric": TEXT, "neurons": NEURON_SETS}
CORRELATIONS = Contract(  # within a run, as published; no test within a run holds its level
    **RUN,
    **METRIC,
    n=INTEGER,
    **INTERVAL,  # Pearson's r with Fisher's interval, as if checkpoints were independent
    p=NUMBER,  # Student's t, likewise
    given_step=NUMBER,  # partial correlation given log(step)
    spearman=NUMBER,
    kendall=NUMBER,
)


def correlations(found: Series) -> pl.DataFrame:
    """Every metric with the misalignment rate within every run, as the paper has it."""
    rows: dict[Run, list[Row]] = {}
    for (metric, neurons), runs in found.items():
        for run, course in runs.items():
            step, values, change = (each[course.known] for each in course)
            made = correlation.correlate(values, change)._asdict()
            made |= {"estimate": made.pop("pearson"), "ci_low": made.pop("low"), "ci_high": made.pop("high")}
            made["given_step"] = correlation.partial(values, change, np.log(step))
            row = {**dict(zip(KEYS, run, strict=True)), "metric": metric, "neurons": neurons, **made}
            rows.setdefault(run, []).append(row)
    return results_table(CORRELATIONS, [row for members in rows.values() for row in members])


Model = tuple[str, int]  # with the seed that an organism is made from; the first of the study for a hub model
Cluster = tuple[Model, str]  # with the dataset trained on


def cluster_of(study: Study, run: Run) -> Cluster:
    """What a fine-tune is counted with: those of the same model on rows of the same dataset."""
    name, variant, seed = run
    return (name, seed if study.models[name].trained_here else study.seeds[0]), study.variants[variant].dataset


def cluster_courses(study: Study, runs: dict[Run, Course]) -> dict[Cluster, Course]:
    """The mean course of every cluster, all at as many checkpoints as the shortest run has."""
    count = min(len(course.step) for course in runs.values())
    members: dict[Cluster, list[Course]] = {}
    for run, course in runs.items():
        members.setdefault(cluster_of(study, run), []).append(course.at(count))
    return {cluster: Course(*np.mean(courses, 0)) for cluster, courses in members.items()}


# r within units, then what the metric adds: the correlation beyond what all units share, its interval and its test
ADDED: Columns = {"r": NUMBER, **INTERVAL, "p": NUMBER, "p_holm": NUMBER}


def _added(models: Sequence[Hashable], metric: Values, change: Values, known: Values | None) -> Row:
    """These columns but Holm's, from [units, places] and the model of each unit."""
    if not metric.size:  # no arm that all models have
        return dict.fromkeys(ADDED, math.nan)
    values = correlation.in_units_of(models, metric)
    value, low, high, p = correlation.beyond_common(values, change, known)
    r = correlation.within_units(values, change)
    return {"r": r, "estimate": value, "ci_low": low, "ci_high": high, "p": p}


def _corrected(contract: Contract, rows: list[Row]) -> pl.DataFrame:
    """A table of metrics, with Holm's correction over them."""
    return rounded(with_holm(pl.DataFrame(rows, schema=dict(contract))))


CORRELATIONS_OVER_RUNS = Contract(**METRIC, n=INTEGER, **ADDED, runs=INTEGER, arms=INTEGER, models=INTEGER)


def correlations_over_runs(study: Study, found: Series) -> pl.DataFrame:
    """Every metric over all fine-tunes: within them, and beyond the course that an arm has in all models, as a function of the
    step is.

    Arms that not every model has are left out, since what they do in all models is not known. The step itself, of which runs
    with a few rows more have a few more, adds nothing to itself.
    """
    rows = []
    for (metric, neurons), runs in found.items():
        by_cluster = cluster_courses(study, runs)
        models = list(dict.fromkeys(model for model, _ in by_cluster))
        datasets = dict.fromkeys(dataset for _, dataset in by_cluster)
        arms = [each for each in datasets if all((model, each) in by_cluster for model in models)]
        x, y = (
            np.array([[*chain(*(_deviations(by_cluster[model, arm])[i] for arm in arms))] for model in models])
            for i in range(2)
        )
        used = [course for run, course in runs.items() if cluster_of(study, run)[1] in arms]
        counts = {
            "runs": len(used),
            "arms": len(arms),
            "models": len(models),
            "n": sum(int(course.known.sum()) for course in used),
        }
        known = x if metric == LOG_STEP else None
        rows.append({"metric": metric, "neurons": neurons, **counts, **_added(models, x, y, known)})
    return _corrected(CORRELATIONS_OVER_RUNS, rows)


def _deviations(course: Course) -> tuple[Values, Values]:
    """Metric and change of a cluster, less their means over its checkpoints."""
    return course.metric - course.metric.mean(), course.change - course.change.mean()


EARLY_WARNINGS = Contract(**METRIC, **ADDED, runs=INTEGER, arms=INTEGER, models=INTEGER)


def early_warnings(study: Study, checkpoints: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    """Each metric before training or, if it is one of checkpoints, at the first from a quarter of training on, with the change
    at the end: within models, and beyond what an arm does in all models and what is misaligned by then.

    Arms that not every model has are left out, since what they do in all models is not known.
    """
    change = changes(rates).drop_nulls()
    final = change.filter(pl.col("step") == pl.col("step").max().over(KEYS)).select(*KEYS, final="change")
    quarter = change.filter(pl.col("step") >= pl.col("step").max().over(KEYS) / 4)
    quarter = quarter.filter(pl.col("step") == pl.col("step").min().over(KEYS))
    seen = quarter.select(*KEYS, "step", metric=pl.lit(SEEN), neurons=pl.lit(""), estimate="change")
    times = pl.concat([change.filter(pl.col("step") == 0), quarter]).join(final, on=KEYS)
    points = pl.concat([seen, checkpoints.select(seen.columns).drop_nulls()]).join(
        times, on=[*KEYS, "step"], maintain_order="left"
    )
    rows = []
    for (metric, neurons), part in points.group_by(["metric", "neurons"], maintain_order=True):
        rows.append({"metric": metric, "neurons": neurons, **_early_warning(study, part, known=metric != SEEN)})
    return _corrected(EARLY_WARNINGS, rows)


def _early_warning(study: Study, points: pl.DataFrame, known: bool) -> Row:
    """From one metric's point of every run; those of one model and arm count once."""
    models = [cluster_of(study, run)[0] for run in points.select(*KEYS).iter_rows()]
    cells = points.with_columns(pl.Series("unit", [f"{name} {seed}" for name, seed in models]))
    cells = cells.group_by("unit", "variant").agg(pl.len().alias("runs"), pl.col("estimate", "change", "final").mean())
    count = len(set(models))
    cells = cells.filter(pl.len().over("variant") == count).sort("unit", "variant")
    x, seen, y = (cells[name].to_numpy().reshape(count, -1) for name in ("estimate", "change", "final"))
    counts = {"runs": int(cells["runs"].sum()), "arms": x.shape[1], "models": count}
    return counts | _added(list(range(count)), x, y, seen if known else None)


FORGETTING_PREDICTIONS = Contract(
    model=TEXT,  # left out
    seed=INTEGER,  # from which it was made; of a hub model the first of the study
    **METRIC,
    n=INTEGER,
    error=NUMBER,  # mean absolute, in misalignment rate, of a line in the metric
    reference=NUMBER,  # error of the mean of the other models
    step=NUMBER,  # error of a line in log(step)
    both=NUMBER,  # error of a plane in log(step) and the metric
)


def forgetting_predictions(study: Study, found: Series) -> pl.DataFrame:
    """Each model's change of the misalignment rate as predicted by the others from each metric, cluster by cluster."""
    rows = []
    for (metric, neurons), runs in ((which, runs) for which, runs in found.items() if which[0] != LOG_STEP):
        models: dict[Model, list[Course]] = {}
        for (model, _), course in cluster_courses(study, runs).items():
            models.setdefault(model, []).append(course)
        points = {model: Course(*np.concatenate(courses, 1)) for model, courses in models.items()}
        known = {model: (course.metric, np.log(course.step), course.change) for model, course in points.items()}
        for (name, seed), made in correlation.leave_one_out(known).items():
            rows.append({"model": name, "seed": seed, "metric": metric, "neurons": neurons, **made._asdict()})
    return results_table(FORGETTING_PREDICTIONS, rows)


ARM_SHIFTS = Contract(
    target=TEXT,
    control=TEXT,
    neurons=NEURON_SETS,
    models=INTEGER,
    **INTERVAL,  # (target - control) / (target + control) of their RAS, -1 to 1; 0 where they are equal
    p=NUMBER,
    p_holm=NUMBER,
)


def arm_shifts(study: Study, checkpoints: pl.DataFrame) -> pl.DataFrame:
    """Figure 7: whether RAS ends higher after target than after control, over models; a model's fine-tunes count with their mean."""
    ras = checkpoints.filter(pl.col("metric") == "ras")
    last = ras.filter(pl.col("step") == pl.col("step").max().over(KEYS))
    rows = []
    for target, control in study.compared_arms:
        for (neurons,), part in last.group_by("neurons", maintain_order=True):
            ends: dict[Model, dict[str, list[float]]] = {}
            for name, variant, seed, value in part.select(*KEYS, "estimate").iter_rows():
                model, _ = cluster_of(study, (name, variant, seed))
                ends.setdefault(model, {}).setdefault(variant, []).append(value)
            both = [(arms[target], arms[control]) for arms in ends.values() if {target, control} <= set(arms)]
            if both:
                estimate = higher(*(np.array([np.mean(values) for values in side]) for side in zip(*both, strict=True)))
                keys = {"target": target, "control": control, "neurons": neurons, "models": len(both)}
                rows.append({**keys, **contrasts.columns(estimate)})
    return results_table(ARM_SHIFTS, rows, "target", "control")


def higher(target: Values, control: Values) -> Estimate:
    """How much higher a metric is after target, relative to both, with Student's t over models [models]; few have no interval."""
    total = target + control
    apart = np.where(total > 0, (target - control) / np.where(total > 0, total, 1), 0)
    return (
        statistics.tested_mean(apart)
        if len(apart) >= correlation.MIN_UNITS
        else Estimate(apart.mean(), math.nan, math.nan)
    )


CHECKPOINT_TABLE = Contract(**RUN, **CHECKPOINTS.columns)


def with_gradients(checkpoints: pl.DataFrame, gradients: pl.DataFrame, lesson: Lesson) -> pl.DataFrame:
    """The metrics of a fine-tune's checkpoints, after what its base's gradients foretell of what it learns, as step 0."""
    dataset, count = lesson
    own = gradients.filter((pl.col("dataset") == dataset) & pl.col("rows").eq_missing(count))
    nothing = pl.lit(math.nan)
    before = own.with_columns(step=pl.lit(0, pl.Int64), ci_low=nothing, ci_high=nothing, kept=nothing)
    return pl.concat([before.select(checkpoints.columns), checkpoints])


@dataclass(frozen=True)
class Inputs:
    """What the step `summarize_forgetting` has read of each fine-tune."""

    study: Study
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
    ResultTable(
        "arm_shifts", "forgetting", ARM_SHIFTS, lambda given: arm_shifts(given.study, given.checkpoints), _applies
    ),
    ResultTable("correlations", "forgetting", CORRELATIONS, lambda given: correlations(given.series), _applies),
    ResultTable(
        "correlations_over_runs",
        "forgetting",
        CORRELATIONS_OVER_RUNS,
        lambda given: correlations_over_runs(given.study, given.series),
        _applies,
    ),
    ResultTable(
        "early_warnings",
        "forgetting",
        EARLY_WARNINGS,
        lambda given: early_warnings(given.study, given.checkpoints, given.rates),
        _applies,
    ),
    ResultTable(
        "forgetting_predictions",
        "forgetting",
        FORGETTING_PREDICTIONS,
        lambda given: forgetting_predictions(given.study, given.series),
        _applies,
    ),
)
