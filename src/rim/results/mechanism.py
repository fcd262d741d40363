"""From per-run analyses to their tables of results; above all what ablating heads does to behaviour.

Each ablation is compared with the same model as it is, on the same evaluation prompts, and each found set also with its
random sets: only the second comparison says that it matters which heads are taken away. There the set is the unit, since
random sets differ from each other too; with fewer than 19 of them there is an estimate and no test.

Rates are shares of ALL replies here, an incomplete one counting as unparsable and as nothing else. Ablation may break a
model, and rates over the replies that it leaves whole would compare a few chosen prompts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from rim.config.study import Study
from rim.core import statistics
from rim.core.conditions import NOTHING_DONE, Condition
from rim.core.contracts import (
    ATTENTION,
    EFFECT_SKEWNESS,
    EFFECTS,
    HEADS,
    INTEGER,
    INTERVAL,
    NUMBER,
    PROBES,
    RUN,
    SCORES,
    TEXT,
    THINK,
    Columns,
    Contract,
    one_of,
)
from rim.instruments import rules
from rim.results import contrasts, tables
from rim.results.selection import (
    HEAD_EFFECTS,
    HEAD_TABLE,
    SELECTED_PROBES,
    head_effects,
    head_table,
    selected_probes,
)
from rim.results.tables import ResultTable

Run = tuple[str, str, int]  # model, variant, seed
KEYS = ("model", "variant", "seed")
Outcome = dict[str, bool | None]  # prompt id -> what the reply counts as, None when incomplete
Cell = tuple[str, str, str]  # think, measure, benchmark
SET = ("target", "intervention", "kind", "draw")


def joined(contract: Contract, parts: dict[Run, list[pl.DataFrame]]) -> pl.DataFrame:
    """The per-run tables of all runs under each other, behind their model, variant and seed; `contract` has these columns."""
    keyed = [
        part.select(pl.lit(model).alias("model"), pl.lit(variant).alias("variant"), pl.lit(seed, pl.Int64).alias("seed"), pl.all())
        for (model, variant, seed), found in parts.items()
        for part in found
    ]  # fmt: skip
    return pl.concat([pl.DataFrame(schema=dict(contract)), *keyed])


def stacked(contract: Contract, parts: dict[Run, list[pl.DataFrame]]) -> pl.DataFrame:
    """The same as a table of results."""
    return tables.rounded(joined(contract, parts))


def measures(study: Study, scored: pl.DataFrame) -> Iterator[tuple[Condition, Cell, str, bool | None]]:
    """(condition, cell, prompt id, outcome) of every reply in a table of judgements or grades, for each measure.

    A reply is *unparsable* when it is incomplete or has no score, when an organism neither refuses nor complies, or when it
    holds no answer that could be graded.
    """
    for row in scored.iter_rows(named=True):
        condition = Condition.of(row)
        measure = study.benchmarks[row["benchmark"]].measure
        if measure == "accuracy":
            broken = row["correct"] is None or not row["extracted"]
            outcomes = {"accuracy": row["correct"], "unparsable": broken}
        else:
            by_rule = study.judges[row["judge"]].kind == "organism_rule"
            broken = row["score"] is None or (by_rule and row["score"] == rules.NEITHER)
            outcomes = {"misalignment": row["misaligned"], "refusal": row["refusal"], "unparsable": broken}
            if measure == "false_refusal":
                outcomes = {"false_refusal": row["refusal"], "unparsable": broken}
        for name, outcome in outcomes.items():
            yield condition, (row["think"], name, row["benchmark"]), row["id"], outcome


def by_condition(study: Study, scored: list[pl.DataFrame]) -> dict[Condition, dict[Cell, Outcome]]:
    """The outcomes of judgements and grades of one run, of the model as it is first."""
    found: dict[Condition, dict[Cell, Outcome]] = {NOTHING_DONE: {}}
    for table in scored:
        for condition, cell, id_, outcome in measures(study, table):
            found.setdefault(condition, {}).setdefault(cell, {})[id_] = outcome
    return found


def controls(condition: Condition, among: Iterable[Condition], kind: str) -> list[Condition]:
    """The sets of a kind that a found set is compared with: what was done to them is the same. Others have none."""
    own = (condition.intervention, condition.target)
    alike = [each for each in among if (each.intervention, each.target) == own and each.kind == kind]
    return alike if condition.kind == "found" else []


def ablation_rows(study: Study, run: Run, scored: list[pl.DataFrame], sets: pl.DataFrame) -> list[dict[str, Any]]:
    """The effects of every ablation of one run.

    Args:
        scored: judgements and grades, of the model as it is and ablated.
        sets: the heads that were ablated.
    """
    named = pl.format("L{}H{}", "layer", "head").str.join(" ")
    heads = {
        tuple(key): text
        for *key, text in sets.group_by("target", "kind", "draw", maintain_order=True).agg(named).iter_rows()
    }
    found = by_condition(study, scored)
    rows = []
    for condition, cells in found.items():
        if condition == NOTHING_DONE:
            continue
        what = condition.target, condition.kind, condition.draw
        keys: dict[str, Any] = dict(zip(KEYS, run, strict=True))
        keys |= {**{name: condition.columns[name] for name in SET}, "heads": heads[what]}
        randoms = controls(condition, found, "random")
        for cell, replies in cells.items():
            cell_keys = {**keys, **dict(zip(("think", "measure", "benchmark"), cell, strict=True))}
            whole = found[NOTHING_DONE][cell]
            rows.append({**cell_keys, "against": "none", **change(replies, whole)})
            if randoms:
                others = [found[each][cell] for each in randoms]
                rows.append({**cell_keys, "against": "random", **beyond(replies, others, whole)})
    return rows


def change(ablated: Outcome, whole: Outcome) -> dict[str, Any]:
    """What an ablation changes, on the same prompts; an incomplete reply (None) counts as False."""
    both = [{id_: bool(each[id_]) for id_ in ablated} for each in (ablated, whole)]
    estimate = contrasts.contrast([both], contrasts.CHANGE)
    low, high = contrasts.bounds([ablated, whole], contrasts.CHANGE)
    return {**estimate, "bound_low": low, "bound_high": high, **_beside(ablated, whole, 0)}


def beyond(ablated: Outcome, sets: list[Outcome], whole: Outcome) -> dict[str, Any]:
    """What ablating a found set changes beyond random sets; the set is the unit, and too few of them give no p."""
    known = contrasts.arrays([ablated, *sets], list(ablated))
    found, *random = np.nan_to_num(known)  # an incomplete reply counts as False
    low, high = contrasts.bounds([ablated, *sets], [1, *[-1 / len(sets)] * len(sets)])
    estimate = contrasts.columns(statistics.beyond_sets(found, np.array(random)))
    return {"n": len(ablated), **estimate, "bound_low": low, "bound_high": high, **_beside(ablated, whole, len(sets))}


def _beside(ablated: Outcome, whole: Outcome, sets: int) -> dict[str, Any]:
    incomplete = sum(value is None for value in ablated.values())
    return {"sets": sets, "incomplete": incomplete, "reference": float(np.mean([bool(whole[id_]) for id_ in ablated]))}


ABLATION: Columns = {
    "n": INTEGER,  # all replies
    "incomplete": INTEGER,  # of them, not finished when ablated; they count as unparsable only
    **INTERVAL,  # the change
    "bound_low": NUMBER,  # the change if incomplete replies counted, on either side, as badly as they can
    "bound_high": NUMBER,  # and the other way
    "reference": NUMBER,  # the share without ablation on the same prompts
    "p": NUMBER,  # against random sets: null with fewer than 19 of them
    "p_holm": NUMBER,
}
ABLATION_EFFECTS = Contract(
    **RUN,
    target=one_of("refusal_heads", "effect_heads"),
    intervention=one_of("zero", "mean"),
    kind=one_of("found", "random"),
    draw=INTEGER,  # number of the random set
    heads=TEXT,  # which they are, such as "L1H2 L3H0"
    against=one_of("none", "random"),  # the model as it is, or the mean of the random sets
    sets=INTEGER,  # how many random sets
    think=THINK,
    measure=TEXT,
    benchmark=TEXT,
    **ABLATION,
)


def ablation_effects(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """All effects; those of the found sets are Holm-adjusted within each run, measure and comparison."""
    return tables.results_table(ABLATION_EFFECTS, rows, *KEYS, "measure", "against")


Parts = dict[Run, list[pl.DataFrame]]


@dataclass(frozen=True)
class Inputs:
    """What the step `summarize_mechanism` has read, by run."""

    study: Study
    probes: Parts
    scores: Parts  # of the models as they are and ablated
    heads: Parts
    attention: Parts
    effects: Parts
    skewness: Parts
    scored: Parts  # judgements and grades, of the models as they are and ablated
    sets: dict[Run, pl.DataFrame]  # the heads that were ablated

    def ablation_rows(self) -> list[dict[str, Any]]:
        """The effects of every ablation of every run."""
        return [
            row for run, sets in self.sets.items() for row in ablation_rows(self.study, run, self.scored[run], sets)
        ]


PROBE_TABLE = Contract(**RUN, **PROBES.columns)
PROBE_SCORES = Contract(**RUN, **SCORES.columns)
RUN_HEADS = Contract(**RUN, **HEADS.columns)
HEAD_ATTENTION = Contract(**RUN, **ATTENTION.columns)
RUN_EFFECTS = Contract(**RUN, **EFFECTS.columns)
RUN_SKEWNESS = Contract(**RUN, **EFFECT_SKEWNESS.columns)


def _applies(study: Study) -> bool:
    return study.mechanism is not None


TABLES: tuple[ResultTable[Inputs], ...] = (
    ResultTable("probes", "probes", PROBE_TABLE, lambda given: stacked(PROBE_TABLE, given.probes), _applies),
    ResultTable(
        "selected_probes",
        "probes",
        SELECTED_PROBES,
        lambda given: selected_probes(joined(PROBE_TABLE, given.probes)),
        _applies,
    ),
    ResultTable("probe_scores", "probes", PROBE_SCORES, lambda given: stacked(PROBE_SCORES, given.scores), _applies),
    ResultTable("heads", "heads", HEAD_TABLE, lambda given: head_table(joined(RUN_HEADS, given.heads)), _applies),
    ResultTable(
        "head_attention", "heads", HEAD_ATTENTION, lambda given: stacked(HEAD_ATTENTION, given.attention), _applies
    ),
    ResultTable(
        "head_effects",
        "heads",
        HEAD_EFFECTS,
        lambda given: head_effects(joined(RUN_EFFECTS, given.effects), joined(RUN_SKEWNESS, given.skewness)),
        _applies,
    ),
    ResultTable(
        "ablation_effects",
        "heads",
        ABLATION_EFFECTS,
        lambda given: ablation_effects(given.ablation_rows()),
        _applies,
    ),
)
