"""Let a model before fine-tuning answer without its safety-critical neurons, and without random ones."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from rim.analysis import ablation
from rim.core import contracts, tables
from rim.core.conditions import Condition
from rim.core.progress import log
from rim.core.receipts import write_receipt
from rim.models.benchmarks import read_questions
from rim.models.engines import open_backend
from rim.models.generate import answer
from rim.settings import jobs
from rim.settings.common import Think
from rim.settings.inference import Benchmark, Inference


class Job(jobs.Job):
    model: jobs.ModelReference
    inference: Inference
    benchmarks: dict[str, Benchmark]
    think: Think
    neuron_type: str  # what counts as a neuron
    held_out: bool  # ask the evaluation split only
    neurons: Path
    datasets: list[Path]  # receipts, in the order of the benchmarks
    replies: Path


def run(job: Job) -> None:
    questions = read_questions(job.benchmarks, job.datasets, job.inference.max_new_tokens, job.held_out)
    ablated = ablation.ablated_outputs if job.neuron_type == "mlp_out" else ablation.ablated_neurons
    neurons = tables.read(job.neurons, contracts.NEURONS)
    backend, tokenizer = open_backend(job.model, job.inference, editable=True)
    inference = job.inference.model_copy(update={"think": [job.think]})
    replies = [pl.DataFrame(schema=dict(contracts.RESPONSE))]
    for (kind, draw), members in neurons.group_by("kind", "draw", maintain_order=True):
        condition = Condition("zero", "safety_neurons", str(kind), int(draw))  # type: ignore[call-overload]
        label = f"ablate_neurons {job.model.label} {condition}"
        with ablated(backend.view, members.select("layer", "expert", "neuron").rows()):
            replies.append(answer(backend, tokenizer, job.model, questions, inference, label, condition))
        log(f"{label}: done")
    tables.write(pl.concat(replies), contracts.RESPONSE, job.replies)
    write_receipt(job.replies)
