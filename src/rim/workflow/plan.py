"""The bill of a study, before anything is submitted: `rim plan FILE`.

For every hub model and phase it prints jobs, GPUs, hours, memory and disk as `rim.workflow.costs` estimates them, what generates, and beside
that what finished jobs took. A dry run ends with the total.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from rim.config import runs
from rim.config.study import Study
from rim.workflow import costs
from rim.workflow.lineage import read_timing

HEADER = ["model", "phase", "engine", "jobs", "GPUs each", "GPU memory, GB", "hours each", "GPU hours", "disk, GB"]


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


def gpu_hours(study: Study) -> float:
    """GPU hours of all jobs that can be estimated."""
    return sum(
        _gpu_hours(study, rule, name, variants)
        for name in sized(study)
        for rule, variants in jobs_of(study, name).items()
    )


def _gpu_hours(study: Study, rule: str, name: str, variants: list[str]) -> float:
    return sum(
        count * costs.gpus(study, rule, name, variant) * costs.seconds(study, rule, name, variant) / 3600
        for variant, count in Counter(variants).items()  # an arm has a job for each seed
    )


def crowded(study: Study) -> dict[str, list[str]]:
    """Models -> rules whose jobs may need more memory than their GPUs have."""
    room, found = study.hardware.gpu_memory * 1e9, defaultdict(list)
    for name in sized(study):
        for rule, variants in jobs_of(study, name).items():
            if any(
                costs.memory(study, rule, name, each) > room * costs.gpus(study, rule, name, each)
                for each in set(variants)
            ):
                found[name].append(rule)
    return dict(found)


def bill(study: Study) -> list[str]:
    """Jobs, GPUs, hours and disk by model and phase, a total, and what is not in it or does not fit."""
    rows, hours, disk, jobs = [], 0.0, 0.0, 0
    edited: dict[str, list[str]] = defaultdict(list)
    for name in sized(study):
        kept = costs.weights(study.models[name])
        rows.append([name, "fetch_model", "", "1", "0", "", "", "", f"{kept / 1e9:.0f}"])
        disk += kept
        for rule, variants in jobs_of(study, name).items():
            spent, different = _gpu_hours(study, rule, name, variants), Counter(variants)
            gpus = max(costs.gpus(study, rule, name, variant) for variant in different)
            taken = sum(n * costs.seconds(study, rule, name, each) for each, n in different.items()) / 3600
            kept = sum(n * costs.disk(study, rule, name, each) for each, n in different.items())
            memory = max(costs.memory(study, rule, name, variant) for variant in different) / 1e9
            engine = costs.engine(study, rule, name, variants[0])
            if engine and engine != study.inference_of(name).backend:
                edited[name].append(rule)
            numbers = [f"{len(variants)}", f"{gpus}", f"{memory:.0f}", f"{taken / len(variants):.1f}", f"{spent:.0f}"]
            rows.append([name, rule, engine or "", *numbers, f"{kept / 1e9:.0f}" if kept else ""])
            hours, disk, jobs = hours + spent, disk + kept, jobs + len(variants)
    rows.append(["all", "", "", f"{jobs}", "", "", "", f"{hours:.0f}", f"{disk / 1e9:.0f}"])
    return [*lines(HEADER, rows), *_notes(study, hours, edited)]


def _notes(study: Study, hours: float, edited: dict[str, list[str]]) -> Iterator[str]:
    """What the table does not say: the price, which engine is not the one asked for, what may not fit, what is left out."""
    if study.hardware.price is not None:
        yield f"{hours:,.0f} GPU hours at {study.hardware.price:g} each: {hours * study.hardware.price:,.0f}"
    for name, rules in edited.items():
        yield f"{name}: transformers generates in {', '.join(rules)}; vLLM cannot ablate what is split over several GPUs"
    for name, rules in crowded(study).items():
        yield (
            f"{name}: {', '.join(rules)} may not fit; lower inference.batch_size, inference.max_new_tokens or "
            "finetune.micro_batch_size"
        )
    left = [name for name in study.models if name not in sized(study)]
    if left:
        yield f"not estimated, being organisms, or neither on this machine nor with 'parameters': {', '.join(left)}"


def summary(study: Study) -> str:
    """The total in one line, for the end of a dry run; empty when it is next to nothing."""
    hours = gpu_hours(study)
    if round(hours) == 0:
        return ""
    jobs = sum(len(variants) for name in sized(study) for variants in jobs_of(study, name).values())
    price = study.hardware.price
    money = "" if price is None else f" for {hours * price:,.0f}"
    return f"The whole study: about {hours:.0f} GPU hours{money} in {jobs} jobs; see `rim plan FILE`\n"


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
