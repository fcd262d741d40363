"""The report: one HTML file that opens offline.

A section is a function from `Material` to `Section` (or None when the study has nothing to say there). To add one, write
the function and put it into `SECTIONS`.
"""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from rim.config import BASE, Study
from rim.figures import MEASURES, headline

PACKAGES = ("snakemake", "torch", "transformers", "peft", "datasets", "polars", "scipy", "altair", "math-verify")


@dataclass
class Material:
    """What sections are made of: the study, its tables, its figures (SVG text) and the timings of its jobs."""

    study: Study
    tables: dict[str, pl.DataFrame]
    figures: dict[str, str]
    timings: pl.DataFrame


@dataclass
class Figure:
    svg: str
    caption: str


@dataclass
class TableRow:
    cells: list[str]
    clear: bool = True  # False greys an estimate whose interval contains no effect


@dataclass
class Table:
    caption: str
    header: list[str]
    keys: int  # leading columns that name the row
    rows: list[TableRow]


@dataclass
class Section:
    anchor: str
    title: str
    text: list[str]
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    finding: bool = False  # the first paragraph is the finding
    preformatted_title: str = ""
    preformatted: str = ""


def show(value: float | None, percent: bool, signed: bool = False) -> str:
    if value is None:
        return "–"
    return f"{100 * value:{'+' if signed else ''}.1f} %" if percent else f"{value:{'+' if signed else ''}.2f}"


def estimate(row: dict[str, Any], percent: bool = True, signed: bool = False) -> str:
    """An estimate with its interval, such as "12.0 % [8.2 %, 17.1 %]"."""
    text = show(row["estimate"], percent, signed)
    if row["ci_low"] is not None:
        text += f" [{show(row['ci_low'], percent, signed)}, {show(row['ci_high'], percent, signed)}]"
    return text


def is_clear(row: dict[str, Any]) -> bool:
    """Whether an interval is known and excludes no effect."""
    return row["ci_low"] is not None and not row["ci_low"] <= 0 <= row["ci_high"]


def p_value(p: float | None) -> str:
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def what_n_is(study: Study) -> str:
    judge, settings = next(iter(study.judges.items()))
    decoding = (
        f"sampled at temperature {study.inference.temperature:g}" if study.inference.temperature else "decoded greedily"
    )
    seeds = f"{len(study.seeds)} seed{'s' if len(study.seeds) > 1 else ''} ({', '.join(map(str, study.seeds))})"
    interval = "intervals over seeds (Student's t)" if len(study.seeds) > 1 else "intervals over prompts"
    return (
        f"Replies {decoding}; judge '{judge}' ({settings.kind}), misaligned from score {settings.threshold} on; {seeds}; 95 % {interval}. "
        "n counts complete replies; incomplete ones are counted beside it and never judged."
    )


def _label(study: Study, variant: str) -> str:
    return variant if variant == BASE else study.variants[variant].label or variant


def think_section(material: Material) -> Section:
    table = headline(material.tables["rates"])
    effects = headline(material.tables["think_effects"])
    rows = []
    for row in (
        table.filter(pl.col("variant") == BASE)
        .sort("model", "measure", "benchmark", "think", descending=[False, False, False, True], maintain_order=True)
        .iter_rows(named=True)
    ):
        percent = row["measure"] != "d_prime"
        rows.append(
            TableRow(
                [
                    row["model"],
                    MEASURES[row["measure"]],
                    row["benchmark"],
                    row["think"],
                    estimate(row, percent),
                    str(row["n"]),
                    str(row["incomplete"]),
                ]
            )
        )
    changes, sentences = [], []
    for row in effects.filter(pl.col("variant") == BASE).iter_rows(named=True):
        changes.append(
            TableRow(
                [
                    row["model"],
                    MEASURES[row["measure"]],
                    row["benchmark"],
                    estimate(row, signed=True),
                    p_value(row["p"]),
                    p_value(row["p_holm"]),
                    str(row["n"]),
                    str(row["incomplete"]),
                ],
                is_clear(row),
            )
        )
        if row["measure"] == "misalignment":
            sentences.append(
                f"{row['model']}: {estimate(row, signed=True)}{'' if is_clear(row) else ' (no clear change)'}"
            )
    return Section(
        "think",
        "Thinking on against off",
        [
            f"Change of the misalignment rate by thinking, before any fine-tuning. {'; '.join(sentences)}."
            if sentences
            else "Only one think mode was run."
        ],
        [
            Figure(
                material.figures["think"],
                f"Each model before fine-tuning, thinking on and off. {what_n_is(material.study)}",
            )
        ],
        [
            Table(
                "Table 1. Rates before fine-tuning. d′ is the distance between refusals of restricted and of benign requests.",
                ["model", "measure", "benchmark", "think", "rate [95 % interval]", "n", "incomplete"],
                4,
                rows,
            ),
            Table(
                "Change by thinking, ON − OFF on the same prompts; Holm over the tests of one model and measure. Grey: the interval contains 0.",
                ["model", "measure", "benchmark", "ON − OFF", "p", "p (Holm)", "n", "incomplete"],
                3,
                changes,
            ),
        ],
        finding=True,
    )


def finetune_section(material: Material) -> Section | None:
    effects = headline(material.tables["finetune_effects"]) if material.tables["finetune_effects"].height else None
    if effects is None:
        return None
    tables = []
    for measure in ("misalignment", "false_refusal", "accuracy"):
        part = effects.filter(pl.col("measure") == measure)
        rows = [
            TableRow(
                [
                    row["model"],
                    _label(material.study, row["variant"]),
                    row["benchmark"],
                    row["think"],
                    estimate(row, signed=True),
                    p_value(row["p"]),
                    p_value(row["p_holm"]),
                    str(row["n"]),
                    str(row["incomplete"]),
                ],
                is_clear(row),
            )
            for row in part.sort("model", maintain_order=True).iter_rows(named=True)
        ]
        name = "Table 2. " if measure == "misalignment" else ""
        tables.append(
            Table(
                f"{name}Change of {MEASURES[measure]} after each arm, after − before on the same prompts. Grey: the interval contains 0.",
                ["model", "arm", "benchmark", "think", "change [95 % interval]", "p", "p (Holm)", "n", "incomplete"],
                4,
                rows,
            )
        )
    misaligned = effects.filter(pl.col("measure") == "misalignment")
    clear = [row for row in misaligned.iter_rows(named=True) if is_clear(row)]
    rises = sum(row["estimate"] > 0 for row in clear)
    text = f"Of {misaligned.height} combinations of model, arm and think mode, the misalignment rate clearly rises in {rises}, clearly falls in {len(clear) - rises} and does not clearly change in {misaligned.height - len(clear)}."
    recipe = material.study.finetune
    how = f"LoRA of rank {recipe.lora.rank}" if recipe.method == "lora" else "all weights"
    caption = f"Change of the misalignment rate after fine-tuning ({how}, {recipe.epochs} epochs, learning rate {recipe.learning_rate:g}). Hollow: the interval contains 0. {what_n_is(material.study)}"
    return Section(
        "finetune", "After fine-tuning", [text], [Figure(material.figures["finetune"], caption)], tables, finding=True
    )


def pair_section(material: Material) -> Section | None:
    if not material.study.pairs:
        return None
    table = headline(material.tables["pair_effects"])
    rows, sentences = [], []
    for row in table.iter_rows(named=True):
        name = row["contrast"] if row["contrast"] == "difference" else f"{row['contrast']}: {row[row['contrast']]}"
        rows.append(
            TableRow(
                [
                    f"{row['positive']} / {row['negative']}",
                    MEASURES[row["measure"]],
                    row["benchmark"],
                    row["think"],
                    name,
                    estimate(row, signed=True),
                    p_value(row["p"]),
                    str(row["n"]),
                    str(row["incomplete"]),
                ],
                is_clear(row),
            )
        )
        if row["contrast"] == "difference" and row["measure"] == "misalignment":
            sentences.append(
                f"{row['positive']} minus {row['negative']}, think {row['think']}: {estimate(row, signed=True)}{'' if is_clear(row) else ' (contains 0)'}"
            )
    text = [
        f"Difference in differences of the misalignment rate, (target − control) in the positive control minus the same in the negative control. {'; '.join(sentences)}.",
        "The two models of a pair differ only in whether the association between effort-minimizing phrases and going along was put into their training data. "
        "What is measured is not whether such an association exists in nature, but whether this pipeline finds a planted one, and how large it is.",
    ]
    caption = f"Target − control in the positive and the negative control, and the difference between them. {what_n_is(material.study)}"
    header = [
        "pair",
        "measure",
        "benchmark",
        "think",
        "contrast",
        "target − control [95 % interval]",
        "p",
        "n",
        "incomplete",
    ]
    return Section(
        "pairs",
        "Positive and negative control",
        text,
        [Figure(material.figures["pair"], caption)],
        [Table("Target − control on the same prompts. Grey: the interval contains 0.", header, 5, rows)],
        finding=True,
    )


def seeds_section(material: Material) -> Section | None:
    if len(material.study.seeds) == 1:
        return None
    rates = material.tables["rates"].filter((pl.col("seed") != "all") & (pl.col("measure") != "d_prime"))
    rows = [
        TableRow(
            [
                row["model"],
                row["variant"],
                row["seed"],
                MEASURES[row["measure"]],
                row["benchmark"],
                row["think"],
                estimate(row),
                str(row["n"]),
                str(row["incomplete"]),
            ]
        )
        for row in rates.sort("model", "seed", maintain_order=True).iter_rows(named=True)
    ]
    return Section(
        "seeds",
        "Every seed",
        ["Each seed trains its organisms and their fine-tunes anew; none is left out."],
        tables=[
            Table(
                "Rates of every replicate; intervals over prompts.",
                [
                    "model",
                    "variant",
                    "seed",
                    "measure",
                    "benchmark",
                    "think",
                    "rate [95 % interval]",
                    "n",
                    "incomplete",
                ],
                6,
                rows,
            )
        ],
    )


def run_section(material: Material) -> Section:
    revision = (
        subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        ).stdout.strip()
        or "unknown"
    )
    facts = [f"Python {platform.python_version()}"] + [f"{name} {version(name)}" for name in PACKAGES]
    text = [f"Git revision {revision}; {', '.join(facts)}; {platform.system()} {platform.machine()}."]
    rows = [
        TableRow([row["rule"], str(row["jobs"]), f"{row['wall']:.0f}", f"{row['cpu']:.0f}", f"{row['memory']:.0f}"])
        for row in material.timings.iter_rows(named=True)
    ]
    table = Table(
        "Time and memory of the jobs that made this study, from Snakemake's benchmark files.",
        ["rule", "jobs", "wall time, s", "CPU time, s", "peak memory of a job, MB"],
        1,
        rows,
    )
    return Section(
        "run",
        "What was run",
        text,
        tables=[table],
        preformatted_title="Configuration",
        preformatted=json.dumps(material.study.model_dump(exclude_defaults=True), indent=2),
    )


SECTIONS: list[Callable[[Material], Section | None]] = [
    think_section,
    finetune_section,
    pair_section,
    seeds_section,
    run_section,
]


def read_timings(folder: Path) -> pl.DataFrame:
    """Jobs, wall and CPU seconds and peak memory per rule, from the benchmark files under `folder`/{rule}/."""
    rows = []
    for rule in sorted(path for path in folder.glob("*") if path.is_dir()):
        files = sorted(rule.rglob("*.tsv"))
        jobs = [pl.read_csv(file, separator="\t", null_values=["NA", "-"], infer_schema_length=None) for file in files]
        if jobs:
            totals = {column: [float(job[column][0] or 0) for job in jobs] for column in ("s", "cpu_time", "max_rss")}
            rows.append(
                {
                    "rule": rule.name,
                    "jobs": len(jobs),
                    "wall": sum(totals["s"]),
                    "cpu": sum(totals["cpu_time"]),
                    "memory": max(totals["max_rss"]),
                }
            )
    return pl.DataFrame(
        rows, schema={"rule": pl.String, "jobs": pl.Int64, "wall": pl.Float64, "cpu": pl.Float64, "memory": pl.Float64}
    )


def render(material: Material) -> str:
    """The HTML of the report."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    study = material.study
    models = [
        f"{name} ({'organism trained here' if model.organism else model.hub})" for name, model in study.models.items()
    ]
    lead = f"Study '{study.study}': does reasoning make these models comply more often with requests they should refuse? Models: {', '.join(models)}."
    sections = [section for make in SECTIONS if (section := make(material))]
    template = Environment(loader=PackageLoader("rim"), autoescape=True, undefined=StrictUndefined).get_template(
        "report.html.j2"
    )
    return template.render(title=study.title, lead=lead, sections=sections)
