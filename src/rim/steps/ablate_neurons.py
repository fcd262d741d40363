"""Let a model before fine-tuning answer the evaluation prompts without its safety-critical neurons, and without random ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from rim.analysis import ablation
from rim.core import contracts, tables
from rim.core.conditions import Condition
from rim.core.errors import UserError
from rim.core.progress import log
from rim.core.receipts import verified, write_receipt
from rim.models import chat
from rim.models.engines import open_backend
from rim.models.generate import answer, asked_rows
from rim.settings.forgetting import Forgetting
from rim.settings.inference import Benchmark, Inference


def run(settings: dict[str, Any], neurons: Path, datasets: list[Path], checkpoints: list[Path], output: Path) -> None:
    """`datasets` and `checkpoints` are receipts."""
    wanted, inference = Forgetting(**settings["forgetting"]), Inference(**settings["inference"])
    prompts, limits = {}, {}
    for (name, chosen), path in zip(settings["benchmarks"].items(), datasets, strict=True):
        benchmark = Benchmark(**chosen)
        asked = asked_rows(name, benchmark, tables.read(verified(path), contracts.DATASET))
        prompts[name] = asked.filter(pl.col("split") == "evaluation")
        limits[name] = benchmark.max_new_tokens or inference.max_new_tokens
        if prompts[name].is_empty():
            raise UserError(
                f"benchmarks.{name}: has no rows in the evaluation split, on which neurons are ablated; ask all rows"
            )
    ablated = ablation.ablated_outputs if wanted.tensor == "mlp_out" else ablation.ablated_neurons
    table = tables.read(neurons, contracts.NEURONS)
    backend, tokenizer = open_backend(settings, checkpoints, inference, editable=True)
    anatomy = backend.anatomy
    once = inference.model_copy(update={"think": [wanted.think]})
    switch: chat.ThinkSwitch = settings["think"]
    answers = [pl.DataFrame(schema=dict(contracts.RESPONSE))]
    for (kind, draw), members in table.group_by("kind", "draw", maintain_order=True):
        condition = Condition("zero", "safety_neurons", str(kind), int(draw))  # type: ignore[call-overload]
        label = f"ablate_neurons {settings['label']} {condition}"
        with ablated(anatomy, members.select("layer", "expert", "neuron").rows()):
            answers.append(
                answer(backend, tokenizer, switch, prompts, once, limits, settings["seed"], label, condition)
            )
        log(f"{label}: done")
    tables.write(pl.concat(answers), contracts.RESPONSE, output)
    write_receipt(output, settings=settings)
