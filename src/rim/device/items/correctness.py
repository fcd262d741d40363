"""Does the device compute what the CPU computes: logits, activations, replies, ablations, head effects, neurons, RAS.

One small model with the same random weights runs on the CPU in float32, on the device in float32, and there in bfloat16. The
first two must agree; of bfloat16 only what rounding cannot explain is an error, and the rest says what it costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rim.analysis import checkpoints, ras, safety_neurons
from rim.analysis.capture import Row as Text
from rim.analysis.head_effects import head_effects
from rim.device.rows import Row
from rim.device.shapes import Setup, build, texts
from rim.models.families import ModelView
from rim.settings.forgetting import NeuronRule
from rim.workflow import device_check
from rim.workflow.device_check import BFLOAT16, FLOAT32, SMALL, apart

PAIRS, TOKENS, ADDED = 32, 48, 24  # texts, their tokens, and those that an intent adds
RULE = NeuronRule(frequency=0.25, min_neurons=1, random_sets=0)
SHIFT = 0.1  # of the weights, as a share of their size: what stands for fine-tuning


def run(setup: Setup) -> Iterator[Row]:
    for check in device_check.agreement(setup.device):
        yield Row(check.name, check.error, at_most=check.bound)
    expected = _measured("float32", "cpu")
    for dtype, bound in (("float32", FLOAT32), ("bfloat16", BFLOAT16)):
        found, strict = _measured(dtype, setup.device), dtype == "float32"
        yield Row(f"logits, {dtype}", apart(found["logits"], expected["logits"]), at_most=bound)
        error = apart(found["effects"], expected["effects"])
        yield Row(f"effects of heads, {dtype}", error, at_most=bound if strict else None)
        yield Row(f"neurons found, {dtype}", found["count"])
        same = _overlap(found["neurons"], expected["neurons"])
        yield Row(f"neurons found by both, {dtype}", same, "Jaccard index", at_least=0.95 if strict else None)
        for form in ras.FORMS:
            error = abs(found[form] / expected[form] - 1)
            yield Row(f"RAS, {form}, {dtype}", error, at_most=bound if strict else None)


def _measured(dtype: str, device: str) -> dict[str, Any]:
    """What analyses give of one model; all errors are relative."""
    import torch

    model = build({**SMALL, "tie_word_embeddings": True, "initializer_range": 0.1}, "float32", "cpu")
    view = ModelView(model.to(getattr(torch, dtype)).to(device))
    rows = texts(PAIRS, TOKENS, SMALL["vocab_size"])
    ids = torch.tensor([row.ids for row in rows], device=device)
    with torch.inference_mode():
        logits = view.model(input_ids=ids).logits
    effects = torch.from_numpy(head_effects(view, [row.ids for row in rows[:8]], (5, 6), "heads"))
    triples = [[row, _longer(row, 0), _longer(row, 1)] for row in rows]
    layers = safety_neurons.read_pairs(view, triples, RULE, "neurons")
    found, _ = safety_neurons.draw_sets(layers, RULE, 0, "neurons")
    parts = (rows[::2], rows[1::2])  # texts of requests and of the new task
    before = [checkpoints.read(view, part, "neurons", 16) for part in parts]
    _shifted(view)
    after = [checkpoints.read(view, part, "neurons", 16) for part in parts]
    safety, task = (list(zip(*side, strict=True)) for side in zip(before, after, strict=True))
    every = [np.arange(values.shape[1]) for values in before[0]]
    shifts = ras.deltas(safety, task, {"all": every})
    forms = {form: float(shifts["all", form].metric("harmonic")[0]) for form in ras.FORMS}
    return {
        "logits": logits,
        "effects": effects,
        "neurons": found["found", 0],
        "count": sum(map(len, found["found", 0])),
        **forms,
    }


def _longer(row: Text, which: int) -> Text:
    """A text with more at its end, the same for all texts."""
    ids = row.ids + list(range(50 + ADDED * which, 50 + ADDED * (which + 1)))
    return Text(f"{row.id}+{which}", ids, row.spans, (0, len(ids)), len(ids) - 1)


def _shifted(view: ModelView) -> None:
    """Move the weights of the MLPs a little, by the same numbers everywhere."""
    import torch

    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in range(len(view.blocks)):
            for module in view.neurons_inputs(layer):
                step = torch.randn(module.weight.shape, generator=random) * SHIFT * module.weight.float().std().cpu()
                module.weight += step.to(module.weight)


def _overlap(found: list[Any], expected: list[Any]) -> float:
    """Jaccard index of two sets of neurons."""
    first, second = ({(layer, int(i)) for layer, own in enumerate(each) for i in own} for each in (found, expected))
    return len(first & second) / max(1, len(first | second))
