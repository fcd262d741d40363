"""A mixture of experts through transformers: made, read, asked, with adapters on its experts, with neurons of an expert ablated.

It has as many layers as fit into half of the GPU's memory, up to those of Qwen3-30B-A3B.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rim.analysis.ablation import ablated_neurons
from rim.analysis.capture import capture
from rim.data.organism.tokenizer import build_tokenizer
from rim.device import bill, clock
from rim.device.rows import NEEDS_GPU, Row, Skipped
from rim.device.shapes import Setup, build, prompts, size, texts
from rim.models.families import ModelView
from rim.models.generate import TransformersBackend
from rim.settings.models import Finetune, Lora
from rim.training.finetune import with_adapters
from rim.workflow import speed
from rim.workflow.device_check import POSITIONS

ROOM = 0.5  # of the GPU's memory, for weights
LEAST = 4  # layers that are worth measuring


def run(setup: Setup) -> Iterator[Row]:
    chosen = fitting(setup)
    shape = bill.shape(setup, chosen)
    made: list[Any] = []
    spent = clock.seconds(lambda: made.append(build(chosen, setup.scale.dtype, setup.device)), setup.device)
    view = ModelView(made.pop())
    layers = f"{chosen['num_hidden_layers']} of {setup.model['num_hidden_layers']}"
    yield Row("layers", layers, note="as many as fit into half of the memory")
    yield Row("parameters", shape.parameters / 1e9, "billions")
    yield Row("active parameters", shape.active / 1e9, "billions")
    yield Row("making random weights", spent, "s")
    yield from _read(setup, view, shape)
    yield from _answered(setup, view, shape)
    yield from _ablated(setup, view)
    yield from _trained(setup, view, shape)


def fitting(setup: Setup) -> dict[str, Any]:
    """The item's shape with as many layers as there is room for.

    Raises:
        Skipped: these are too few.
    """
    wanted, width = setup.model, speed.BYTES[setup.scale.dtype]
    shells = [size({**wanted, "num_hidden_layers": count})[0] for count in (1, 2)]
    layer = shells[1] - shells[0]
    room = ROOM * setup.hardware.gpu_memory * 1e9 / width - (shells[0] - layer)
    layers = min(wanted["num_hidden_layers"], int(room / layer))
    if layers < min(LEAST, wanted["num_hidden_layers"]):
        raise Skipped(f"{setup.hardware.gpu_memory:.0f} GB have room for {max(0, layers)} of its layers")
    return {**wanted, "num_hidden_layers": layers}


def _read(setup: Setup, view: ModelView, shape: speed.Shape) -> Iterator[Row]:
    """A bare pass, with experts as transformers runs them, and caching, which takes them one after the other."""
    import torch

    tokens = setup.scale.lengths[1]
    batch = max(1, setup.scale.read // tokens)
    rows = texts(batch, tokens, setup.model["vocab_size"])
    ids = torch.tensor([row.ids for row in rows], device=setup.device)

    def bare() -> None:
        with torch.inference_mode():
            view.backbone(input_ids=ids, use_cache=False)

    spent = clock.medians({"bare": bare, "read": lambda: capture(view, rows, POSITIONS, batch)}, setup.device)
    expected = 1 / speed.reading(shape, setup.hardware, 1)
    yield Row("a bare pass", ids.numel() / spent["bare"], "tokens/s", expected)
    yield Row("reading activations", spent["read"] / spent["bare"], "bare passes")


def _answered(setup: Setup, view: ModelView, shape: speed.Shape) -> Iterator[Row]:
    count, reply = setup.scale.sequences[0], setup.scale.reply // 4
    tokenizer = build_tokenizer("always")
    engine, asked = TransformersBackend(view.model, tokenizer, count), prompts(tokenizer, count, setup.scale.prompt)
    made: list[int] = []

    def answer() -> None:
        made.append(sum(each.tokens for each in engine.generate(asked, reply, 0.0, 0, "mixture")))

    spent = clock.medians({"answer": answer}, setup.device, 1)["answer"]
    expected = bill.generated(setup, shape, count, reply)
    yield Row(f"{count} sequences through transformers", made[-1] / spent, "tokens/s", expected)


def _ablated(setup: Setup, view: ModelView) -> Iterator[Row]:
    """A neuron of one expert in every layer, taken out and put back."""
    neurons = [(layer, 1, 0) for layer in range(len(view.blocks))]
    weights = [view.down_projection(layer, expert) for layer, expert, _ in neurons]
    before = [weight[:, 0].clone() for weight in weights]
    zero: list[bool] = []

    def edit() -> None:
        with ablated_neurons(view, neurons):
            zero.append(all(not bool(weight[:, 0].any()) for weight in weights))

    spent = clock.seconds(edit, setup.device)
    same = all(bool((weight[:, 0] == kept).all()) for weight, kept in zip(weights, before, strict=True))
    yield Row("ablating a neuron of every layer", spent, "s")
    yield Row("ablated, and then as before", float(zero[0] and same), at_least=1, note="1 is yes")


def _trained(setup: Setup, view: ModelView, shape: speed.Shape) -> Iterator[Row]:
    """One step of adapters on everything, experts included; the model has them from then on."""
    import torch

    recipe = Finetune(
        batch_size=setup.scale.micro_batch_size, max_length=setup.scale.row[1], gradient_checkpointing=True
    )
    model = with_adapters(view.model, Lora(), None)
    trained = [each for each in model.parameters() if each.requires_grad]
    for each in trained:
        each.data = each.data.float()  # as the workflow keeps them
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.enable_input_require_grads()
    model.train()
    optimizer = torch.optim.AdamW(trained, lr=1e-5)
    rng = np.random.default_rng(0)
    ids = rng.integers(5, setup.model["vocab_size"], (recipe.batch_size, recipe.max_length))
    batch = torch.tensor(ids, device=setup.device)

    def step() -> None:
        with torch.autocast(setup.device, torch.bfloat16, enabled=setup.gpu):
            loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    yield Row("parameters of its adapters", sum(each.numel() for each in trained) / 1e9, "billions")
    found, expected = clock.peak(step, setup.device), bill.training_memory(setup, shape, recipe)
    yield Row("memory of training adapters", found, "GB", expected, note="" if setup.gpu else NEEDS_GPU)
    spent = clock.seconds(step, setup.device)
    expected = 1 / speed.reading(shape, setup.hardware, 1, 6)
    yield Row("training adapters", batch.numel() / spent, "tokens/s", expected, note="rows of equal length")
