"""Reading texts: a bare forward pass, caching beside it, and the exact effect of every head."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rim.analysis.cache import write_cache
from rim.analysis.capture import capture
from rim.analysis.head_effects import head_effects
from rim.device import bill, clock
from rim.device.rows import NEEDS_GPU, Row
from rim.device.shapes import Setup, build, texts
from rim.models.families import ModelView
from rim.workflow import speed
from rim.workflow.device_check import POSITIONS
from rim.workflow.workload import HEAD

CACHING = 1.10  # times a bare pass, at most


def run(setup: Setup) -> Iterator[Row]:
    scale, shape = setup.scale, bill.shape(setup)
    view = ModelView(build(setup.model, scale.dtype, setup.device))
    yield Row("parameters", shape.parameters / 1e9, "billions")
    for tokens in scale.lengths:
        yield from _read(setup, view, tokens)
    yield from _sweep(setup, view)


def _read(setup: Setup, view: ModelView, tokens: int) -> Iterator[Row]:
    """Two batches of texts of one length."""
    import torch

    scale, shape = setup.scale, bill.shape(setup)
    batch = max(1, scale.read // tokens)
    rows = texts(2 * batch, tokens, setup.model["vocab_size"])
    ids = [torch.tensor([row.ids for row in rows[i : i + batch]], device=setup.device) for i in (0, batch)]

    def bare() -> None:
        with torch.inference_mode():
            for each in ids:
                view.backbone(input_ids=each, use_cache=False)

    def read() -> None:
        capture(view, rows, POSITIONS, batch)

    def cached() -> None:
        with TemporaryDirectory(dir=setup.scratch) as folder:
            write_cache(view, rows, POSITIONS, batch, {}, Path(folder, "cache"), "caching")

    spent = clock.medians({"bare": bare, "read": read, "cached": cached}, setup.device)
    total = len(rows) * tokens
    expected = total / speed.reading(shape, setup.hardware, total)
    label = f"{tokens} tokens"
    yield Row(f"{label}: a bare pass", total / spent["bare"], "tokens/s", predicted=expected)
    used = bill.utilization(setup, shape, total / spent["bare"], 2)
    yield Row(f"{label}: share of the card's peak", used)
    target = setup.target(CACHING)
    yield Row(f"{label}: reading activations", spent["read"] / spent["bare"], "bare passes", at_most=target)
    yield Row(f"{label}: caching them on disk", spent["cached"] / spent["bare"], "bare passes", at_most=target)
    yield from _memory(setup, label, {"a bare pass": bare, "reading activations": read})


def _memory(setup: Setup, label: str, tasks: dict[str, Any]) -> Iterator[Row]:
    expected = bill.reading_memory(setup, bill.shape(setup))
    for name, work in tasks.items():
        found = clock.peak(work, setup.device)
        yield Row(f"{label}: memory of {name}", found, "GB", expected, note="" if setup.gpu else NEEDS_GPU)


def _sweep(setup: Setup, view: ModelView) -> Iterator[Row]:
    """The effect of every head, and what it costs beside full passes."""
    import torch

    prompts, tokens = setup.scale.sweep
    ids = [row.ids for row in texts(prompts, tokens, setup.model["vocab_size"])]
    batch = torch.tensor(ids, device=setup.device)

    def bare() -> None:
        with torch.inference_mode():
            view.backbone(input_ids=batch, use_cache=False)

    full = clock.medians({"bare": bare}, setup.device)["bare"]
    once = clock.seconds(lambda: head_effects(view, ids, (5, 6), "heads"), setup.device)
    heads = len(view.blocks) * view.heads
    expected = speed.reading(bill.shape(setup), setup.hardware, prompts * tokens * heads * HEAD)
    yield Row(f"effects of {heads} heads on {prompts} prompts", once, "s", expected)
    yield Row("effect of a head", once / heads / full, "bare passes", HEAD)
