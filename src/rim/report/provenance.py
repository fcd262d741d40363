"""The report's last section: where every table comes from, what it took, and with what it was made."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib.metadata import version

import polars as pl

from rim.report.labels import ORIGINS, arm, origin
from rim.report.page import Material, Section, Table, TableRow
from rim.report.wording import column, table_from_frame
from rim.settings.models import Model

PACKAGES = ("snakemake", "torch", "transformers", "peft", "datasets", "polars", "scipy", "altair", "math-verify")


def revision() -> str:
    """The git revision of the working directory, with a mark when something in it is changed."""

    def git(*line: str) -> str:
        return subprocess.run(["git", *line], capture_output=True, text=True, check=False).stdout.strip()

    name = git("rev-parse", "--short", "HEAD")
    differs = name and git("status", "--porcelain", "--untracked-files=no")
    changed = (
        ", from which files in it differ (`git status` lists them; the code of each table has its hash below)"
        if differs
        else ""
    )
    return f"{name or 'unknown'}{changed}"


def run_section(material: Material) -> Section:
    """Versions, times, the graph of jobs and the configuration."""
    facts = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)]
    text = [
        f"This report was written in a folder at git revision {revision()}, on {platform.system()} {platform.machine()}, with {', '.join(facts)}.",
        "Result tables are the same, byte for byte, when the same study runs again on the same kind of processor with as many "
        "threads; their hashes below (SHA-256, first 12 digits) tell whether yours are. The code hash is that of everything the rule's code needs.",
    ]
    if material.dag:
        text.append(
            "The picture shows the rules behind these results; dashed: nothing ran in the latest run, all was reused."
        )
    return Section(
        "run",
        "Provenance",
        text,
        tables=[_models(material), *_finetunes(material), *_origins(material), *_rules(material)],
        picture=material.dag,
        preformatted_title="Configuration",
        preformatted=json.dumps(material.study.model_dump(exclude_defaults=True), indent=2),
    )


def _models(material: Material) -> Table:
    def where_from(name: str, model: Model) -> list[str]:
        if model.hub:
            commit = material.commits.get(name)
            return [model.hub, commit or ORIGINS[origin(model, commit)]]
        kind = f"organism, grafted onto {model.graft.onto}" if model.graft else "organism, trained here"
        return [kind, f"seeds {', '.join(map(str, material.study.seeds))}"]

    rows = [TableRow([name, *where_from(name, model), model.dtype]) for name, model in material.study.models.items()]
    return Table("The models.", ["model", "from", "commit or seeds", "type"], 4, rows)


def _finetunes(material: Material) -> list[Table]:
    if (found := material.tables.get("finetunes")) is None:
        return []
    columns = {
        "model": column("model"),
        "arm": arm(material.study),
        "seed": column("seed"),
        "rows": column("rows"),
        "cut": column("cut"),
        "cut before their answer": column("cut_before_answer"),
        "optimizer steps": column("steps"),
        "mean loss": lambda row: f"{row['train_loss']:.3f}",
    }
    limit = f"{material.study.finetune.max_length:,}"
    return [table_from_frame(f"The fine-tunes; rows are cut at {limit} tokens.", found, 3, columns)]


def _origins(material: Material) -> list[Table]:
    if not material.origins:
        return []
    columns = {
        "table": column("table"),
        "made by": column("rule"),
        "hash of data": column("hash"),
        "hash of code": column("code"),
        "jobs behind it": column("jobs"),
        "wall time, s": lambda row: f"{row['wall']:.0f}",
        "CPU time, s": lambda row: f"{row['cpu']:.0f}",
    }
    caption = "Every table, the jobs that it comes from, and the time they took together (a job behind two tables counts for both)."
    return [table_from_frame(caption, pl.DataFrame(material.origins), 2, columns)]


def _rules(material: Material) -> list[Table]:
    if material.timings.is_empty():
        return []
    columns = {
        "rule": column("rule"),
        "jobs": column("jobs"),
        "wall time, s": lambda row: f"{row['wall']:.0f}",
        "CPU time, s": lambda row: f"{row['cpu']:.0f}",
        "peak memory of a job, MB": lambda row: f"{row['memory']:.0f}",
    }
    return [
        table_from_frame(
            "The jobs that made this study, from Snakemake's benchmark files.", material.timings, 1, columns
        )
    ]
