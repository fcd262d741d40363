"""What the first screen judges, corrected together: among many models and arms something is below .05 by chance."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from rim.core.statistics import ENOUGH_SETS
from rim.report.page import Material
from rim.results.tables import headline, with_holm
from rim.settings.common import BASE


def family(material: Material) -> pl.DataFrame:
    """The tests of the first screen: the table of each, its row there (`place`), p, and p after Holm's correction over all."""
    mitigated = [name for name, variant in material.study.variants.items() if variant.mitigation]
    misaligned, base = pl.col("measure") == "misalignment", pl.col("variant") == BASE
    tested = misaligned & (pl.col("kind") == "found") & (pl.col("sets") >= ENOUGH_SETS)
    judged = {
        "think_effects": misaligned & base,
        "finetune_effects": misaligned & ~pl.col("variant").is_in(mitigated),
        "pair_effects": misaligned & (pl.col("contrast") == "difference"),
        "selected_probes": base & (pl.col("probe") == "harmful"),
        "ablation_effects": tested & (pl.col("against") == "random"),
        "neuron_effects": tested & (pl.col("against") == "matched"),
    }
    parts = []
    for name in (name for name in judged if name in material.tables):
        rows = material.tables[name].with_row_index("place").filter(judged[name])
        over_seeds = headline(rows) if rows.schema["seed"] == pl.String else rows
        parts.append(over_seeds.filter(pl.col("p").is_not_null()).select(pl.lit(name).alias("table"), "place", "p"))
    return with_holm(pl.concat(parts))


def corrected(material: Material) -> Material:
    """The material whose p after Holm's correction is that over all tests of the first screen, where it judges."""
    tables = dict(material.tables)
    for (name,), own in family(material).group_by("table"):
        numbered = tables[str(name)].with_row_index("place")
        tables[str(name)] = numbered.update(own.select("place", "p_holm"), on="place").drop("place")
    return replace(material, tables=tables)
