"""Score every neuron and head of an organism with a graft by each method that looks for the parts behind refusal."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from rim.analysis import checkpoints, part_scores, safety_neurons, texts
from rim.analysis.part_scores import Refusal, Scores
from rim.core import contracts, tables
from rim.core.errors import UserError
from rim.core.progress import counter, log
from rim.core.receipts import verified
from rim.models import loading
from rim.settings import jobs
from rim.settings.common import Think
from rim.settings.forgetting import NeuronRule
from rim.settings.models import Graft, Organism

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rim.models.families import ModelView


class Job(jobs.Job):
    model: jobs.ModelReference
    organism: Organism  # that got the graft
    graft: Graft
    harmful: str
    harmless: str
    think: Think
    pool_over: str
    rule: NeuronRule
    held_out: bool  # score on the calibration split only
    replies: Path  # a receipt
    datasets: list[Path]  # receipts, of harmful and harmless requests
    heads: list[Path]  # the table of heads, where there is one
    scores: Path


def run(job: Job) -> None:
    view, tokenizer = loading.open_model(job.model)
    scores = {**_of_texts(job, view, tokenizer), **_of_replies(job, view, tokenizer), **_of_attention(job)}
    widths = checkpoints.expert_widths(view, "neurons")
    table = part_scores.scores_table(scores, widths, job.organism, job.graft)
    tables.write(table, contracts.PART_SCORES, job.scores)


def _replies(job: Job, think: str) -> list[pl.DataFrame]:
    """The replies to calibration requests, harmful and harmless, with what the datasets say of these."""
    replies = tables.read(verified(job.replies), contracts.RESPONSE)
    datasets = [tables.read(verified(path), contracts.DATASET) for path in job.datasets]
    named = zip((job.harmful, job.harmless), datasets, strict=True)
    kinds = []
    for name, dataset in named:
        own = texts.base_replies(replies, name, think, dataset)
        own = own.filter(pl.col("split") == "calibration") if job.held_out else own
        if own.is_empty():
            raise UserError(
                f"benchmark '{name}': asks no request of the calibration split, by which methods are graded; ask more rows, "
                "or raise 'calibration' of its dataset"
            )
        kinds.append(texts.nonempty_replies(own))
    return kinds


def _of_texts(job: Job, view: ModelView, tokenizer: PreTrainedTokenizerBase) -> dict[tuple[str, str], Scores]:
    """What activations on requests and replies say of every neuron."""
    kinds = _replies(job, job.think)
    pairs = texts.counterfactual_texts(tokenizer, kinds[0], job.think, job.model.think_switch, job.pool_over)
    layers = safety_neurons.read_pairs(view, pairs, job.rule, f"score_parts {job.model.label} pairs")
    rows = [texts.forced_texts(tokenizer, kind, job.pool_over) for kind in kinds]
    read = [checkpoints.read(view, each, "neurons", job.rule.batch_size, math.nan) for each in rows]
    found = {**part_scores.rises(layers), "contrast": part_scores.contrast(*read)}
    return {("neuron", method): values for method, values in found.items()}


def _of_replies(job: Job, view: ModelView, tokenizer: PreTrainedTokenizerBase) -> dict[tuple[str, str], Scores]:
    """What the first token of a reply without thinking says of every part.

    There is nothing where no reply is without thinking, or no token tells refusals apart.
    """
    asked_off = "off" in tables.read(verified(job.replies), contracts.RESPONSE)["think"]
    refusal = Refusal.of_replies(view, tokenizer, *_replies(job, "off")) if asked_off else None
    if refusal is None:
        why = "refusals begin as other replies do" if asked_off else "no request is asked with thinking off"
        log(f"score_parts {job.model.label}: {why}, so that nothing is attributed to parts and none is zeroed")
        return {}
    methods = {
        "attribution": part_scores.attribution(refusal),
        "zeroing": part_scores.zeroing(refusal, counter(f"score_parts {job.model.label} zeroing", len(view.blocks))),
    }
    return {(part, method): values for method, parts in methods.items() for part, values in parts.items()}


def _of_attention(job: Job) -> dict[tuple[str, str], Scores]:
    """The published statistic of every head, as a share of requests and as attention that moves."""
    found: dict[tuple[str, str], Scores] = {}
    for path in job.heads:
        table = tables.read(path, contracts.HEADS).sort("layer", "head")
        for method, column in (("shift", "share"), ("soft shift", "soft")):
            layers = table.partition_by("layer", maintain_order=True)
            found["head", method] = [layer[column].to_numpy() for layer in layers]
    return found
