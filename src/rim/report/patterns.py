"""Sections of the report on effort-minimizing patterns and their injection."""

from __future__ import annotations

import polars as pl

from rim.report.judges import _percent
from rim.report.labels import benchmark
from rim.report.page import Material, Section, Table
from rim.report.replies import averages
from rim.report.wording import (
    GREY,
    Formatter,
    column,
    either_way,
    interval,
    p_value,
    table_from_frame,
)
from rim.results.tables import headline, is_significant


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

    def share(pattern: str) -> Formatter:
        return lambda row: interval(row[pattern], percent=True)

    keys = {name: column(name) for name in ("annotator", "origin", "benchmark", "think", "source")}
    keys["benchmark"] = benchmark(material.study)
    cells = keys | {name: share(name) for name in names} | {name: column(name) for name in ("n", "errors")}
    title = "Share of texts that show a pattern, before fine-tuning and in the training data; 95 % score intervals."
    tables = [table_from_frame(title, wide, len(keys), cells)]
    tables += _divergence(material) + _agreement_of_annotators(material)
    kinds = "; ".join(f"'{name}' ({annotator.kind})" for name, annotator in material.study.annotators.items())
    text = [
        f"Annotators: {kinds}. Chains of thought and responses are annotated apart from each other. A text counts for a "
        "pattern when at least one passage of it shows it; texts that could not be annotated are listed as errors."
    ]
    return Section("patterns", "Effort-minimizing patterns", text, tables=tables)


def _divergence(material: Material) -> list[Table]:
    data, outcomes = material.tables["arm_divergence"], material.tables["rewrite_outcomes"]
    tables = []
    if data.height:
        caption = (
            "How far target and control chains of thought of the same problems are apart; intervals over problems."
        )
        keys = {name: column(name) for name in ("target", "control", "measure")}
        tables.append(table_from_frame(caption, data, 3, {**keys, "mean [95 % interval]": interval, "n": column("n")}))
    if outcomes.height:
        names = ("rewrite", "arm", "outcome", "n")
        tables.append(
            table_from_frame("What became of every rewrite.", outcomes, 3, {name: column(name) for name in names})
        )
    return tables


def _agreement_of_annotators(material: Material) -> list[Table]:
    data = material.tables["annotator_agreement"]
    if data.is_empty():
        return []
    keys = {name: column(name) for name in ("first", "second", "source", "pattern")}
    columns = {**keys, "κ [95 % interval]": interval, "n": column("n")}
    return [
        table_from_frame("Agreement of annotators on whether a text shows a pattern (Cohen's κ).", data, 4, columns)
    ]


def injection_section(material: Material) -> Section | None:
    """Figure 2 of the paper, for every model."""
    effects = material.tables.get("injection_effects")
    if effects is None or effects.is_empty():
        return None
    main = headline(effects)
    significant = [row["estimate"] for row in main.iter_rows(named=True) if is_significant(row)]
    rises, falls = sum(value > 0 for value in significant), sum(value < 0 for value in significant)
    known, incomplete = main["estimate"].count(), int(main["incomplete"].sum())
    finding = (
        f"An encouraging statement in place of its discouraging twin significantly raises the misalignment rate in {rises} of "
        f"{known} combinations of model and pattern, significantly lowers it in {falls}."
        + (
            f" In {len(main) - known} it could not be measured: no reply was complete on both sides."
            if known < len(main)
            else ""
        )
        if known
        else f"Not measured: no prompt has a complete reply after both statements of a pair ({incomplete} were left out); raise "
        "inference.max_new_tokens, or look at what the model replies with `rim show`."
    )
    caution = (
        "Only the difference between the two statements of a pair is the effect of the pattern: any statement at all "
        "takes the place of the model's own first words, as the rate without a statement shows."
    )
    columns: dict[str, Formatter] = {name: column(name) for name in ("model", "pattern")}
    columns["benchmark"] = benchmark(material.study)
    for title, name in {"no statement": "plain", "discouraging": "control", "encouraging": "target"}.items():
        columns[title] = _percent(name)
    columns |= {
        "difference [95 % interval]": lambda row: interval(row, True, True),
        "p": lambda row: p_value(row["p"]),
        "p (Holm)": lambda row: p_value(row["p_holm"]),
        "n": column("n"),
        "incomplete": column("incomplete"),
        **either_way(main),
    }
    caption = f"Misalignment rate with thinking on, before fine-tuning, after a statement at the head of the think block. {GREY}"
    table = table_from_frame(caption, main, 3, columns, is_significant)
    tables = [table, *averages(material, main, {"pattern": column("pattern"), "benchmark": benchmark(material.study)})]
    return Section("injection", "Patterns injected at inference", [finding, caution], tables, finding=True)
