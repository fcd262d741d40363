"""From per-run analyses to their tables of results; above all what ablating heads does to behaviour.

Each ablation is compared with the same model as it is, on the same evaluation prompts, and each found set also with the
mean of its random sets, prompt by prompt: only the second comparison says that it matters which heads are taken away.

Rates are shares of ALL replies here, an incomplete one counting as unparsable and as nothing else. Ablation may break a
model, and rates over the replies that it leaves whole would compare a few chosen prompts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from rim.config.study import Study
from rim.core import statistics
from rim.instruments import judges
from rim.results import contracts, tables

Run = tuple[str, str, int]  # model, variant, seed
Outcome = dict[str, bool | None]  # prompt id -> what the reply counts as, None when incomplete
Cell = tuple[str, str, str]  # think, measure, benchmark


def stacked(name: str, parts: dict[Run, list[pl.DataFrame]]) -> pl.DataFrame:
    """The per-run tables of all runs under each other, behind their model, variant and seed."""
    schema = dict(contracts.MECHANISM_TABLES[name])
    keyed = [
        part.select(pl.lit(model).alias("model"), pl.lit(variant).alias("variant"), pl.lit(seed, pl.Int64).alias("seed"), pl.all())
        for (model, variant, seed), found in parts.items()
        for part in found
    ]  # fmt: skip
    return tables.rounded(pl.concat([pl.DataFrame(schema=schema), *keyed]))


def measures(study: Study, scored: pl.DataFrame) -> Iterator[tuple[str, Cell, str, bool | None]]:
    """(ablation, cell, prompt id, outcome) of every reply in a table of judgements or grades, for each measure.

    A reply is *unparsable* when it is incomplete or has no score, when an organism neither refuses nor complies, or when it
    holds no answer that could be graded.
    """
    for row in scored.iter_rows(named=True):
        measure = study.benchmarks[row["benchmark"]].measure
        if measure == "accuracy":
            broken = row["correct"] is None or not row["extracted"]
            outcomes = {"accuracy": row["correct"], "unparsable": broken}
        else:
            by_rule = study.judges[row["judge"]].kind == "organism_rule"
            broken = row["score"] is None or (by_rule and row["score"] == judges.NEITHER)
            outcomes = {"misalignment": row["misaligned"], "refusal": row["refusal"], "unparsable": broken}
            if measure == "false_refusal":
                outcomes = {"false_refusal": row["refusal"], "unparsable": broken}
        for name, outcome in outcomes.items():
            yield row["ablation"], (row["think"], name, row["benchmark"]), row["id"], outcome


def ablation_rows(study: Study, run: Run, scored: list[pl.DataFrame], sets: dict[str, Any]) -> list[dict[str, Any]]:
    """The effects of every ablation of one run.

    Args:
        scored: judgements and grades, of the model as it is and ablated.
        sets: ablation -> heads.
    """
    found: dict[str, dict[Cell, Outcome]] = {}
    for table in scored:
        for ablation, cell, id_, outcome in measures(study, table):
            found.setdefault(ablation, {}).setdefault(cell, {})[id_] = outcome
    rows = []
    for ablation, heads in sets.items():
        head_set, replacement, draw = ablation.split(":")
        keys: dict[str, Any] = dict(zip(("model", "variant", "seed"), run, strict=True))
        keys |= {"head_set": head_set, "replacement": replacement, "draw": draw}
        keys["heads"] = " ".join(f"L{layer}H{head}" for layer, head in heads)
        randoms = [name for name in sets if name.startswith(f"{head_set}:{replacement}:random")]
        for cell, replies in found[ablation].items():
            cell_keys = {**keys, **dict(zip(("think", "measure", "benchmark"), cell, strict=True))}
            whole = found["none"][cell]
            rows.append({**cell_keys, "against": "none", **against(replies, [whole], whole)})
            if draw == "found" and randoms:
                others = [found[name][cell] for name in randoms]
                rows.append({**cell_keys, "against": "random", **against(replies, others, whole)})
    return rows


def against(ablated: Outcome, references: list[Outcome], whole: Outcome) -> dict[str, Any]:
    """The mean change from the references, prompt by prompt; an incomplete reply (None) counts as False."""
    after = np.array([bool(value) for value in ablated.values()], float)
    before = np.array([[bool(reference[id_]) for id_ in ablated] for reference in references], float).mean(0)
    if len(references) == 1:
        value, low, high, p = statistics.paired_rates(before.astype(bool), after.astype(bool))
    else:
        value, low, high, p = statistics.mean_difference(after - before)
    row: dict[str, Any] = {"n": len(ablated), "incomplete": sum(value is None for value in ablated.values())}
    row |= {"estimate": value, "ci_low": low, "ci_high": high, "p": p}
    return {**row, "reference": float(np.mean([bool(whole[id_]) for id_ in ablated]))}


def ablation_effects(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """All effects; those of the found sets are Holm-adjusted within each run, measure and comparison."""
    families: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in [row for row in rows if row["draw"] == "found"]:
        family = tuple(row[name] for name in ("model", "variant", "seed", "measure", "against"))
        families.setdefault(family, []).append(row)
    for members in families.values():
        for row, p in zip(members, statistics.holm([row["p"] for row in members]), strict=True):
            row["p_holm"] = p
    return tables.results_table("ablation_effects", rows, contracts.MECHANISM_TABLES)
