"""The report card: how well each method finds the parts in which safety is known to sit.

In an organism with a graft it is known which neurons or heads hold what was trained. Each method ranks all parts; what is
asked is whether grafted parts rank above the others (area under the ROC curve, 0.5 by chance), how many of its first K are
grafted where K are, and, of the published rule, what it finds at each threshold. Grafts that were taught something
harmless are graded too: a method that finds those finds what is new.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from polars import DataFrame

from rim.config.runs import scored_runs
from rim.config.study import Study
from rim.core.contracts import INTEGER, INTERVAL, NUMBER, TEXT, Contract, one_of
from rim.core.statistics import Estimate, mean_interval
from rim.results.tables import ResultTable, results_table
from rim.settings.jobs import Run
from rim.settings.models import Graft

THRESHOLDS = (0.5, 0.7, 0.9, 1.0)  # of the published rule's frequency
METHOD_GRADES = Contract(
    model=TEXT,
    teaches=one_of("alignment", "sign_off"),
    part=one_of("neuron", "head"),
    method=TEXT,
    measure=one_of("area", "precision", "recall", "found"),  # the last a number of parts, without an interval
    cut=TEXT,  # which parts the method is taken to find: as many as are grafted, or from a threshold on
    seeds=INTEGER,  # organisms; each is one unit
    parts=INTEGER,
    grafted=INTEGER,
    chance=NUMBER,  # what a random ranking reaches
    **INTERVAL,
)


def area(scores: np.ndarray[Any, Any], true: np.ndarray[Any, Any]) -> float:
    """Area under the ROC curve, ties counting half."""
    positive, negative = int(true.sum()), int((~true).sum())
    if not positive or not negative:
        return math.nan
    return float((scipy.stats.rankdata(scores)[true].sum() - positive * (positive + 1) / 2) / (positive * negative))


def expected_hits(scores: np.ndarray[Any, Any], true: np.ndarray[Any, Any], count: int) -> float:
    """Grafted parts among the first `count`, those that tie at the border counting by their share."""
    border = np.sort(scores)[::-1][count - 1]
    above, tied = scores > border, scores == border
    return float(true[above].sum() + true[tied].mean() * (count - above.sum()))


def grades(scores: DataFrame) -> dict[tuple[str, str, str, str], float]:
    """(part, method, measure, cut) -> its value, of one organism."""
    found: dict[tuple[str, str, str, str], float] = {}
    for (part, method), rows in scores.group_by("part", "method", maintain_order=True):
        values, true = rows["score"].to_numpy(), rows["grafted"].to_numpy()
        if not true.any():
            continue
        key = (str(part), str(method))
        found[*key, "area", ""] = area(values, true)
        found[*key, "precision", "first K"] = expected_hits(values, true, int(true.sum())) / int(true.sum())
        if method in ("intent", "shift"):
            for threshold in THRESHOLDS:
                chosen, cut = values >= threshold, f"from {threshold:g}"
                found[*key, "found", cut] = float(chosen.sum())
                found[*key, "precision", cut] = float(true[chosen].mean()) if chosen.any() else math.nan
                found[*key, "recall", cut] = float(chosen[true].mean())
    return found


def over_organisms(shares: np.ndarray[Any, Any]) -> Estimate:
    """The mean of one share of each organism, with Student's t interval within 0 and 1."""
    estimate = mean_interval(shares)
    return estimate._replace(low=max(estimate.low, 0.0), high=min(estimate.high, 1.0))


def method_grades(grafts: Mapping[str, Graft], scores: Mapping[Run, DataFrame]) -> DataFrame:
    """The grades of every method, over the seeds of each organism with a graft."""
    return results_table(METHOD_GRADES, list(_rows(grafts, scores)))


def _rows(grafts: Mapping[str, Graft], scores: Mapping[Run, DataFrame]) -> Iterator[dict[str, Any]]:
    for model in dict.fromkeys(model for model, *_ in scores):
        tables = [table for (name, *_), table in scores.items() if name == model]
        each = [grades(table) for table in tables]
        for key in dict.fromkeys(key for one in each for key in one):
            part, method, measure, cut = key
            whole = next(rows for table in tables if (rows := table.filter(part=part, method=method)).height)
            values = np.array([one.get(key, math.nan) for one in each])
            known = values[~np.isnan(values)]
            share = float(whole["grafted"].mean())  # type: ignore[arg-type]
            chance = {"area": 0.5, "precision": share}.get(measure, math.nan)
            alone = measure == "found" or len(known) < 2  # one organism says nothing of others
            estimate = Estimate(float(known.mean()), math.nan, math.nan) if alone else over_organisms(known)
            yield {
                "model": model, "teaches": grafts[model].teaches, "part": part, "method": method, "measure": measure, "cut": cut,
                "seeds": len(known), "parts": whole.height, "grafted": int(whole["grafted"].sum()), "chance": chance,
                "estimate": estimate.value, "ci_low": estimate.low, "ci_high": estimate.high,
            }  # fmt: skip


@dataclass(frozen=True)
class Inputs:
    """What the step `grade_methods` has read."""

    study: Study
    scores: Mapping[Run, DataFrame]


def _applies(study: Study) -> bool:
    return bool(scored_runs(study))


TABLES: tuple[ResultTable[Inputs], ...] = (
    ResultTable(
        "method_grades",
        "calibration",
        METHOD_GRADES,
        lambda given: method_grades(given.study.grafts, given.scores),
        _applies,
    ),
)
