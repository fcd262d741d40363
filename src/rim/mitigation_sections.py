"""The section of the report on keeping refusals while fine-tuning: what each mitigation saves, and at what price."""

from __future__ import annotations

import polars as pl

from rim.report import Material, Section, Table, TableRow
from rim.settings.common import BASE
from rim.tables import headline, is_clear
from rim.wording import GREY, arm, column, drawn, estimate, how_run, measure, results

COLUMNS = ("misalignment", "false_refusal", "accuracy")


def mitigation_section(material: Material) -> Section | None:
    """Each mitigated arm beside the plain one and the base, and its difference from the plain one."""
    effects = headline(material.tables["mitigation_effects"])
    if effects.is_empty():
        return None
    study = material.study
    clear = [
        f"{row['model']}, {arm(study)(row)}, think {row['think']} {estimate(row, signed=True)}"
        for row in effects.filter(pl.col("measure") == "misalignment").iter_rows(named=True)
        if is_clear(row)
    ]
    text = [
        "Change of the misalignment rate against the same fine-tuning without a mitigation, where it is significant: "
        f"{'; '.join(clear) or 'none'}.",
        "A mitigation is worth having if it lowers misalignment and leaves false refusals and accuracy where they are. The "
        "requests on which the base was asked to refuse are in no benchmark.",
    ]
    keys = {"model": column("model"), "arm": arm(study), "think": column("think"), "measure": measure}
    tables = [
        _trade_off(material),
        results(f"Against the plain arm, on the same prompts. {GREY}", effects, keys, "change"),
    ]
    caption = f"Mitigated minus plain fine-tuning. Hollow: not significant. {how_run(study, effects)}"
    return Section(
        "mitigation", "Keeping refusals", text, drawn(material, {"mitigation": caption}), tables, finding=True
    )


def _trade_off(material: Material) -> Table:
    """The base, the plain arm and its mitigated versions, one row each, with everything that may be lost or won."""
    study, rates = material.study, headline(material.tables["rates"])
    shift = _last_shift(material)
    rows = []
    for model in study.models:
        mitigated = [name for name in study.variants_of(model) if study.variants[name].mitigation]
        arms = dict.fromkeys(each for name in mitigated for each in (BASE, study.plain_of(name), name))
        for variant in arms:
            for think in study.inference.think:
                own = rates.filter(
                    (pl.col("model") == model) & (pl.col("variant") == variant) & (pl.col("think") == think)
                )
                found = {row["measure"]: row for row in own.iter_rows(named=True)}
                cells = [estimate(found[name]) if name in found else "–" for name in COLUMNS]
                n = [f"{found[name]['n']} ({found[name]['incomplete']})" if name in found else "–" for name in COLUMNS]
                label = arm(study)({"variant": variant})
                rows.append(
                    TableRow([model, label, think, *cells, shift.get((model, str(variant)), "–"), " / ".join(n)])
                )
    header = ["model", "arm", "think", "misalignment", "false refusals", "accuracy", "RAS at the end", "n (incomplete)"]
    caption = "Rates after each arm. RAS as published over the safety-critical neurons, mean over seeds, where checkpoints are followed."
    return Table(caption, header, 3, rows)


def _last_shift(material: Material) -> dict[tuple[str, str], str]:
    """(model, variant) -> RAS of the last checkpoint."""
    checkpoints = material.tables.get("checkpoints")
    if checkpoints is None:
        return {}
    ras = checkpoints.filter((pl.col("metric") == "ras") & (pl.col("neurons") == "safety"))
    last = ras.filter(pl.col("step") == pl.col("step").max().over("model", "variant", "seed"))
    means = last.group_by("model", "variant", maintain_order=True).agg(pl.col("estimate").mean())
    return {(model, variant): f"{value:.3g}" for model, variant, value in means.iter_rows()}
