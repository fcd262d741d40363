"""The sections of the report, in order."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Callable
from importlib.metadata import version

import polars as pl

from rim.figures import MEASURES
from rim.forgetting_sections import forgetting_section, intervention_section, neuron_section
from rim.mechanism_sections import ablation_section, head_section, probe_section
from rim.mitigation_sections import mitigation_section
from rim.report import Figure, Material, Section, Table, TableRow
from rim.settings.common import BASE
from rim.tables import headline
from rim.wording import GREY, arm, column, estimate, how_run, is_clear, measure, results

PACKAGES = ("snakemake", "torch", "transformers", "peft", "datasets", "polars", "scipy", "altair", "math-verify")


def think_section(material: Material) -> Section:
    """Table 1: thinking on against off, before any fine-tuning."""
    base = pl.col("variant") == BASE
    rates, effects = (headline(material.tables[name]).filter(base) for name in ("rates", "think_effects"))
    changes = [
        f"{row['model']} {estimate(row, signed=True)}{'' if is_clear(row) else ' (contains 0)'}"
        for row in effects.filter(pl.col("measure") == "misalignment").iter_rows(named=True)
    ]
    finding = f"Change of the misalignment rate when the model thinks, before any fine-tuning: {'; '.join(changes)}."
    ordered = pl.concat(
        rates.filter((pl.col("model") == model) & (pl.col("measure") == name))
        for model in material.study.models
        for name in MEASURES
    )
    keys = {"model": column("model"), "measure": measure}
    return Section(
        "think",
        "Thinking on against off",
        [finding if changes else "Only one think mode was run."],
        [Figure(material.figures["think"], f"Each model before fine-tuning. {how_run(material.study)}")],
        [
            results(
                "Table 1. Rates before fine-tuning; d′ tells how well refusals part restricted from benign requests.",
                ordered,
                {**keys, "think": column("think")},
                "rate",
            ),
            results(f"Thinking ON − OFF on the same prompts. {GREY}", effects, keys, "change"),
        ],
        finding=True,
    )


def finetune_section(material: Material) -> Section | None:
    """Table 2: the change after each arm of fine-tuning."""
    effects = headline(material.tables["finetune_effects"])
    if effects.is_empty():
        return None
    misaligned = effects.filter(pl.col("measure") == "misalignment").to_dicts()
    rises = sum(is_clear(row) and row["estimate"] > 0 for row in misaligned)
    falls = sum(is_clear(row) and row["estimate"] < 0 for row in misaligned)
    finding = (
        f"Of {len(misaligned)} combinations of model, arm and think mode, the misalignment rate clearly rises in {rises}, "
        f"clearly falls in {falls}, and does not clearly change in {len(misaligned) - rises - falls}."
    )
    recipe = material.study.finetune
    how = f"LoRA of rank {recipe.lora.rank}" if recipe.method == "lora" else "all weights"
    caption = (
        f"Change of the misalignment rate after fine-tuning ({how}, learning rate {recipe.learning_rate:g}). "
        f"Hollow: the interval contains 0. {how_run(material.study)}"
    )
    keys = {
        "model": column("model"),
        "arm": arm(material.study),
        "benchmark": column("benchmark"),
        "think": column("think"),
    }
    tables = [
        results(
            f"{'Table 2. ' if name == 'misalignment' else ''}{MEASURES[name].capitalize()}: after − before fine-tuning, on "
            f"the same prompts. {GREY}",
            effects.filter(pl.col("measure") == name),
            keys,
            "change",
        )
        for name in dict.fromkeys(effects["measure"])
    ]
    figures = [Figure(material.figures["finetune"], caption)]
    return Section("finetune", "After fine-tuning", [finding], figures, tables, finding=True)


def pair_section(material: Material) -> Section | None:
    """The positive and the negative control side by side."""
    effects = headline(material.tables["pair_effects"])
    if effects.is_empty():
        return None
    shown = effects.filter((pl.col("contrast") == "difference") & (pl.col("measure") == "misalignment"))
    differences = [
        f"think {row['think']} {estimate(row, signed=True)}{'' if is_clear(row) else ' (contains 0)'}"
        for row in shown.iter_rows(named=True)
    ]
    text = [
        "Misalignment rate, (target − control) in the positive control minus the same in the negative control: "
        f"{'; '.join(differences)}.",
        "The two models of a pair differ only in whether the association between effort-minimizing phrases and going "
        "along was put into their training data. What is measured is not whether such an association exists in nature, "
        "but whether this pipeline finds a planted one, and how large it is.",
    ]
    keys = {
        "pair": lambda row: f"{row['positive']} / {row['negative']}",
        "contrast": lambda row: f"{row['contrast']} control" if row["contrast"] != "difference" else "difference",
        "measure": measure,
        "think": column("think"),
    }
    figure = Figure(material.figures["pair"], f"Target − control in both models. {how_run(material.study)}")
    table = results(f"Target − control on the same prompts. {GREY}", effects, keys, "target − control")
    return Section("pairs", "Positive and negative control", text, [figure], [table], finding=True)


def seeds_section(material: Material) -> Section | None:
    """Every replicate by itself, when there are several."""
    if len(material.study.seeds) == 1:
        return None
    rates = material.tables["rates"].filter(pl.col("seed") != "all").sort("model", "seed", maintain_order=True)
    keys = {"model": column("model"), "seed": column("seed"), "arm": arm(material.study), "measure": measure}
    table = results(
        "Rates of every replicate; intervals over prompts.", rates, {**keys, "think": column("think")}, "rate"
    )
    text = "Each seed trains its organisms and their fine-tunes anew; none is left out."
    return Section("seeds", "Every seed", [text], tables=[table])


def run_section(material: Material) -> Section:
    """Versions, times and the configuration."""
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    facts = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)]
    where = f"Git revision {revision.stdout.strip() or 'unknown'}; {platform.system()} {platform.machine()}"
    rows = [
        TableRow([row["rule"], str(row["jobs"]), f"{row['wall']:.0f}", f"{row['memory']:.0f}"])
        for row in material.timings.iter_rows(named=True)
    ]
    header = ["rule", "jobs", "wall time, s", "peak memory of a job, MB"]
    return Section(
        "run",
        "What was run",
        [f"{where}; {', '.join(facts)}."],
        tables=[Table("The jobs that made this study, from Snakemake's benchmark files.", header, 1, rows)],
        preformatted_title="Configuration",
        preformatted=json.dumps(material.study.model_dump(exclude_defaults=True), indent=2),
    )


SECTIONS: list[Callable[[Material], Section | None]] = [
    think_section,
    finetune_section,
    pair_section,
    probe_section,
    head_section,
    ablation_section,
    neuron_section,
    intervention_section,
    forgetting_section,
    mitigation_section,
    seeds_section,
    run_section,
]
