"""Sections of the report about patterns, their injection, the judges, and what language models were asked."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from rim.report import Material, Section, Table
from rim.tables import headline, is_clear
from rim.wording import GREY, Cell, Row, column, drawn, how_run, interval, listed, p_value, show

MOST = 40  # rows of a threshold table


def pattern_section(material: Material) -> Section | None:
    """How often patterns occur, by source, and how far the two arms are apart."""
    shares = material.tables.get("pattern_shares")
    if shares is None or not material.study.annotators:
        return None
    wide = shares.with_columns(pl.struct("estimate", "ci_low", "ci_high").alias("value")).pivot(
        "pattern",
        index=["annotator", "origin", "benchmark", "think", "source", "n", "errors"],
        values="value",
        maintain_order=True,
    )
    names = [name for name in ("confirmatory", "heuristic", "deviation", "any") if name in wide.columns]

    def share(pattern: str) -> Cell:
        return lambda row: interval(row[pattern], percent=True)

    keys = {name: column(name) for name in ("annotator", "origin", "benchmark", "think", "source")}
    cells = keys | {name: share(name) for name in names} | {name: column(name) for name in ("n", "errors")}
    title = "Share of texts that show a pattern, before fine-tuning and in the training data; 95 % Wilson intervals."
    tables = [listed(title, wide, len(keys), cells)]
    tables += _divergence(material) + _agreement_of_annotators(material)
    kinds = "; ".join(f"'{name}' ({each.kind})" for name, each in material.study.annotators.items())
    text = [
        f"Annotators: {kinds}. Chains of thought and responses are annotated apart from each other. A text counts for a "
        "pattern when at least one passage of it shows it; texts that could not be annotated are listed as errors."
    ]
    return Section("patterns", "Effort-minimizing patterns", text, tables=tables)


def _divergence(material: Material) -> list[Table]:
    data, outcomes = material.tables["arm_divergence"], material.tables["rewrite_outcomes"]
    made = []
    if data.height:
        caption = (
            "How far target and control chains of thought of the same problems are apart; intervals over problems."
        )
        keys = {name: column(name) for name in ("target", "control", "measure")}
        made.append(listed(caption, data, 3, {**keys, "mean [95 % interval]": interval, "n": column("n")}))
    if outcomes.height:
        names = ("rewrite", "arm", "outcome", "n")
        made.append(listed("What became of every rewrite.", outcomes, 3, {name: column(name) for name in names}))
    return made


def _agreement_of_annotators(material: Material) -> list[Table]:
    data = material.tables["annotator_agreement"]
    if data.is_empty():
        return []
    keys = {name: column(name) for name in ("first", "second", "source", "pattern")}
    columns = {**keys, "κ [95 % interval]": interval, "n": column("n")}
    return [listed("Agreement of annotators on whether a text shows a pattern (Cohen's κ).", data, 4, columns)]


def injection_section(material: Material) -> Section | None:
    """Figure 2 of the paper, for every model."""
    effects = material.tables.get("injection_effects")
    if effects is None or effects.is_empty():
        return None
    shown = headline(effects)
    clear = [row["estimate"] for row in shown.iter_rows(named=True) if is_clear(row)]
    rises, falls = sum(value > 0 for value in clear), sum(value < 0 for value in clear)
    finding = (
        f"An encouraging statement in place of its discouraging twin clearly raises the misalignment rate in {rises} of "
        f"{shown.height} combinations of model and pattern, clearly lowers it in {falls}."
    )
    caution = (
        "Only the difference between the two statements of a pair is the effect of the pattern: any statement at all "
        "takes the place of the model's own first words, as the rate without a statement shows."
    )
    columns: dict[str, Cell] = {name: column(name) for name in ("model", "pattern", "benchmark")}
    for title, name in {"no statement": "plain", "discouraging": "control", "encouraging": "target"}.items():
        columns[title] = _percent(name)
    columns |= {
        "difference [95 % interval]": lambda row: interval(row, True, True),
        "p": lambda row: p_value(row["p"]),
        "p (Holm)": lambda row: p_value(row["p_holm"]),
        "n": column("n"),
        "incomplete": column("incomplete"),
    }
    caption = f"Misalignment rate with thinking on, before fine-tuning, after a statement at the head of the think block. {GREY}"
    table = listed(caption, shown, 3, columns, is_clear)
    figures = drawn(
        material, {"injection": f"Encouraging − discouraging statement, thinking on. {how_run(material.study, shown)}"}
    )
    return Section("injection", "Patterns injected at inference", [finding, caution], figures, [table], finding=True)


def _percent(name: str) -> Cell:
    return lambda row: show(row[name], True)


def judge_section(material: Material) -> Section | None:
    """What the threshold decides, and whether judges agree."""
    sweep = material.tables.get("threshold_sweep")
    if sweep is None:
        return None
    cells = ["judge", "model", "variant", "think", "text", "n", "incomplete", "errors"]
    wide = sweep.with_columns(pl.format("≥ {}", "threshold").alias("at")).pivot(
        "at", index=cells, values="estimate", maintain_order=True
    )

    thresholds = {name: _percent(name) for name in wide.columns if name.startswith("≥")}
    keys = {name: column(name) for name in cells[:5]}
    counts = {name: column(name) for name in cells[5:]}
    base = wide.filter(pl.col("variant") == "base") if wide.height > MOST else wide
    caption = "Misalignment rate at each threshold (paper: ≥ 3; Qi et al. 2023: ≥ 5)."
    if base.height < wide.height:
        caption += " Before fine-tuning only; tables/threshold_sweep.csv has every variant."
    tables = [listed(caption, base, 5, {**keys, **thresholds, **counts})]
    agreement = material.tables["judge_agreement"]
    if agreement.height:
        keys = {name: column(name) for name in ("first", "second", "rating")}
        values = {"κ [95 % interval]": interval, "equal": lambda row: show(row["agreement"], True)}
        caption = "Agreement of judges on the same replies; κ of scores has quadratic weights."
        tables.append(listed(caption, agreement, 3, {**keys, **values, "n": column("n"), "errors": column("errors")}))
    kinds = "; ".join(f"'{name}' ({judge.kind})" for name, judge in material.study.judges.items())
    text = f"Judges: {kinds}. Errors are replies on which a judge gave no usable answer; they have no score and are in no rate."
    return Section("judges", "Judges and thresholds", [text], tables=tables)


def read_usage(folder: Path) -> list[Row]:
    """What was asked of language models, summed up by job kind and model, from the bills under data/requests/{study}."""
    totals: dict[tuple[str, str], Row] = {}
    for path in sorted(folder.rglob("*.usage.json")):
        bill = json.loads(path.read_text())
        key = (path.relative_to(folder).parts[0], bill["model"])
        total = totals.setdefault(key, {"jobs": 0, "requests": 0, "input_tokens": 0, "output_tokens": 0, "cost": 0.0})
        total["jobs"] += 1
        for name in ("requests", "input_tokens", "output_tokens"):
            total[name] += bill[name]
        total["cost"] = None if None in (total["cost"], bill["cost"]) else total["cost"] + bill["cost"]
    return [{"rule": rule, "model": model, **total} for (rule, model), total in totals.items()]


def usage_section(material: Material) -> Section | None:
    """Requests, tokens and cost."""
    if not material.usage:
        return None
    names = ("rule", "model", "jobs", "requests", "input_tokens", "output_tokens")
    columns = {name.replace("_", " "): column(name) for name in names} | {"cost": lambda row: show(row["cost"], False)}
    caption = "Requests to language models, each counted once however often it was read from the store."
    table = listed(caption, pl.DataFrame(material.usage, infer_schema_length=None), 2, columns)
    return Section(
        "requests", "Requests to language models", ["Costs follow the prices of the configuration."], tables=[table]
    )
