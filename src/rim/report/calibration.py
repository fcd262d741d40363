"""The sections of the report on ground truth: how well each method finds the parts in which safety is known to sit, and which claims are borne out."""

from __future__ import annotations

import polars as pl

from rim.config.study import Study
from rim.report.figures.calibration import TAUGHT
from rim.report.page import Material, Section, Table, TableRow
from rim.report.wording import ResultRow, column, interval, listed, table_from_frame

PARTS = {"neuron": "neurons", "head": "heads"}
SHIFTS, EFFECTS = ("shift", "soft shift"), ("attribution", "zeroing")
METHODS = {"neuron": ("intent", "intent less placebo", "contrast", *EFFECTS), "head": (*SHIFTS, *EFFECTS)}
TITLE = "Do the methods find what is there?"
NEEDED = "Grades need the section 'forgetting' with neuron_type 'neurons' and replies 'shared', and a benchmark that measures false_refusal."


def calibration_section(material: Material) -> Section | None:
    """What every method finds where it is known what there is to find."""
    grafts = material.study.grafts
    grades = material.tables.get("method_grades")
    if grades is None or grades.is_empty():
        return Section("calibration", TITLE, [f"Not graded: {', '.join(grafts)}. {NEEDED}"]) if grafts else None
    areas = grades.filter(measure="area", teaches="alignment")
    above = areas.filter(areas["ci_low"] > 0.5)
    finding = (
        f"New {' and '.join(PARTS[part] for part in areas['part'].unique(maintain_order=True))} were trained alone, so that what alignment "
        f"taught lies in them. {above.height} of {areas.height} rankings put them above other parts more often than chance does."
        if areas.height
        else "No graft was taught to refuse."
    )
    reading = (
        "Zeroing the new parts gives back the model that they were added to, exactly. A method that also finds new parts which were "
        "taught something harmless finds what is new rather than what refuses. The organism is the unit, its seeds are averaged over. "
        "Models without a graft are not graded, since it is not known where safety sits in them."
    )
    keys = {
        "model": column("model"),
        "taught": lambda row: TAUGHT[row["teaches"]],
        "parts": lambda row: PARTS[row["part"]],
        "method": column("method"),
        "measure": lambda row: f"{row['measure']}, {row['cut']}" if row["cut"] else row["measure"],
    }
    values = {"organisms": column("seeds"), "value": _value, "by chance": _chance}
    caption = "How well each method finds grafted parts; the area is that under the ROC curve."
    table = table_from_frame(caption, grades, len(keys), keys | values)
    text = [finding, reading, *left_out(material.study, grades)]
    return Section("calibration", TITLE, text, [table], finding=True)


def claims_section(material: Material) -> Section | None:
    """In which organisms each claim of the paper is borne out."""
    verdicts = material.tables.get("claim_verdicts")
    if verdicts is None or verdicts.is_empty():
        return None
    claims = verdicts.group_by("claim", maintain_order=True).agg(pl.col("tested", "supported").sum())
    tested, never = (claims.filter((pl.col("tested") > 0) == known) for known in (True, False))
    finding = (
        f"{tested.filter(pl.col('supported') > 0).height} of {tested.height} claims of the paper that could be tested are borne out "
        "in some organism, by the paper's own rule."
    )
    reading = (
        "Each seed of a recipe is an organism of its own. A claim counts where its test is significant in one organism, so one in "
        "twenty counts where there is nothing. A dash: in no organism could it be tested, for want of heads or neurons to ablate, or of "
        "other sets to compare them with."
    )
    left = [f"Never tested: {listed(never['claim'].to_list(), 4)}."] if never.height else []
    title = "Which claims are borne out, and in which organisms"
    return Section("claims", title, [finding, reading, *left], [_verdicts(verdicts)], finding=True)


def _verdicts(verdicts: pl.DataFrame) -> Table:
    """A row for each claim, a column for each model."""
    count = pl.format("{} of {}", "supported", "tested")
    wide = verdicts.with_columns(pl.when(pl.col("tested") > 0).then(count).otherwise(pl.lit("–")).alias("cell"))
    rows = [
        TableRow([str(claim), *own["cell"]], bool(own["supported"].sum()))
        for (claim,), own in wide.group_by("claim", maintain_order=True)
    ]
    models = verdicts.unique("model", maintain_order=True)
    header = [
        "claim",
        *(f"{name} (refusal: {place})" for name, place in models.select("model", "refusal_in").iter_rows()),
    ]
    caption = (
        "In how many of the organisms tested each claim of the paper is borne out, beside where refusal was trained."
    )
    return Table(caption, header, 1, rows)


def left_out(study: Study, grades: pl.DataFrame) -> list[str]:
    """Which methods say nothing of which models, and why: a sentence for each reason."""
    reasons: dict[str, list[str]] = {}
    for name, graft in study.grafts.items():
        found = set(grades.filter(model=name, measure="area").select("part", "method").iter_rows())
        for part in (part for part, count in (("neuron", graft.neurons), ("head", graft.heads)) if count):
            for method in (method for method in METHODS[part] if (part, method) not in found):
                reasons.setdefault(_why_not(study, name, method), []).append(f"{method} on {PARTS[part]} of {name}")
    return [f"Not graded: {listed(what, 12)}. {why}" for why, what in reasons.items()]


def _why_not(study: Study, model: str, method: str) -> str:
    """Why a method says nothing of a model."""
    if method in SHIFTS:
        return "Attention is compared by the section 'mechanism', where a request is asked with thinking on and off."
    if "off" not in study.inference_of(model).think:
        return "It goes by the first token of a reply without thinking, and no request is asked with thinking off."
    return "It goes by the first token of a reply without thinking, and refusals begin as other replies do."


def _value(row: ResultRow) -> str:
    return (
        f"{row['estimate']:.1f} parts" if row["measure"] == "found" and row["estimate"] is not None else interval(row)
    )


def _chance(row: ResultRow) -> str:
    return "–" if row["chance"] is None else f"{row['chance']:.2f}"
