"""Draw the figures of a study from its tables, as SVG."""

from __future__ import annotations

from pathlib import Path

from rim import figures, pattern_tables
from rim.files import write_text
from rim.tables import read_results


def run(tables: Path, injection: list[Path], output: Path) -> None:
    import vl_convert

    found = read_results(tables)
    charts = {"think": figures.think_figure(found["rates"])}
    if found["finetune_effects"].height:
        charts["finetune"] = figures.finetune_figure(found["finetune_effects"])
    if found["pair_effects"].height:
        charts["pair"] = figures.pair_figure(found["pair_effects"])
    for folder in {path.parent for path in injection}:
        charts["injection"] = figures.injection_figure(
            read_results(folder, pattern_tables.RESULTS)["injection_effects"]
        )
    for name, chart in charts.items():
        write_text(output / f"{name}.svg", vl_convert.vegalite_to_svg(chart.to_json()))
