"""The bill of a study, before anything is submitted: `rim plan FILE`.

For every hub model and phase it prints jobs, GPUs, hours, memory and disk as `rim.workflow.costs` estimates them, what generates, and beside
that what finished jobs took. A dry run ends with the total.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rim.config import runs
from rim.config.study import Study
from rim.settings.hardware import Hardware
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


@dataclass(frozen=True)
class Phase:
    """The jobs of one rule with one model: GPUs and memory of the largest, hours and disk of all; sizes in bytes."""

    model: str
    rule: str
    engine: str | None
    jobs: int
    gpus: int
    memory: float
    hours: float
    gpu_hours: float
    disk: float
    fits: bool

    @property
    def cells(self) -> list[str]:
        each, disk = _hours(self.hours / self.jobs), f"{self.disk / 1e9:.0f}" if self.disk else ""
        numbers = [f"{self.jobs}", f"{self.gpus}", f"{self.memory / 1e9:.0f}", each, _hours(self.gpu_hours), disk]
        return [self.model, self.rule, self.engine or "", *numbers]


def _hours(hours: float) -> str:
    return "< 0.1" if 0 < hours < 0.05 else f"{hours:.1f}"


def phases(study: Study) -> list[Phase]:
    """What every phase of the models costs whose jobs can be estimated."""
    return [
        _phase(study, rule, name, Counter(variants))
        for name in sized(study)
        for rule, variants in jobs_of(study, name).items()
    ]


def _phase(study: Study, rule: str, name: str, variants: Counter[str]) -> Phase:
    gpus = {variant: costs.gpus(study, rule, name, variant) for variant in variants}
    memory = {variant: costs.memory(study, rule, name, variant) for variant in variants}
    hours = {variant: n * costs.seconds(study, rule, name, variant) / 3600 for variant, n in variants.items()}
    room = study.hardware.gpu_memory * 1e9
    return Phase(
        name,
        rule,
        costs.engine(study, rule, name, next(iter(variants))),
        variants.total(),  # an arm has a job for each seed
        max(gpus.values()),
        max(memory.values()),
        sum(hours.values()),
        sum(gpus[variant] * hours[variant] for variant in variants),
        sum(n * costs.disk(study, rule, name, variant) for variant, n in variants.items()),
        all(memory[variant] <= room * gpus[variant] for variant in variants),
    )


def gpu_hours(study: Study) -> float:
    """GPU hours of all jobs that can be estimated."""
    return sum(phase.gpu_hours for phase in phases(study))


def crowded(study: Study) -> dict[str, list[str]]:
    """Models -> rules whose jobs may need more memory than their GPUs have."""
    return _by_model(phase for phase in phases(study) if not phase.fits)


def _by_model(some: Iterable[Phase]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for phase in some:
        found.setdefault(phase.model, []).append(phase.rule)
    return found


def bill(study: Study) -> list[str]:
    """The GPU that is meant, jobs, GPUs, hours and disk by model and phase, a total, and what is not in it or does not fit."""
    every = phases(study)
    if not every:
        return list(_notes(study, every))
    rows = []
    for name in sized(study):
        weights = f"{costs.weights(study.models[name]) / 1e9:.0f}"
        rows.append([name, "fetch_model", "", "1", "0", "", "", "", weights])
        rows += [phase.cells for phase in every if phase.model == name]
    jobs, hours, disk = _total(study, every)
    rows.append(["all", "", "", f"{jobs}", "", "", "", _hours(hours), f"{disk / 1e9:.0f}"])
    return [_gpu(study.hardware), *lines(HEADER, rows), *_notes(study, every)]


def _gpu(hardware: Hardware) -> str:
    """The GPU whose hours are counted."""
    told = f"GPUs of {hardware.gpu_memory:g} GB, {hardware.gpu_tflops:g} TFLOP/s and {hardware.gpu_bandwidth:g} TB/s"
    usual = hardware.model_copy(update={"price": None}) == Hardware()
    return f"Hours on {told}" + (" (an A100 of 80 GB); set `hardware` in the study for yours" if usual else "")


def _total(study: Study, every: list[Phase]) -> tuple[int, float, float]:
    """Jobs, GPU hours and bytes on disk, the weights of the models among them."""
    weights = sum(costs.weights(study.models[name]) for name in sized(study))
    jobs, hours = sum(phase.jobs for phase in every), sum(phase.gpu_hours for phase in every)
    return jobs, hours, weights + sum(phase.disk for phase in every)


def _notes(study: Study, every: list[Phase]) -> Iterator[str]:
    """The price, which engine is not the one asked for, what may not fit, and what is left out."""
    _, hours, _ = _total(study, every)
    if study.hardware.price is not None:
        yield f"{hours:,.0f} GPU hours at {study.hardware.price:g} each: {hours * study.hardware.price:,.0f}"
    edited = (phase for phase in every if phase.engine not in (None, study.inference_of(phase.model).backend))
    for name, rules in _by_model(edited).items():
        yield f"{name}: transformers generates in {', '.join(rules)}; vLLM cannot ablate what is split over several GPUs"
    for name, rules in _by_model(phase for phase in every if not phase.fits).items():
        advice = "lower inference.batch_size, inference.max_new_tokens or finetune.micro_batch_size"
        yield f"{name}: {', '.join(rules)} may not fit; {advice}"
    left = [name for name, model in study.models.items() if model.hub and name not in sized(study)]
    if left:
        advice = "write its size in billions, e.g. `parameters: 0.6`, in the study, or download it"
        yield f"{', '.join(left)}: no estimate; {advice}"
    if organisms := [name for name, model in study.models.items() if not model.hub]:
        yield f"{', '.join(organisms)}: no estimate, as of all organisms"


def summary(study: Study) -> str:
    """The total in one line, for the end of a dry run; empty when it is next to nothing."""
    jobs, hours, disk = _total(study, phases(study))
    if round(hours) == 0:
        return ""
    money = "" if study.hardware.price is None else f" for {hours * study.hardware.price:,.0f}"
    what = f"{hours:.0f} GPU hours{money} in {jobs} jobs, {disk / 1e9:.0f} GB of disk"
    return f"The whole study: about {what}; see `rim plan FILE`\n"


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
        return [f"No job of these models has finished yet (there is nothing under {timings})."] if sized(study) else []
    return lines(["model", "phase", "jobs done", "hours expected", "hours taken", "ratio"], rows)


def _variant(file: Path) -> str:
    return file.parent.name  # {model}/{variant}/seed{seed}.tsv
