"""All figures of a study by name, and what the report does with a chart to let its reader filter it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rim.report.figures import forgetting, mechanism, replies
from rim.report.figures.style import Labels, Tables

FIGURES: dict[str, tuple[str, Callable[[Tables, Labels], Any]]] = {  # name -> the table it needs, and what draws it
    "overview": ("rates", replies.overview_figure),
    "think": ("rates", replies.think_figure),
    "injection": ("injection_effects", replies.injection_figure),
    "finetune": ("finetune_effects", replies.finetune_figure),
    "mitigation": ("mitigation_effects", replies.mitigation_figure),
    "pair": ("pair_effects", replies.pair_figure),
    "probes": ("probe_scores", mechanism.probe_figure),
    "probe_areas": ("probes", mechanism.area_figure),
    "heads": ("heads", mechanism.head_figure),
    "ablations": ("ablation_effects", mechanism.ablation_figure),
    "neurons": ("neuron_stability", forgetting.neuron_figure),
    "neuron_layers": ("neuron_layers", forgetting.layer_figure),
    "neuron_effects": ("neuron_effects", forgetting.effect_figure),
    "forgetting": ("checkpoint_rates", forgetting.course_figure),
    "ras": ("checkpoints", forgetting.ras_figure),
    "correlations": ("correlations", forgetting.correlation_figure),
}
FILTERS = {"model": "model", "variant": "arm", "think": "thinking"}  # columns -> what the reader sees
MANY = 12  # panels; a figure with more begins with its first model alone


def charts(tables: Tables, labels: Labels) -> dict[str, Any]:
    """Every figure whose table the study has."""
    import altair as alt

    alt.data_transformers.disable_max_rows()  # ten models have more than its 5000
    return {name: draw(tables, labels) for name, (table, draw) in FIGURES.items() if table in tables}


def interactive(chart: Any) -> dict[str, Any] | None:
    """The Vega-Lite specification of a chart, with a choice for each column of its data that has several values.

    None for a chart that has nothing to show.
    """
    spec: dict[str, Any] = chart.to_dict()
    if "facet" not in spec:
        return None
    (rows,) = spec["datasets"].values()
    for row in rows:
        row.update({name: float(f"{value:.4g}") for name, value in row.items() if isinstance(value, float)})
    spec["params"], spec["transform"] = list(spec.get("params", [])), list(spec.get("transform", []))
    crowded = len({row["panel"] for row in rows}) > MANY
    for column, name in FILTERS.items():
        values = list(dict.fromkeys(row[column] for row in rows if row.get(column) is not None))
        if len(values) > 1:
            chosen = values[0] if crowded and column == "model" else "all"
            options = {"input": "select", "options": ["all", *values], "name": f"{name} "}
            spec["params"].append({"name": f"only_{column}", "value": chosen, "bind": options})
            spec["transform"].append({"filter": f"only_{column} == 'all' || datum.{column} == only_{column}"})
    return spec
