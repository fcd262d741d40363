"""What can be known before training: how the new task's gradient meets that of the model's own refusals, neuron by neuron.

A neuron's gradient is that of the weights into it and out of it. Over a set of neurons

    gradient_conflict   minus the cosine between the gradients of the two losses: above 0, a small step that makes the
                        task's rows likelier makes the refusals less likely
    gradient_share      the set's share of the task's squared gradient, over its share of neurons: above 1, the task
                        pulls at these neurons more than at others

The losses are means over assistant tokens, of the rows that are trained on and of the base's replies to harmful requests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rim.settings.forgetting import TOKENS

if TYPE_CHECKING:
    from torch import Tensor

    from rim.analysis.neurons import Columns
    from rim.models.families import ModelView


Text = tuple[list[int], int]  # token ids, and which is the first that counts
Values = NDArray[np.floating[Any]]


def neuron_gradients(view: ModelView, texts: list[Text]) -> Iterator[Tensor]:
    """Per layer the gradient of the mean loss over the texts, [neurons, weights into and out of one], on the CPU.

    Experts lie side by side, as in `rim.analysis.checkpoints.pooled`. Texts are cut at TOKENS, and no more of these are read at once.
    """
    import torch
    from torch.nn.functional import cross_entropy

    model = view.model
    model.requires_grad_(False)
    wanted = [_weights(view, layer) for layer in range(len(view.blocks))]
    for weight in (each for part in wanted for each in part):
        weight.requires_grad_(True)
    texts = [(ids[:TOKENS], start) for ids, start in texts if start < TOKENS]
    tokens = sum(len(ids) - start for ids, start in texts)
    for batch in _batches(texts):
        length = len(batch[-1][0])
        ids = torch.tensor([ids + [0] * (length - len(ids)) for ids, _ in batch], device=model.device)
        at = torch.arange(length, device=model.device)
        counts = torch.stack([(at >= start) & (at < len(ids)) for ids, start in batch])[:, 1:]
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1][counts].float()
        (cross_entropy(logits, ids[:, 1:][counts], reduction="sum") / tokens).backward()
    for part in wanted:
        yield _by_neuron(part)
        for weight in part:
            weight.grad = None
    model.requires_grad_(False)


def _batches(texts: list[Text]) -> Iterator[list[Text]]:
    """The texts by length, at most TOKENS at a time, padding counted."""
    batch: list[Text] = []
    for each in sorted(texts, key=lambda text: len(text[0])):
        if batch and (len(batch) + 1) * len(each[0]) > TOKENS:
            yield batch
            batch = []
        batch = [*batch, each]
    if batch:
        yield batch


def _weights(view: ModelView, layer: int) -> list[Any]:
    """The weights out of a layer's neurons, and those into them."""
    experts = view.experts(layer)
    if experts is not None:
        return [experts.down_proj, experts.gate_up_proj]
    out = view.neurons_output(layer)
    return [out.weight, *(module.weight for module in view.neurons_inputs(layer))]


def _by_neuron(weights: list[Any]) -> Tensor:
    """Gradients of down [..., hidden, n] and of gates and ups [..., n or 2n, hidden] as [all n, weights]."""
    import torch

    down, *into = (weight.grad for weight in weights)
    hidden, neurons = down.shape[-2:]
    parts = [down.transpose(-1, -2).reshape(-1, hidden)]
    for each in into:
        halves = each.reshape(*each.shape[:-2], -1, neurons, hidden)  # gate and up, where they are one matrix
        parts += [half.reshape(-1, hidden) for half in halves.unbind(-3)]
    return torch.cat(parts, 1).cpu()


@dataclass(frozen=True)
class Sums:
    """Over a set of neurons: products of the gradients of the two losses, and the set's shares of what all neurons have."""

    dot: float
    safety: float  # squared
    task: float  # squared
    task_share: float  # of the task's squared gradient
    neuron_share: float


def _conflict(sums: Sums) -> float:
    size = sums.safety * sums.task
    return -sums.dot / math.sqrt(size) if size > 0 else math.nan


def _share(sums: Sums) -> float:
    return sums.task_share / sums.neuron_share if sums.neuron_share else math.nan


METRICS: dict[str, Callable[[Sums], float]] = {"gradient_conflict": _conflict, "gradient_share": _share}


def gradient_rows(
    safety: Iterable[Tensor], task: Iterable[Tensor], sets: Mapping[str, Sequence[Columns]]
) -> Iterator[dict[str, Any]]:
    """What the gradients of the two losses foretell over every set of neurons; of several random sets the mean.

    Args:
        safety, task: per layer [neurons, weights], as `neuron_gradients` has them.
    """
    products = [_products(kept.float(), own.float()) for kept, own in zip(safety, task, strict=True)]
    for kind, several in sets.items():
        sums = [_sums(products, columns) for columns in several]
        for metric, value in METRICS.items():
            yield {"metric": metric, "neurons": kind, "estimate": float(np.mean([value(each) for each in sums]))}


Products = tuple[Values, Values, Values]  # per neuron: safety by task, safety squared, task squared


def _products(safety: Tensor, task: Tensor) -> Products:
    """Of the gradients [neurons, weights] of one layer."""
    import torch

    dot, first, second = (
        (a * b).sum(1, dtype=torch.float64).numpy() for a, b in ((safety, task), (safety, safety), (task, task))
    )
    return dot, first, second


def _sums(products: list[Products], columns: Columns) -> Sums:
    dot, safety, task = (
        sum(float(layer[i][own].sum()) for layer, own in zip(products, columns, strict=True)) for i in range(3)
    )
    total, count = sum(float(layer[2].sum()) for layer in products), sum(len(layer[2]) for layer in products)
    return Sums(dot, safety, task, task / total if total else math.nan, sum(map(len, columns)) / count)
