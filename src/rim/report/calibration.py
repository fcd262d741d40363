"""The section of the report on ground truth: how well each method finds the parts in which safety is known to sit."""

from __future__ import annotations

from rim.report.page import Material, Section
from rim.report.wording import ResultRow, column, interval, table_from_frame

PARTS = {"neuron": "neurons", "head": "heads"}
TAUGHT = {"alignment": "safety", "sign_off": "a phrase (harmless)"}


def calibration_section(material: Material) -> Section | None:
    """What every method finds where it is known what there is to find."""
    grades = material.tables.get("method_grades")
    if grades is None or grades.is_empty():
        return None
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
        "taught something harmless finds what is new rather than what refuses. The organism is the unit, its seeds are averaged over."
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
    return Section("calibration", "Do the methods find what is there?", [finding, reading], [table], finding=True)


def _value(row: ResultRow) -> str:
    return (
        f"{row['estimate']:.1f} parts" if row["measure"] == "found" and row["estimate"] is not None else interval(row)
    )


def _chance(row: ResultRow) -> str:
    return "–" if row["chance"] is None else f"{row['chance']:.2f}"
