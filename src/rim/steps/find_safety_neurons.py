"""Find the safety-critical neurons of one model before fine-tuning, and draw the sets that they are compared with."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from rim.analysis import checkpoints, neurons, safety_neurons, texts
from rim.core import contracts, tables
from rim.core.errors import UserError
from rim.core.receipts import verified
from rim.models import loading
from rim.settings import jobs
from rim.settings.common import Think
from rim.settings.forgetting import NeuronRule


class Job(jobs.Job):
    model: jobs.ModelReference
    harmful: str
    think: Think
    pool_over: str
    pairs: int  # at least so many
    rule: NeuronRule
    held_out: bool  # find them on the calibration split only
    replies: Path  # a receipt
    counterfactual_replies: list[Path]  # a receipt, where each request has a reply of its own
    dataset: Path  # a receipt, of the harmful requests
    neurons: Path
    curve: Path


def run(job: Job) -> None:
    label = f"find_safety_neurons {job.model.label}"
    replies = identifying_replies(job)
    view, tokenizer = loading.open_model(job.model)
    if job.counterfactual_replies:
        changed = tables.read(verified(job.counterfactual_replies[0]), contracts.RESPONSE)
        pairs = texts.answered_texts(tokenizer, replies, changed, job.pool_over)
    else:
        pairs = texts.counterfactual_texts(tokenizer, replies, job.think, job.model.think_switch, job.pool_over)
    layers = safety_neurons.read_pairs(view, pairs, job.rule, label)
    sets, threshold = safety_neurons.draw_sets(layers, job.rule, job.model.seed, label)
    table = safety_neurons.sets_table(sets, layers, checkpoints.expert_widths(view, job.rule.neuron_type))
    tables.write(table, contracts.NEURONS, job.neurons)
    curve = pl.DataFrame(list(neurons.curve(layers, threshold)), schema=dict(contracts.CURVE))
    tables.write(curve, contracts.CURVE, job.curve)


def identifying_replies(job: Job) -> pl.DataFrame:
    """The replies from which neurons are found.

    Raises:
        UserError: there are too few.
    """
    asked = tables.read(verified(job.replies), contracts.RESPONSE)
    requests = tables.read(verified(job.dataset), contracts.DATASET)
    replies = texts.base_replies(asked, job.harmful, job.think, requests)
    if job.held_out:
        replies = replies.filter(pl.col("split") == "calibration")
    replies = texts.nonempty_replies(replies)
    if replies.height < job.pairs:
        where = " of the calibration split" * job.held_out
        raise UserError(
            f"benchmark '{job.harmful}': asks {replies.height} requests{where}, and neurons are found "
            f"from at least {job.pairs}; ask more rows, or lower forgetting.pairs"
        )
    return replies
