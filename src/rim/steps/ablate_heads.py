"""Let one variant of one model answer the evaluation requests with sets of heads ablated, and score its probes again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from rim.analysis import ablation, texts
from rim.analysis.cache import Cache, checkpoint_identity, identity
from rim.core import contracts, tables
from rim.core.progress import log
from rim.core.receipts import verified, write_receipt
from rim.models import loading, positions
from rim.models.benchmarks import read_questions
from rim.models.engines import open_backend
from rim.models.generate import answer
from rim.settings import jobs
from rim.settings.inference import Benchmark, Inference

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rim.models.families import ModelView


class Job(jobs.Job):
    model: jobs.ModelReference
    inference: Inference
    benchmarks: dict[str, Benchmark]
    harmful: str
    harmless: str
    batch_size: int
    head_sets: list[str]
    replacements: list[str]
    random_sets: int
    cache: Path  # a receipt
    plain: Path  # a receipt: replies of the model as it is
    judgements: Path
    heads: Path
    effects: Path
    directions: Path  # a receipt
    datasets: list[Path]  # receipts, in the order of the benchmarks
    replies: Path
    scores: Path
    sets: Path


def run(job: Job) -> None:
    questions = read_questions(job.benchmarks, job.datasets, job.inference.max_new_tokens, evaluation_only=True)
    heads, effects = tables.read(job.heads, contracts.HEADS), tables.read(job.effects, contracts.EFFECTS)
    plan = ablation.plan(heads, effects, job.head_sets, job.replacements, job.random_sets)
    receipts = dict(zip(job.benchmarks, job.datasets, strict=True))
    asked = [receipts[job.harmful], receipts[job.harmless]]
    groups = texts.read_groups(job.harmful, job.harmless, job.judgements, asked)
    view, tokenizer = loading.open_model(job.model)
    cache = Cache(verified(job.cache), **identity(checkpoint_identity(job.model), tokenizer))
    means = ablation.mean_inputs(cache, groups)
    scores = probe_scores(job, view, tokenizer, plan, means, groups)
    backend, _ = open_backend(job.model, job.inference, loaded=view, editable=True)
    replies = [pl.DataFrame(schema=dict(contracts.RESPONSE))]
    for condition, ablated in plan:
        label = f"ablate_heads {job.model.label} {condition}"
        with ablation.ablated_heads(backend.view, ablated, means if condition.intervention == "mean" else None):
            replies.append(answer(backend, tokenizer, job.model, questions, job.inference, label, condition))
        log(f"{label}: done")
    tables.write(pl.concat(replies), contracts.RESPONSE, job.replies)
    write_receipt(job.replies)
    tables.write(scores, contracts.SCORES, job.scores)
    tables.write(ablation.heads_table(plan), contracts.ABLATED_HEADS, job.sets)


def probe_scores(
    job: Job,
    view: ModelView,
    tokenizer: PreTrainedTokenizerBase,
    plan: ablation.Plan,
    means: dict[int, Any],
    groups: pl.DataFrame,
) -> pl.DataFrame:
    """The scores of the model's own probes without each set of heads, thinking off, on the evaluation split."""
    from safetensors.numpy import load_file

    tested = groups.filter((pl.col("split") == "evaluation") & (pl.col("think") == "off"))
    plain = tables.read(verified(job.plain), contracts.RESPONSE)
    plain = plain.join(tested, on=texts.KEYS, how="semi", maintain_order="left")
    rows = texts.probe_texts(plain, positions.templates(tokenizer, job.model.think_switch, ["off"]))
    directions = load_file(verified(job.directions))
    scores = []
    for condition, heads in plan:
        with ablation.ablated_heads(view, heads, means if condition.intervention == "mean" else None):
            scores += ablation.probe_scores(view, condition, rows, groups, directions, job.batch_size)
    return pl.DataFrame(scores, schema=dict(contracts.SCORES))
