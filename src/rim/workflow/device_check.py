"""Does this machine compute what the CPU computes, and how fast: `rim check-gpu`.

With a GPU, a model of the organisms' size is run on it and on the CPU: activations and greedy replies in float32 must
agree, activations in bfloat16 up to its rounding, and an ablation must change what hooks change and be taken back bitwise.
Then a model of the shape of Qwen3-4B with random weights reads, generates and is fine-tuned in bfloat16. Without a GPU the
same is measured on the CPU, at the organisms' size, and the comparison is of the CPU with itself.

FLOP are counted as `rim.workflow.speed` does, so the table says how far its assumptions, two fifths of the peak and at least 30 ms
for a step of generation, hold here.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rim.analysis.ablation import ablated_heads
from rim.analysis.capture import Row, capture
from rim.models.families import ModelView
from rim.settings.models import Lora
from rim.training.finetune import with_adapters

if TYPE_CHECKING:
    from torch import Tensor


SMALL: dict[str, Any] = {
    "hidden_size": 128, "num_hidden_layers": 4, "intermediate_size": 384, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 512,
}  # fmt: skip
QWEN3_4B: dict[str, Any] = {
    "hidden_size": 2560, "num_hidden_layers": 36, "intermediate_size": 9728, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936,
}  # fmt: skip
POSITIONS = ["first", "middle", "last"]
FLOAT32, BFLOAT16 = 1e-3, 0.05  # relative errors that rounding explains
ROUNDS = 3


@dataclass(frozen=True)
class Check:
    """One comparison: `error` is at most `bound` where the device computes the same."""

    name: str
    error: float
    bound: float

    @property
    def holds(self) -> bool:
        return self.error <= self.bound


def build(shape: dict[str, Any], dtype: str, device: str) -> Any:
    """A Qwen3 with random weights, the same ones for every type and device."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(**shape, tie_word_embeddings=True, dtype=dtype)
    if shape is not SMALL:
        with torch.device(device):  # too large to be made on the CPU first
            return Qwen3ForCausalLM(config).to(getattr(torch, dtype)).eval()
    return Qwen3ForCausalLM(config).to(getattr(torch, dtype)).to(device).eval()


def texts(count: int, tokens: int, vocabulary: int) -> list[Row]:
    """Random texts, the shortest half as long as the longest."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        length = int(rng.integers(tokens // 2, tokens + 1))
        spans = {"first": (0, 1), "middle": (2, 6), "last": (length - 1, length)}
        ids = rng.integers(5, vocabulary, length).tolist()
        rows.append(Row(f"text{i}", ids, spans, (0, length), length - 1))
    return rows


def apart(found: Tensor, expected: Tensor) -> float:
    """||found - expected|| / ||expected||."""
    found, expected = found.detach().double().cpu(), expected.detach().double().cpu()
    return float((found - expected).norm() / expected.norm())


def agreement(device: str) -> list[Check]:
    """Compare a device with the CPU in float32, on one small model."""
    import torch

    rows = texts(32, 64, SMALL["vocab_size"])
    reference, single, half = (
        ModelView(build(SMALL, dtype, place))
        for dtype, place in (("float32", "cpu"), ("float32", device), ("bfloat16", device))
    )
    expected = capture(reference, rows, POSITIONS, 16)
    checks = []
    for name, view, bound in (("float32", single, FLOAT32), ("bfloat16", half, BFLOAT16)):
        records = capture(view, rows, POSITIONS, 16)
        error = max(apart(records[key], expected[key]) for key in records if records[key].is_floating_point())
        checks.append(Check(f"activations, {name}", error, bound))
    replies = [_greedy(view.model, [row.ids[:32] for row in rows], 16) for view in (reference, single)]
    differ = float((replies[0] != replies[1]).any(1).float().mean())
    checks.append(Check("replies that differ, greedy, float32", differ, 0))
    heads = [(layer, 1) for layer in range(SMALL["num_hidden_layers"])]
    before = [half.heads_output(layer).weight.clone() for layer, _ in heads]
    ids = torch.tensor([row.ids[:32] for row in rows], device=device)
    with torch.inference_mode(), ablated_heads(half, heads):
        edited = half.model(input_ids=ids).logits
    with torch.inference_mode(), _hooked(half, heads):
        hooked = half.model(input_ids=ids).logits
    checks.append(Check("heads ablated, weights against hooks, bfloat16", apart(edited, hooked), BFLOAT16))
    changed = sum(
        not torch.equal(half.heads_output(layer).weight, kept) for (layer, _), kept in zip(heads, before, strict=True)
    )
    checks.append(Check("weights not restored bitwise", changed, 0))
    return checks


@contextmanager
def _hooked(view: ModelView, heads: list[tuple[int, int]]) -> Iterator[None]:
    """Zero heads by hooks: what weight edits must come to."""

    def zero(columns: slice) -> Callable[..., Any]:
        def hook(module: Any, inputs: Any) -> Any:
            changed = inputs[0].clone()
            changed[..., columns] = 0
            return (changed,)

        return hook

    handles = [view.heads_output(layer).register_forward_pre_hook(zero(view.columns(head))) for layer, head in heads]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _greedy(model: Any, ids: list[list[int]], tokens: int) -> Tensor:
    """The next tokens after equally long texts, [texts, tokens]."""
    import torch

    batch = torch.tensor(ids, device=model.device)
    with torch.inference_mode():
        options = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False, "pad_token_id": 0}
        made = model.generate(batch, attention_mask=torch.ones_like(batch), **options)
    return made[:, batch.shape[1] :].cpu()  # type: ignore[no-any-return]


def speed(shape: dict[str, Any], dtype: str, device: str) -> list[list[str]]:
    """Rows of the table: what was done, tokens per second, TFLOP/s as `rim.workflow.speed` counts them, peak memory in GB."""
    import torch

    small = shape is SMALL
    rows = texts(64, 128, shape["vocab_size"])
    model = build(shape, dtype, device)
    parameters = sum(each.numel() for each in model.parameters())
    view = ModelView(model)
    read, made = sum(len(row.ids) for row in rows), 32 if small else 128
    table = []

    def measured(name: str, tokens: int, flop: float, work: Callable[[], Any]) -> None:
        seconds, memory = _timed(work, device)
        peak = f"{memory / 1e9:.1f}" if memory else "–"
        table.append([name, f"{tokens / seconds:,.0f}", f"{tokens * flop * parameters / seconds / 1e12:.2f}", peak])

    def bare() -> None:
        ordered = sorted((row.ids for row in rows), key=len)
        with torch.inference_mode():
            for first in range(0, len(ordered), 32):
                part = ordered[first : first + 32]
                batch = torch.tensor([ids + [0] * (len(part[-1]) - len(ids)) for ids in part], device=device)
                model.model(input_ids=batch, use_cache=False)

    measured("a bare forward pass", read, 2, bare)
    measured("reading activations", read, 2, lambda: capture(view, rows, POSITIONS, 32))
    prompts = [row.ids[:64] for row in rows]
    measured("generation, 64 replies at a time", len(prompts) * made, 2, lambda: _greedy(model, prompts, made))
    table[-1][0] += f", {1000 * len(prompts) / float(table[-1][1].replace(',', '')):.0f} ms a step"
    tuned = with_adapters(model, Lora(), None)
    tuned.gradient_checkpointing_enable({"use_reentrant": False})
    tuned.enable_input_require_grads()
    tuned.train()
    optimizer = torch.optim.AdamW([each for each in tuned.parameters() if each.requires_grad], lr=1e-5)
    rng = np.random.default_rng(1)
    batch = torch.tensor(rng.integers(5, shape["vocab_size"], (4, 128 if small else 1024)), device=device)

    def train() -> None:
        tuned(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    measured("fine-tuning, rank 32, with gradient checkpointing", batch.numel(), 6, train)
    return table


def _timed(work: Callable[[], Any], device: str) -> tuple[float, int]:
    """Median seconds of some rounds after one that warms up, and the peak of the GPU's memory in bytes (0 on a CPU)."""
    import torch

    gpu = device != "cpu"
    work()
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(ROUNDS):
        if gpu:
            torch.cuda.synchronize()
        begun = time.perf_counter()
        work()
        if gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds), torch.cuda.max_memory_allocated() if gpu else 0
