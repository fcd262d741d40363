"""Fine-tuning adapters by the published recipe, as the workflow does: tokens per second, memory, and what padding costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from rim.device import bill, clock
from rim.device.rows import NEEDS_GPU, Row
from rim.device.shapes import MODE, Setup, checkpoint, words
from rim.models import loading
from rim.settings.models import Finetune
from rim.training import finetune
from rim.training.finetune import Training

FIRST = 1  # steps that warm up


def run(setup: Setup) -> Iterator[Row]:
    location = checkpoint(setup)
    scale = setup.scale
    sizes = {"batch_size": scale.batch_size, "micro_batch_size": scale.micro_batch_size, "checkpoints": 1, "epochs": 1}
    slim = {**sizes, "gradient_checkpointing": True}
    yield from _trained(setup, location, "padded", Finetune.model_validate(slim))
    yield from _trained(setup, location, "padded, without gradient checkpointing", Finetune.model_validate(sizes))
    for label, batching in (("by length", "length"), ("packed", "packed")):
        yield from _trained(setup, location, label, Finetune.model_validate({**slim, "batching": batching}))


def _trained(setup: Setup, location: Path, label: str, recipe: Finetune) -> Iterator[Row]:
    """Some steps of one recipe, of which the first does not count."""
    scale, shape = setup.scale, bill.shape(setup)
    rows = examples(scale.steps * scale.batch_size, *scale.row)
    encoded, _ = finetune.encode(loading.load_tokenizer(str(location)), rows, MODE, recipe.max_length)
    tokens = sum(len(row["input_ids"]) for row in encoded) / scale.steps  # of a step, without padding
    ends: list[float] = []

    def train() -> None:
        with TemporaryDirectory(dir=setup.scratch) as folder, _steps(setup.device, ends):
            made = Path(folder)
            finetune.finetune(
                Training(
                    str(location), None, scale.dtype, MODE, 0, label, recipe, rows, made / "result", made / "steps"
                )
            )

    memory = clock.peak(train, setup.device)
    spent = statistics.median(np.diff(ends[FIRST - 1 :]))
    expected = tokens / bill.training(setup, shape, recipe, tokens)
    yield Row(f"{label}: training", tokens / spent, "tokens/s", expected)
    passes = 4 + 2 * recipe.gradient_checkpointing
    yield Row(f"{label}: share of the card's peak", bill.utilization(setup, shape, tokens / spent, passes))
    expected = bill.training_memory(setup, shape, recipe)
    yield Row(f"{label}: memory", memory, "GB", expected, note="" if setup.gpu else NEEDS_GPU)
    clock.free(setup.device)


def examples(count: int, shortest: int, longest: int) -> list[dict[str, Any]]:
    """Rows to train on, of equally many lengths between two, thought and answer included."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(shortest, longest + 1, count)
    return [
        {"prompt": words(max(1, n // 4), rng), "cot": words(max(1, n // 2), rng), "answer": words(max(1, n // 4), rng)}
        for n in lengths
    ]


@contextmanager
def _steps(device: str, ends: list[float]) -> Iterator[None]:
    """Note when every optimizer step has ended, by torch's own hook."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    def note(*arguments: Any) -> None:
        clock.wait(device)
        ends.append(time.perf_counter())

    handle = register_optimizer_step_post_hook(note)
    try:
        yield
    finally:
        handle.remove()
