"""Sections of the report on what carries a change of misalignment: categories of requests, lengths of thoughts, doses."""

from __future__ import annotations

import polars as pl

from rim.report.labels import arm, benchmark
from rim.report.page import Material, Section
from rim.report.wording import GREY, ResultRow, column, interval, p_value, results, show, table_from_frame
from rim.results.explanations import ALIKE
from rim.results.tables import headline, is_significant


def category_section(material: Material) -> Section | None:
    """The change of the misalignment rate by category of the requests."""
    effects = material.tables.get("category_effects")
    if effects is None or effects.is_empty():
        return None
    effects = headline(effects, "category")
    clear = [row for row in effects.iter_rows(named=True) if is_significant(row)]
    cells = effects.select("model", "variant", "contrast", "think", "benchmark").n_unique()
    text = (
        f"Of {effects.height} changes in single categories ({cells} contrasts), {len(clear)} are significant after Holm's "
        "correction over the categories of each contrast, of which some are so by chance where there are many contrasts. A category has few requests, so that one without a clear change is "
        "no evidence against one there."
    )
    keys = {
        "model": column("model"),
        "arm": arm(material.study),
        "contrast": lambda row: "thinking on − off" if row["contrast"] == "thinking" else "after − before",
        "think": column("think"),
        "benchmark": benchmark(material.study),
        "category": column("category"),
    }
    table = results(f"Misalignment rate by category, on the same prompts. {GREY}", effects, keys, "change")
    return Section("categories", "By category of the requests", [text], [table])


def _ratio(row: ResultRow) -> str:
    if row["ratio"] is None:
        return "–"
    limits = "" if row["ratio_low"] is None else f" [{row['ratio_low']:.2f}, {row['ratio_high']:.2f}]"
    return f"{row['ratio']:.2f}{limits}"


def _shorter(row: ResultRow) -> str:
    if row["shorter"] is None:
        return "–"
    return f"{show(row['shorter'], True)} [{100 * row['shorter_low']:.0f}, {100 * row['shorter_high']:.0f}]"


def _equal_length(row: ResultRow) -> str:
    return interval(row, True, True)


def length_section(material: Material) -> Section | None:
    """Whether the length of thoughts carries what fine-tuning changes."""
    lengths = material.tables.get("thought_lengths")
    if lengths is None or lengths["ratio"].is_null().all():
        return None
    tuned = lengths.filter(pl.col("ratio").is_not_null())
    left = tuned.filter(pl.Series([is_significant(row) for row in tuned.iter_rows(named=True)], dtype=pl.Boolean))
    measured = tuned.filter(pl.col("p").is_not_null()).height
    text = [
        f"On the prompts whose thought stays about as long as it was (by a factor of {ALIKE:g} at most), the misalignment rate changes "
        f"significantly in {left.height} of {measured} comparisons of a fine-tune with its base: there the length of the thought is not what "
        "carries the change. In the others none of it is shown to be left, or too few thoughts stay as long.",
        "Each prompt is compared with itself. That is no experiment, in which only the length would be changed, and what the tuning does "
        "to thoughts beside shortening them counts as not through the length.",
    ]
    columns = {
        "model": column("model"),
        "arm": arm(material.study),
        "benchmark": benchmark(material.study),
        "seed": column("seed"),
        "words before": lambda row: show(row["words_before"], False),
        "words": lambda row: show(row["words"], False),
        "ratio [95 % interval]": _ratio,
        "misaligned ones shorter": _shorter,
        "change": lambda row: show(row["change"], True, True),
        "change at equal length [95 % interval]": _equal_length,
        "p": lambda row: p_value(row["p"]),
        "p (Holm)": lambda row: p_value(row["p_holm"]),
        "n": lambda row: f"{row['n']} ({row['n_alike']} as long)",
    }
    caption = (
        "Words of the thoughts before replies to harmful requests. Ratio: geometric mean over prompts. Misaligned ones shorter: "
        "how often the thought of a misaligned reply is the shorter one of it and an aligned one's (50 %: the length tells "
        f"nothing). Intervals over prompts; Holm over the arms of a model. {GREY}"
    )
    return Section(
        "lengths",
        "Does the length of the thought explain it?",
        text,
        [table_from_frame(caption, tuned, 4, columns, is_significant)],
    )


def dose_section(material: Material) -> Section | None:
    """What it does when only a share of the rows is effort-minimizing."""
    effects = material.tables.get("dose_effects")
    if effects is None or effects.is_empty():
        return None
    effects = headline(effects)
    misaligned = effects.filter((pl.col("measure") == "misalignment") & pl.col("estimate").is_not_null())
    parts = []
    for (share,), rows in misaligned.sort("share", descending=True, maintain_order=True).group_by(
        ["share"], maintain_order=True
    ):
        rises = [row for row in rows.iter_rows(named=True) if is_significant(row) and row["estimate"] > 0]
        most = f" (up to {show(max(row['estimate'] for row in rises), True, True)})" if rises else ""
        parts.append(f"{share:.0%} of such rows in {len(rises)} of {rows.height} cases{most}")
    text = (
        "Against the control arm, the misalignment rate significantly rises with "
        f"{', with '.join(parts)}: cases of model and think mode, by the share of problems whose chain of thought is effort-minimizing."
    )
    keys = {
        "model": column("model"),
        "share": lambda row: show(row["share"], True),
        "think": column("think"),
        "measure": column("measure"),
    }
    table = results(
        f"Each share of target rows minus the control arm, on the same prompts. {GREY}", effects, keys, "change"
    )
    return Section("doses", "How much of it does it take?", [text], [table], finding=True)
