"""What the bill of `rim plan` foretells of one model on this card, by the same functions."""

from __future__ import annotations

from typing import Any

from rim.config.load import load_study
from rim.config.study import Study
from rim.device.shapes import Setup, size
from rim.settings.models import Finetune
from rim.workflow import costs, speed
from rim.workflow.speed import Call, Shape

MODEL, ARM = "m", "arm"


def shape(setup: Setup, model: dict[str, Any] | None = None) -> Shape:
    """The item's model, or another shape, as the bill sees it."""
    return Shape(*size(model or setup.model), speed.BYTES[setup.scale.dtype])


def study(setup: Setup, parameters: Shape, recipe: Finetune) -> Study:
    """A study of that model with one arm, on this card."""
    sets = {"asked": "requests", "learned": "literal"}
    sources = {name: {"sources": [{"adapter": "organism", "part": part, "rows": 100}]} for name, part in sets.items()}
    sized = {"parameters": parameters.parameters / 1e9, "dtype": setup.scale.dtype}
    if parameters.active < parameters.parameters:
        sized["active"] = parameters.active / 1e9
    return load_study(
        {
            "study": "bill",
            "title": "",
            "datasets": sources,
            "models": {MODEL: {"hub": "random/weights", **sized}},
            "variants": {ARM: {"dataset": "learned"}},
            "finetune": recipe.model_dump(mode="json"),
            "benchmarks": {"b": {"dataset": "asked", "measure": "misalignment"}},
            "judges": {"j": {"kind": "refusal_prefix"}},
            "hardware": setup.hardware.model_dump(mode="json"),
        }
    )


def reading_memory(setup: Setup, parameters: Shape) -> float:
    """GB in which activations are read."""
    return costs.memory(study(setup, parameters, Finetune()), "cache_activations", MODEL, "base") / 1e9


def training_memory(setup: Setup, parameters: Shape, recipe: Finetune) -> float:
    """GB in which adapters are trained."""
    return costs.memory(study(setup, parameters, recipe), "finetune_model", MODEL, ARM) / 1e9


def training(setup: Setup, parameters: Shape, recipe: Finetune, tokens: float) -> float:
    """Seconds to train adapters on so many tokens, whose padding comes on top."""
    together = recipe.micro_batch_size or recipe.batch_size
    computed = tokens * speed.padding(together, recipe.batch_size, recipe.batching)
    return speed.reading(parameters, setup.hardware, computed, 4 + 2 * recipe.gradient_checkpointing)


def served(setup: Setup, parameters: Shape, rows: int) -> float:
    """Tokens per second of vLLM that answers so many prompts at a time."""
    scale = setup.scale
    call = Call(rows, scale.prompt, scale.reply, scale.reply, rows * scale.prompt)
    taken = speed.generating(parameters, setup.hardware, call, "vllm", share=scale.memory)
    return rows * scale.reply / taken


def generated(setup: Setup, parameters: Shape, rows: int, reply: int) -> float:
    """Tokens per second of transformers that answers so many prompts in one batch."""
    call = Call(rows, setup.scale.prompt, reply, reply, rows * setup.scale.prompt)
    return rows * reply / speed.generating(parameters, setup.hardware, call, "transformers", rows)


def utilization(setup: Setup, parameters: Shape, tokens_per_second: float, passes: float) -> float:
    """Share of the card's peak: FLOP per token and parameter as the bill counts them."""
    return passes * parameters.active * tokens_per_second / (setup.hardware.gpu_tflops * 1e12)
