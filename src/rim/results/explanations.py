"""Which requests misalignment is about, and whether the length of a thought carries what changes it.

An effect is taken apart by the category of the requests. And since a chain of thought that makes no effort is often a short
one, each arm's effect is also measured where a prompt's thought stays as long as it was: what is left does not go through its length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rim.config.study import Study
from rim.core import statistics
from rim.core.contracts import INTEGER, INTERVAL, NUMBER, TEXT, THINK, Contract, one_of
from rim.core.statistics import Estimate
from rim.results import tables
from rim.results.contrasts import ESTIMATE, columns
from rim.results.outcomes import Cell, Outcomes
from rim.results.replies import CELL, TEST, before_finetuning, effects, when_thinking
from rim.results.tables import ResultTable

Row = dict[str, Any]
Words = Mapping[Cell, Mapping[str, int]]  # cell -> prompt id -> words of the thought
Values = NDArray[np.float64]

CATEGORY_EFFECTS = Contract(
    model=TEXT,
    variant=TEXT,
    contrast=one_of("thinking", "fine-tuning"),
    think=THINK,
    category=TEXT,
    **CELL,
    **ESTIMATE,
    **TEST,  # p_holm over the categories
)


def category_effects(study: Study, found: Outcomes, categories: Mapping[str, Mapping[str, str]]) -> pl.DataFrame:
    """What thinking and each arm change in every category of requests, on the same prompts; Holm over the categories.

    Args:
        categories: benchmark -> prompt id -> category. Only benchmarks with several are taken apart.
    """
    rows: list[Row] = []
    for benchmark, of in categories.items():
        for category in sorted(set(of.values())) if len(set(of.values())) > 1 else []:
            part = {
                cell: {id_: value for id_, value in replies.items() if of[id_] == category}
                for cell, replies in found.items()
                if cell[4] == benchmark
            }
            for contrast, pairs in (("thinking", when_thinking(part)), ("fine-tuning", before_finetuning(study, part))):
                for row in effects(study, part, pairs, _keys):
                    rows.append({**row, "contrast": contrast, "category": category})
    return tables.results_table(CATEGORY_EFFECTS, rows, "model", "variant", "contrast", "think", "benchmark", "seed")


def _keys(cell: Cell) -> Row:
    return {"model": cell[0], "variant": cell[1], "think": cell[3]}


THOUGHT_LENGTHS = Contract(
    model=TEXT,
    variant=TEXT,
    benchmark=TEXT,
    seed=TEXT,
    n=INTEGER,  # prompts with a complete reply and a thought, before and after
    words=NUMBER,  # mean of the thoughts
    words_before=NUMBER,
    ratio=NUMBER,  # geometric mean over prompts of a thought's words to those before, Student's t of the logarithms
    ratio_low=NUMBER,
    ratio_high=NUMBER,
    shorter=NUMBER,  # how often the thought of a misaligned reply is the shorter one of it and an aligned one's
    shorter_low=NUMBER,
    shorter_high=NUMBER,
    change=NUMBER,  # of the misalignment rate, on these prompts
    n_alike=INTEGER,  # prompts whose thought stays about as long as it was
    **INTERVAL,  # of the change on these
    **TEST,  # p_holm over the arms of a model
)
ALIKE = 1.25  # ratio up to which a thought is about as long as the one before


def thought_lengths(study: Study, found: Outcomes, words: Words) -> pl.DataFrame:
    """How long models think when they are asked harmful requests, and each arm's effect where thoughts stay as long.

    Each prompt is compared with itself, so that what makes a request both thought about for long and complied with does not count.
    """
    before = dict(before_finetuning(study, found))
    rows = []
    for cell, replies in found.items():
        model, variant, seed, think, benchmark = cell
        base = before.get(cell)
        if think != "on" or not words.get(cell) or (base is not None and not words.get(base)):
            continue
        known = [id_ for id_, value in replies.items() if value is not None and id_ in words[cell]]
        if base is not None:
            known = [id_ for id_ in known if found[base].get(id_) is not None and id_ in words[base]]
        row = {"model": model, "variant": variant, "benchmark": benchmark, "seed": str(seed), "n": len(known)}
        if known:
            misaligned, length = _columns(found[cell], words[cell], known)
            row |= {"words": float(length.mean()), **_shorter(misaligned, length)}
            if base is not None:
                was, length_before = _columns(found[base], words[base], known)
                row |= {"change": float((misaligned - was).mean()), **_ratio(length_before, length)}
                count, at_length = at_a_length(length_before, length, was, misaligned)
                row |= {"n_alike": count, **columns(at_length)}
        rows.append(
            {name: row.get(name, 0 if kind is pl.Int64 else math.nan) for name, kind in THOUGHT_LENGTHS.items()}
        )
    return tables.results_table(THOUGHT_LENGTHS, rows, "model", "benchmark", "seed")


def _columns(outcomes: Mapping[str, Any], words: Mapping[str, int], prompts: list[str]) -> tuple[Values, Values]:
    """What the replies to these prompts count as (1 or 0), and the words of their thoughts."""
    return np.array([outcomes[id_] for id_ in prompts], float), np.array([words[id_] for id_ in prompts], float)


def _shorter(misaligned: Values, words: Values) -> dict[str, float]:
    """How often a misaligned reply's thought is shorter than an aligned one's, a tie being half; nan unless there are both."""
    short, long = words[misaligned == 1], words[misaligned == 0]
    if not len(short) or not len(long):
        return {}
    area = float((np.sign(long[None] - short[:, None]) + 1).mean() / 2)
    value, low, high, _ = statistics.roc_area(area, len(short), len(long))
    return {"shorter": value, "shorter_low": low, "shorter_high": high}


def at_a_length(before: Values, after: Values, was: Values, misaligned: Values) -> tuple[int, Estimate]:
    """How many prompts have a thought about as long as it was, and the change of the misalignment rate on these.

    Args:
        before, after: words of thoughts; was, misaligned: outcomes of the replies, each [prompts].
    """
    alike = np.abs(np.log(after / before)) < math.log(ALIKE)
    return int(alike.sum()), statistics.paired_rates(was[alike], misaligned[alike])


def _ratio(before: Values, after: Values) -> dict[str, float]:
    value, low, high, _ = statistics.mean_interval(np.log(after / before))
    return {
        "words_before": float(before.mean()),
        "ratio": math.exp(value),
        "ratio_low": math.exp(low),
        "ratio_high": math.exp(high),
    }


@dataclass(frozen=True)
class Inputs:
    """What the step `explain_replies` has read."""

    study: Study
    outcomes: Outcomes  # of the benchmarks that measure misalignment
    categories: Mapping[str, Mapping[str, str]]
    words: Words


TABLES: tuple[ResultTable[Inputs], ...] = (
    ResultTable(
        "category_effects",
        "inference",
        CATEGORY_EFFECTS,
        lambda given: category_effects(given.study, given.outcomes, given.categories),
    ),
    ResultTable(
        "thought_lengths",
        "inference",
        THOUGHT_LENGTHS,
        lambda given: thought_lengths(given.study, given.outcomes, given.words),
    ),
)
