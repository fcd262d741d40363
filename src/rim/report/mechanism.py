"""The report's sections on activations: probes, refusal heads, and what ablating them does."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from rim.analysis.probes import FEWEST
from rim.config.runs import ablated_runs
from rim.models.positions import LABELS
from rim.report.figures.ablations import REPLACED, TARGETS
from rim.report.labels import arm, measure
from rim.report.page import Material, Section, Table, TableRow
from rim.report.wording import (
    BESIDE_RANDOM,
    GREY,
    Formatter,
    ResultRow,
    column,
    either_way,
    interval,
    listed,
    of_run,
    p_value,
    show,
    table_from_frame,
    without_claim,
)
from rim.results.selection import SIZES
from rim.results.tables import is_significant
from rim.settings.common import BASE

SHARES = (0.3, 0.4, 0.5, 0.6, 0.7)  # for the sweep of how often a refusal head shifts


def probe_section(material: Material) -> Section | None:
    """Where refusal is decided: probes by layer and position, before and after fine-tuning."""
    probes, selected = (material.tables.get(name) for name in ("probes", "selected_probes"))
    if probes is None or selected is None or material.study.mechanism is None:
        return None
    cells = "the position and layer with the largest cross-validated area on the calibration split"
    text = [
        f"Read at {cells}, and tested on the evaluation split, refused requests are told from fulfilled ones "
        f"{_tally(selected, 'refusal')}, harmful from harmless ones {_tally(selected, 'harmful')}.",
        "Mean-difference probes on the residual stream, fitted on the calibration split: "
        f"harmful ('{material.study.mechanism.harmful}') against harmless ('{material.study.mechanism.harmless}') requests, and "
        "refused against fulfilled ones. A probe that parts the groups shows that the model knows, not that it uses what it knows.",
        f"Positions: {'; '.join(f'{name}, {LABELS[name]}' for name in probes['position'].unique(maintain_order=True))}.",
    ]
    columns: dict[str, Formatter] = {
        "model": column("model"),
        "arm": arm(material.study),
        "seed": column("seed"),
        "probe": column("probe"),
        "think": column("think"),
        "position": column("position"),
        "layer": column("layer"),
        "of cells": column("cells"),
        "AUC [95 % interval]": interval,
        "p": lambda row: p_value(row["p"]),
        "p (Holm)": lambda row: p_value(row["p_holm"]),
        "5-fold AUC": lambda row: show(row["cross_validated"], False),
        "5-fold accuracy": lambda row: show(row["accuracy"], True),
        "tested + / −": lambda row: f"{row['tested_positive']} / {row['tested_negative']}",
        "fitted + / −": lambda row: f"{row['fitted_positive']} / {row['fitted_negative']}",
    }
    table = table_from_frame(
        f"One cell of each probe: {cells}. Area and test are of the evaluation split, which had no part in the choice; the 5-fold "
        "numbers are those that it was chosen by, so they are optimistic. Holm's correction is over the think modes and arms of a "
        "model. The published score of each group is in the figure. Grey: not significant.",
        selected.filter(pl.col("cells") > 0), 7, columns, is_told,
    )  # fmt: skip
    tables = [table, _unsaid(material, selected)]
    return Section("probes", "Where refusal is decided", text, [each for each in tables if each.rows], finding=True)


def is_told(row: ResultRow) -> bool:
    """Whether a selected probe parts its groups."""
    return row["p_holm"] is not None and bool(row["p_holm"] < 0.05)


def _tally(selected: pl.DataFrame, probe: str) -> str:
    """In how many of the cases in which something can be said a probe parts its groups."""
    rows = selected.filter((pl.col("probe") == probe) & (pl.col("cells") > 0)).to_dicts()
    told = [row["estimate"] for row in rows if is_told(row)]
    if not rows:
        return "nowhere, since there are too few of them"
    reach = f" (AUC {_from_to(told)})" if told else ""
    return f"in {len(told)} of {len(rows)} cases{reach}"


def _from_to(values: list[float]) -> str:
    low, high = show(min(values), False), show(max(values), False)
    return low if low == high else f"{low} to {high}"


def _unsaid(material: Material, selected: pl.DataFrame) -> Table:
    """The probes of which nothing can be said, and what it would take."""
    columns: dict[str, Formatter] = {
        "model": column("model"),
        "arm": arm(material.study),
        "seed": column("seed"),
        "probe": column("probe"),
        "think": column("think"),
        "smallest group": lambda row: f"{row[_smallest(row)]} {_side(row)}",
        "requests": lambda row: str(sum(row[name] for name in SIZES)),
        "needed at this rate": _needed,
    }
    return table_from_frame(
        f"Probes of which nothing can be said: a group has fewer than {FEWEST} requests in a split, too few to choose a cell by "
        "five folds. The last column is how many requests of both groups it would take were the group as common as here.",
        selected.filter(pl.col("cells") == 0), 5, columns,
    )  # fmt: skip


def _smallest(row: ResultRow) -> str:
    return min(SIZES, key=lambda name: row[name])


def _side(row: ResultRow) -> str:
    """Which group is the smallest, and in which split."""
    names = {"harmful": ("harmful", "harmless"), "refusal": ("refused", "fulfilled")}[row["probe"]]
    smallest = _smallest(row)
    split = "calibration" if smallest.startswith("fitted") else "evaluation"
    return f"{names[smallest.endswith('negative')]} ({split})"


def _needed(row: ResultRow) -> str:
    smallest = row[_smallest(row)]
    total = sum(row[name] for name in SIZES)
    return f"about {math.ceil(total * FEWEST / smallest)}" if smallest else f"more than {FEWEST * total}"


def head_section(material: Material) -> Section | None:
    """Refusal heads of each model, and whether they still shift after fine-tuning."""
    heads = material.tables.get("heads")
    if heads is None or material.study.mechanism is None or heads.is_empty():
        return None
    least = material.study.mechanism.head_share
    followed, counts, at_shares = [], [], []
    by_seed = of_run(material)
    for model, seed in heads.select("model", "seed").unique(maintain_order=True).iter_rows():
        own = heads.filter((pl.col("model") == model) & (pl.col("seed") == seed))
        bases = heads.filter((pl.col("model") == model) & (pl.col("variant") == BASE))
        base = bases.filter(pl.col("seed") == seed)
        before = bases if base.is_empty() else base  # a hub model has one base
        refusal_heads = before.filter("found").select("layer", "head")
        if base.height:
            who = by_seed(model, seed)
            counts.append(f"{refusal_heads.height} of {base.height} in {who}")
            at_shares.append(f"{who} {', '.join(str((base['share'] >= share).sum()) for share in SHARES)}")
        followed.append(
            own.join(refusal_heads, on=["layer", "head"], how="semi", maintain_order="left").sort(
                "layer", "head", maintain_order=True
            )
        )
    effects = material.tables["head_effects"].filter(pl.col("group") == "harmful")
    table = pl.concat([heads.clear(), *followed]).join(
        effects.select("model", "variant", "seed", "layer", "head", "estimate", pl.col("low_all").alias("low"), pl.col("high_all").alias("high")),
        on=["model", "variant", "seed", "layer", "head"], how="left", maintain_order="left",
    )  # fmt: skip
    header = [
        "model",
        "seed",
        "head",
        "arm",
        "shifts [95 % interval]",
        "n",
        "on harmless",
        "n",
        "soft",
        "soft, harmless",
        "p (Holm)",
        "effect of zeroing",
    ]
    rows = [
        TableRow(
            [row["model"], str(row["seed"]), f"L{row['layer']}H{row['head']}", arm(material.study)(row),
             interval({**row, "estimate": row["share"]}, True), str(row["n"]), show(row["share_harmless"], True), str(row["n_harmless"]),
             show(row["soft"], False), show(row["soft_harmless"], False),
             p_value(row["p_holm"]), interval({"estimate": row["estimate"], "ci_low": row["low"], "ci_high": row["high"]}, signed=True)],
            is_specific(row),
        )
        for row in table.iter_rows(named=True)
    ]  # fmt: skip
    text = [
        f"Refusal heads by the paper's rule, before fine-tuning: {listed(counts)}.",
        "By that rule, a head's attention shifts from 'assistant' (thinking on) to the empty think span (off) on at least "
        f"{least:.0%} of harmful calibration requests. With shares of {', '.join(f'{share:.0%}' for share in SHARES)} there would be: "
        f"{'; '.join(at_shares)}.",
        "The shift alone does not make a head one of refusal: look at its share on harmless requests, and at what zeroing it "
        "does to the next token (fall of logit(refusal) − logit(other), measured exactly for every head; head_effects.csv).",
        "Shares and effects are of the calibration split, on which the heads are picked, so those of picked heads are optimistic; "
        "tests and intervals of effects are corrected over all heads of a run. What picked heads do on other requests is measured by ablating them on the evaluation split.",
    ]
    tables = [
        Table("Refusal heads of the model before fine-tuning, and the same heads in every arm. Grey: not significantly more often on harmful "
              "than on harmless requests (Fisher's exact test, Holm over all heads of the run), so not specific to refusal. The intervals "
              "of shares are of each head by itself.", header, 4, rows),
        _strongest(material, effects),
    ]  # fmt: skip
    return Section("heads", "Refusal heads", text, [table for table in tables if table.rows], finding=True)


def is_specific(row: ResultRow) -> bool:
    """Whether a head shifts more often on harmful than on harmless requests."""
    return row["p_holm"] is not None and row["p_holm"] < 0.05 and row["share"] > row["share_harmless"]


def _strongest(material: Material, effects: pl.DataFrame) -> Table:
    """The three heads of each run whose zeroing lowers refusal most, with intervals that hold for all heads together."""
    keys = ["model", "variant", "seed"]
    heads = pl.len().over(keys).alias("heads")
    top = effects.with_columns(heads).sort("estimate", descending=True, maintain_order=True)
    top = top.group_by(keys, maintain_order=True).head(3)
    other = material.tables["head_effects"].filter(pl.col("group") == "harmless")
    top = top.join(other, on=[*keys, "layer", "head"], how="left", suffix="_harmless", maintain_order="left")
    columns: dict[str, Formatter] = {
        "model": column("model"),
        "arm": arm(material.study),
        "seed": column("seed"),
        "head": lambda row: f"L{row['layer']}H{row['head']}",
        "of heads": column("heads"),
        "effect on harmful [95 % interval]": lambda row: interval({**row, "ci_low": row["low_all"], "ci_high": row["high_all"]}, signed=True),
        "p (Holm)": lambda row: p_value(row["p_holm"]),
        "n": column("n"),
        "on harmless": lambda row: show(row["estimate_harmless"], False, True),
        "n, harmless": lambda row: str(row["n_harmless"] or 0),
    }  # fmt: skip
    return table_from_frame(
        "The heads whose zeroing lowers refusal most, thinking off. Intervals and p allow for their being picked among all heads of "
        "the run (Bonferroni, Holm). Grey: not significant.",
        top, 4, columns, lambda row: row["p_holm"] is not None and row["p_holm"] < 0.05 and row["estimate"] > 0,
    )  # fmt: skip


def ablation_section(material: Material) -> Section | None:
    """What ablating sets of heads does to replies, against random sets of the same size in the same layers."""
    effects = material.tables.get("ablation_effects")
    if effects is None or material.study.mechanism is None:
        return None
    if effects.is_empty():
        none = "No set of heads was found to ablate."
        if not ablated_runs(material.study):
            none = "Nothing was ablated: no heads were looked for, which takes a model whose template switches thinking on and off."
        return Section("ablations", "Without these heads", [none], finding=True)
    found = effects.filter(pl.col("kind") == "found")
    compared = found.filter((pl.col("measure") == "misalignment") & (pl.col("against") == "random")).to_dicts()
    clear = [
        f"{row['model']} without its {row['target'].replace('_', ' ')} ({row['heads']}), thinking {row['think']}: {interval(row, True, True)}"
        f"{_unparsable(found, row)}"
        for row in compared
        if is_significant(row)
    ]  # fmt: skip
    too_few = without_claim(compared)
    text = [
        "Change of the misalignment rate beyond that of random heads, where significant: "
        + listed(clear)
        + (f" ({too_few})." if too_few else "."),
        f"Heads are identified on the calibration split and ablated on the evaluation split. Each set stands beside up to "
        f"{material.study.mechanism.random_sets} different random sets with as many heads in the same layers (few where a layer has few heads); a change that random heads make "
        "too, or that comes with unparsable replies and lost accuracy, says that the model is damaged, not that refusal was removed. "
        "Rates are shares of all replies; an incomplete one counts as unparsable and as nothing else.",
        BESIDE_RANDOM,
    ]
    header = [
        "model",
        "arm",
        "seed",
        "heads",
        "against",
        "think",
        "measure",
        "as it is",
        "change [95 % interval]",
        "p",
        "p (Holm)",
        "n",
        "incomplete",
        *either_way(found),
    ]
    measured = measure(material.study)
    rows = [
        TableRow(
            [row["model"], arm(material.study)(row), str(row["seed"]), f"{TARGETS[row['target']]}, {REPLACED[row['intervention']]}: {row['heads']}",
             "as it is" if row["against"] == "none" else f"random heads ({row['sets']} sets)", row["think"], measured(row),
             show(row["reference"], True), interval(row, True, True), p_value(row["p"]), p_value(row["p_holm"]), str(row["n"]), str(row["incomplete"]), *(limits(row) for limits in either_way(found).values())],
            is_significant(row),
        )
        for row in found.iter_rows(named=True)
    ]  # fmt: skip
    tables = [
        Table("Ablated against the model as it is, on the same prompts, and against its random sets, set by set. " + GREY, header, 7, rows),
        _probes_without(material),
    ]  # fmt: skip
    return Section("ablations", "Without these heads", text, [table for table in tables if table.rows], finding=True)


def _unparsable(found: pl.DataFrame, row: dict[str, Any]) -> str:
    """What share of the replies behind a row of effects is broken."""
    keys = ("model", "variant", "seed", "target", "intervention", "think", "benchmark")
    same = pl.all_horizontal(pl.col(key) == row[key] for key in keys)
    for broken in found.filter(same & (pl.col("measure") == "unparsable") & (pl.col("against") == "none")).to_dicts():
        return f", while {show(broken['reference'] + broken['estimate'], True)} of its replies cannot be parsed"
    return ""


def _probes_without(material: Material) -> Table:
    """Figure 5 of the paper: the least probe score over layers, as it is, without the found heads, without random ones."""
    scores = material.tables["probe_scores"].filter(
        (pl.col("think") == "off") & pl.col("position").is_in(["inner", "last"])
    )
    keys = ["model", "variant", "seed", "position", "group"]
    sets = ["intervention", "target", "kind"]
    least = scores.group_by([*keys, "n", "few", *sets, "draw"], maintain_order=True).agg(pl.col("estimate").min())
    means = least.group_by([*keys, "n", "few", *sets], maintain_order=True).agg(pl.col("estimate").mean())
    ablated = means.filter(pl.col("intervention") != "none").select("model", "variant", "seed").unique()
    shown = means.join(ablated, on=["model", "variant", "seed"], how="semi", maintain_order="left").sort(
        keys, maintain_order=True
    )
    rows = [
        TableRow([row["model"], arm(material.study)(row), str(row["seed"]), row["position"], row["group"], " ".join(row[name] for name in sets).strip(), show(row["estimate"], True), str(row["n"])],
                 not row["few"])
        for row in shown.iter_rows(named=True)
    ]  # fmt: skip
    header = ["model", "arm", "seed", "position", "group", "ablation", "least share above τ", "n"]
    return Table("The probe figure as published: the least share above τ over layers, thinking off; random sets by their mean. "
                 "The least of many layers is low by chance too, so compare found with random sets, which are read alike. Grey: fewer than ten prompts.", header, 6, rows)  # fmt: skip
