"""The bill of a study, before anything is submitted: `rim plan FILE`.

For every hub model and phase it prints jobs, GPUs, hours, memory and disk as `rim.workflow.costs` estimates them, and beside that what
finished jobs took. A dry run ends with the total.
"""

from __future__ import annotations

import math
from pathlib import Path

from rim.config import runs
from rim.config.study import Study
from rim.workflow import costs
from rim.workflow.lineage import read_timing

HEADER = ["model", "phase", "jobs", "GPUs each", "GPU memory, GB", "hours each", "GPU hours", "disk, GB"]


def lines(header: list[str], rows: list[list[str]]) -> list[str]:
    """A table as aligned text, the first two columns to the left."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [header, *rows]
    ]


def sized(study: Study) -> list[str]:
    """The models whose jobs can be estimated."""
    return [name for name, model in study.models.items() if costs.weights(model)]


def jobs_of(study: Study, name: str) -> dict[str, list[str]]:
    """Rules that load this model -> the variant of each of their jobs."""
    jobs = {
        rule: [variant for model, variant, _ in each if model == name] for rule, each in runs.model_jobs(study).items()
    }
    return {rule: variants for rule, variants in jobs.items() if variants}


def bill(study: Study) -> list[str]:
    """Jobs, GPUs, hours and disk by model and phase, a total, and what is not in it or does not fit."""
    rows, hours, disk, jobs = [], 0.0, 0.0, 0
    crowded: dict[str, list[str]] = {}
    for name in sized(study):
        kept = costs.weights(study.models[name])
        rows.append([name, "fetch_model", "1", "0", "", "", "", f"{kept / 1e9:.0f}"])
        disk += kept
        for rule, variants in jobs_of(study, name).items():
            gpus = [costs.gpus(study, rule, name, variant) for variant in variants]
            taken = [costs.seconds(study, rule, name, variant) / 3600 for variant in variants]
            spent = sum(map(math.prod, zip(gpus, taken, strict=True)))
            kept = sum(costs.work(study, rule, name, variant).disk for variant in variants)
            memory = max(costs.memory(study, rule, name, variant) for variant in variants) / 1e9
            if memory > max(gpus) * study.hardware.gpu_memory:
                crowded.setdefault(name, []).append(rule)
            each = f"{sum(taken) / len(variants):.1f}"
            numbers = [f"{len(variants)}", f"{max(gpus)}", f"{memory:.0f}", each, f"{spent:.0f}"]
            rows.append([name, rule, *numbers, f"{kept / 1e9:.0f}" if kept else ""])
            hours, disk, jobs = hours + spent, disk + kept, jobs + len(variants)
    rows.append(["all", "", f"{jobs}", "", "", "", f"{hours:.0f}", f"{disk / 1e9:.0f}"])
    notes = [
        f"{name}: {', '.join(rules)} may not fit; lower inference.batch_size or finetune.micro_batch_size"
        for name, rules in crowded.items()
    ]
    left = [name for name in study.models if name not in sized(study)]
    if left:
        notes.append(
            f"not estimated, being organisms, or neither on this machine nor with 'parameters': {', '.join(left)}"
        )
    return [*lines(HEADER, rows), *notes]


def summary(study: Study) -> str:
    """The total in one line, for the end of a dry run; empty when it is next to nothing."""
    if not sized(study):
        return ""
    total = bill(study)
    jobs, hours, disk = next(line for line in total if line.startswith("all ")).split()[1:4]
    if hours == "0":
        return ""
    return f"The whole study: about {hours} GPU hours in {jobs} jobs, {disk} GB of disk; see `rim plan FILE`\n"


def actual(study: Study, timings: Path) -> list[str]:
    """Estimate against actual hours of every phase that has finished jobs, from Snakemake's benchmark files."""
    rows = []
    for name in sized(study):
        for rule, variants in jobs_of(study, name).items():
            files = sorted((timings / rule / name).rglob("seed*.tsv"))
            known = [file for file in files if _variant(file) in variants]
            expected = sum(costs.seconds(study, rule, name, _variant(file)) for file in known)
            taken = sum(read_timing(file).get("wall", 0.0) for file in known)
            if known and taken:
                times = f"{taken / expected:.2f}" if expected else ""
                rows.append([name, rule, f"{len(known)}", f"{expected / 3600:.2f}", f"{taken / 3600:.2f}", times])
    if not rows:
        return [f"No job of these models has finished yet (there is nothing under {timings})."]
    return lines(["model", "phase", "jobs done", "hours expected", "hours taken", "ratio"], rows)


def _variant(file: Path) -> str:
    return file.parent.name  # {model}/{variant}/seed{seed}.tsv
