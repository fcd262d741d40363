"""Measure the effect of every single head on the next token's refusal, exactly."""

from __future__ import annotations

from pathlib import Path

from rim.analysis.head_effects import effects_table
from rim.analysis.texts import read_groups
from rim.core import contracts, tables
from rim.core.receipts import verified
from rim.models import loading
from rim.settings import jobs


class Job(jobs.Job):
    model: jobs.ModelReference
    harmful: str
    harmless: str
    sweep_prompts: int
    replies: Path  # a receipt
    judgements: Path
    datasets: list[Path]  # receipts, of harmful and harmless requests
    effects: Path
    skewness: Path


def run(job: Job) -> None:
    groups = read_groups(job.harmful, job.harmless, job.judgements, job.datasets)
    view, tokenizer = loading.open_model(job.model)
    replies = tables.read(verified(job.replies), contracts.RESPONSE)
    label = f"measure_head_effects {job.model.label}"
    measured = effects_table(view, tokenizer, replies, groups, job.sweep_prompts, label)
    for contract, path in ((contracts.EFFECTS, job.effects), (contracts.EFFECT_SKEWNESS, job.skewness)):
        tables.write(measured.select(list(contract)), contract, path)
