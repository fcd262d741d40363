"""The bill of a study, before anything is submitted: `rim plan FILE`.

For every hub model and phase it prints jobs, GPUs, hours, memory and disk as `rim.workflow.costs` estimates them, and beside that what
finished jobs took. A dry run ends with the total.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

from rim.config.study import Study
from rim.settings.common import BASE
from rim.workflow import costs

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
    return [name for name, model in study.models.items() if model.parameters]


def bill(study: Study) -> list[str]:
    """Jobs, GPUs, hours and disk by model and phase, a total, and what is not in it or does not fit."""
    rows, hours, disk, jobs = [], 0.0, 0.0, 0
    crowded: dict[str, list[str]] = {}
    for name in sized(study):
        kept = costs.weights(study.models[name])
        rows.append([name, "fetch_model", "1", "0", "", "", "", f"{kept / 1e9:.0f}"])
        disk += kept
        for rule, variants in costs.model_jobs(study, name).items():
            runs = [variant for variant in variants for _ in study.seeds_of(name, variant)]
            gpus = [costs.gpus(study, rule, name, variant) for variant in runs]
            taken = [costs.seconds(study, rule, name, variant) / 3600 for variant in runs]
            spent = sum(map(math.prod, zip(gpus, taken, strict=True)))
            kept = sum(costs.work(study, rule, name, variant).disk for variant in runs)
            memory = max(costs.memory(study, rule, name, variant) for variant in runs) / 1e9
            if memory > max(gpus) * study.hardware.gpu_memory:
                crowded.setdefault(name, []).append(rule)
            each = f"{sum(taken) / len(runs):.1f}"
            numbers = [f"{len(runs)}", f"{max(gpus)}", f"{memory:.0f}", each, f"{spent:.0f}"]
            rows.append([name, rule, *numbers, f"{kept / 1e9:.0f}" if kept else ""])
            hours, disk, jobs = hours + spent, disk + kept, jobs + len(runs)
    rows.append(["all", "", f"{jobs}", "", "", "", f"{hours:.0f}", f"{disk / 1e9:.0f}"])
    notes = [
        f"{name}: {', '.join(rules)} may not fit; lower inference.batch_size or finetune.micro_batch_size"
        for name, rules in crowded.items()
    ]
    left = [name for name in study.models if name not in sized(study)]
    if left:
        notes.append(f"not estimated, being organisms or without 'parameters': {', '.join(left)}")
    return [*lines(HEADER, rows), *notes]


def summary(study: Study) -> str:
    """The total in one line, for the end of a dry run; empty when there is nothing to estimate."""
    if not sized(study):
        return ""
    total = bill(study)
    jobs, hours, disk = next(line for line in total if line.startswith("all ")).split()[1:4]
    return f"The whole study: about {hours} GPU hours in {jobs} jobs, {disk} GB of disk; see `rim plan FILE`\n"


def actual(study: Study, timings: Path) -> list[str]:
    """Estimate against actual hours of every phase that has finished jobs, from Snakemake's benchmark files."""
    rows = []
    for name in sized(study):
        for rule, variants in costs.model_jobs(study, name).items():
            files = sorted((timings / rule / name).rglob("seed*.tsv"))
            known = [file for file in files if (_variant(file, name) in variants)]
            expected = sum(costs.seconds(study, rule, name, _variant(file, name)) for file in known)
            taken = sum(_seconds(file) for file in known)
            if known and taken:
                times = f"{taken / expected:.2f}" if expected else ""
                rows.append([name, rule, f"{len(known)}", f"{expected / 3600:.2f}", f"{taken / 3600:.2f}", times])
    if not rows:
        return [f"No job of these models has finished yet (there is nothing under {timings})."]
    return lines(["model", "phase", "jobs done", "hours expected", "hours taken", "ratio"], rows)


def _variant(file: Path, model: str) -> str:
    return BASE if file.parent.name == model else file.parent.name


def _seconds(file: Path) -> float:
    """Wall seconds of one benchmark file; a job whose time was not taken counts for nothing."""
    with file.open() as stream:
        value = next(csv.DictReader(stream, delimiter="\t"), {}).get("s", "NA")
    return 0.0 if value in ("NA", "-", None) else float(value)
