"""Draw the figures of a study from its tables, as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rim import figures, forgetting_figures, forgetting_tables, mechanism_figures, mechanism_tables, pattern_tables
from rim.files import write_text
from rim.tables import read_results


def run(settings: dict[str, Any], tables: Path, output: Path) -> None:
    import vl_convert

    found = read_results(tables)
    charts: dict[str, Any] = {"think": figures.think_figure(found["rates"])}
    if found["finetune_effects"].height:
        charts["finetune"] = figures.finetune_figure(found["finetune_effects"])
    if found["mitigation_effects"].height:
        charts["mitigation"] = figures.mitigation_figure(found["mitigation_effects"])
    if found["pair_effects"].height:
        charts["pair"] = figures.pair_figure(found["pair_effects"])
    if settings["injection"]:
        injection = read_results(tables, pattern_tables.RESULTS)["injection_effects"]
        charts["injection"] = figures.injection_figure(injection)
    if settings["mechanism"]:
        analyses = read_results(tables, mechanism_tables.RESULTS)
        charts |= {name: mechanism_figures.draw(name, analyses) for name in mechanism_figures.FIGURES}
    if settings["forgetting"]:
        courses = read_results(tables, forgetting_tables.RESULTS)
        charts |= {name: forgetting_figures.draw(name, courses) for name in forgetting_figures.FIGURES}
    for name, chart in charts.items():
        write_text(output / f"{name}.svg", vl_convert.vegalite_to_svg(chart.to_json()))
