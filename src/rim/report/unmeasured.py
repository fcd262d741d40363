"""What could not be measured, in words: how many replies are missing, why, and the setting to change."""

from __future__ import annotations

import polars as pl

from rim.report.labels import arm
from rim.report.page import Material
from rim.report.wording import ResultRow, estimate, listed
from rim.results.tables import headline, is_significant

MOST = 0.5  # missing replies from this share on come before any verdict
MANY = 0.1  # incoherent replies from this share on cast doubt on those that were judged


def change(row: ResultRow) -> str:
    """A change with its interval and whether it is significant, or that there was nothing to measure it on."""
    if row["estimate"] is None:
        return f"not measured ({row['incomplete']} replies left out, none to compare)"
    return f"{estimate(row, signed=True)}{'' if is_significant(row) else ' (not significant)'}"


def missing_replies(material: Material) -> list[str]:
    """Why most replies to harmful requests are missing, one sentence for each reason; empty when most are there."""
    rates = headline(material.tables["rates"]).filter(pl.col("measure") == "misalignment")
    total, missing = int((rates["n"] + rates["incomplete"]).sum()), int(rates["incomplete"].sum())
    if missing < MOST * total or not missing:
        return []
    incoherent = int(rates["incoherent"].sum())
    unjudged = min(_unjudged(material), missing - incoherent)
    lines = []
    if cut_off := missing - incoherent - unjudged:
        lines.append(f"{cut_off} of {total} replies to requests that should be refused were {_cut_off(material)}.")
    if incoherent:
        lines.append(
            f"{incoherent} of {total} replies to such requests are no language any more (loops or random words): look at what was done to the model."
        )
    if unjudged:
        judge = next(iter(material.study.judges))
        lines.append(
            f"On {unjudged} of {total} such replies the judge '{judge}' gave no answer that can be used; see its requests, and change "
            f"judges.{judge} or its endpoint."
        )
    return lines


def incoherent_replies(material: Material) -> list[str]:
    """A warning where many replies to harmful requests are incoherent: what passes as language may mean no more."""
    rates = headline(material.tables["rates"]).filter(pl.col("measure") == "misalignment")
    share = pl.col("incoherent") / (pl.col("n") + pl.col("incomplete"))
    called = arm(material.study)
    told = [
        f"{row['model']}, {called(row)}, thinking {row['think']}: {row['incoherent']} of {row['n'] + row['incomplete']}"
        for row in rates.filter(share >= MANY).sort(share, descending=True, maintain_order=True).iter_rows(named=True)
    ]
    if not told:
        return []
    return [
        f"Warning, incoherent replies ({listed(told, 3)}): they are in no rate, but the others of such a model may be gibberish or a word or "
        "two as well, and count as misaligned where they do not refuse. Read some with `rim show` before using its rates."
    ]


def _unjudged(material: Material) -> int:
    """Replies that are complete and on which the main judge gave no usable answer."""
    sweep = material.tables.get("threshold_sweep")
    if sweep is None:
        return 0
    judge, settings = next(iter(material.study.judges.items()))
    at = (pl.col("judge") == judge) & (pl.col("text") == "response") & (pl.col("threshold") == settings.threshold)
    return int(sweep.filter(at)["errors"].sum())


def _cut_off(material: Material) -> str:
    """By which bounds replies end, and the settings to change."""
    study = material.study
    asked = study.measured("misalignment")
    own = {f"benchmarks.{name}": study.benchmarks[name].max_new_tokens for name in asked}
    bounds = {f"{where}.max_new_tokens": bound for where, bound in own.items() if bound}
    if None in own.values():
        bounds["inference.max_new_tokens"] = study.inference.max_new_tokens
    numbers = " or ".join(str(bound) for bound in dict.fromkeys(bounds.values()))
    thinks = any(
        set(study.inference_of(name).think) != {"off"} and model.think_switch == "template"
        for name, model in study.models.items()
    )
    thinking = (
        ", or set inference.max_thinking_tokens" if thinks and study.inference.max_thinking_tokens is None else ""
    )
    return f"cut off at {numbers} tokens or empty; raise {' and '.join(bounds)}{thinking}"


def without_contrast(material: Material) -> str:
    """That every judged reply refuses, or every one goes along, so that no change could show; empty otherwise."""
    rates = headline(material.tables["rates"]).filter((pl.col("measure") == "misalignment") & (pl.col("n") > 0))
    found = set(rates["estimate"])
    if found not in ({0.0}, {1.0}):
        return ""
    judge = next(iter(material.study.judges))
    every = "none of the judged replies goes along" if found == {0.0} else "every judged reply goes along"
    other = "requests that some replies comply with" if found == {0.0} else "requests that some replies refuse"
    return (
        f"Whether anything changed cannot be told: {every}, in any condition (n = {rates['n'].sum()}). Ask {other}, or "
        f"look whether judges.{judge} tells them apart."
    )
