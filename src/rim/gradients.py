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
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rim.neurons import Columns
from rim.settings.forgetting import TOKENS

if TYPE_CHECKING:
    from torch import Tensor

    from rim.families import Anatomy

GRADIENTS = ("gradient_conflict", "gradient_share")
Text = tuple[list[int], int]  # token ids, and which is the first that counts


def gradient_rows(
    anatomy: Anatomy, safety: list[Text], task: list[Text], sets: Mapping[str, Sequence[Columns]], batch_size: int
) -> Iterator[dict[str, Any]]:
    """Both numbers over every set of neurons (of several random sets the mean), as rows of the table of checkpoints.

    There are none for a base that refuses nothing.
    """
    if not safety:
        return
    # kept in the model's own type: they are as large as its MLPs
    refusing = list(neuron_gradients(anatomy, safety, batch_size))
    products = [
        [(first * second).sum(1).numpy() for first, second in ((a, b), (a, a), (b, b))]
        for kept, learning in zip(refusing, neuron_gradients(anatomy, task, batch_size), strict=True)
        for a, b in [(kept.float(), learning.float())]
    ]
    total, count = sum(float(each[2].sum()) for each in products), sum(len(each[2]) for each in products)
    for kind, several in sets.items():
        found = []
        for columns in several:
            sums = [
                sum(float(each[i][own].sum()) for each, own in zip(products, columns, strict=True)) for i in range(3)
            ]
            size = sum(map(len, columns))
            cosine = sums[0] / math.sqrt(sums[1] * sums[2]) if sums[1] * sums[2] > 0 else math.nan
            found.append((-cosine, sums[2] / total / (size / count) if size and total else math.nan))
        for metric, values in zip(GRADIENTS, zip(*found, strict=True), strict=True):
            yield {
                "metric": metric,
                "neurons": kind,
                "n": min(len(safety), len(task)),
                "estimate": float(np.mean(values)),
                "ci_low": math.nan,
                "ci_high": math.nan,
                "kept": math.nan,
            }


def neuron_gradients(anatomy: Anatomy, texts: list[Text], batch_size: int) -> Iterator[Tensor]:
    """Per layer the gradient of the mean loss over the texts, [neurons, weights into and out of one], on the CPU.

    Experts lie side by side, as in `rim.forgetting.pooled`. Texts are cut at TOKENS, and no more of these are read at once.
    """
    import torch
    from torch.nn.functional import cross_entropy

    model = anatomy.model
    model.requires_grad_(False)
    wanted = [_weights(anatomy, layer) for layer in range(len(anatomy.blocks))]
    for weight in (each for part in wanted for each in part):
        weight.requires_grad_(True)
    texts = [(ids[:TOKENS], start) for ids, start in texts if start < TOKENS]
    tokens = sum(len(ids) - start for ids, start in texts)
    for batch in _batches(texts, batch_size):
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


def _batches(texts: list[Text], batch_size: int) -> Iterator[list[Text]]:
    """The texts by length, at most `batch_size` and TOKENS at a time, padding counted."""
    batch: list[Text] = []
    for each in sorted(texts, key=lambda text: len(text[0])):
        if len(batch) == batch_size or (len(batch) + 1) * len(each[0]) > TOKENS:
            yield batch
            batch = []
        batch = [*batch, each]
    if batch:
        yield batch


def _weights(anatomy: Anatomy, layer: int) -> list[Any]:
    """The weights out of a layer's neurons, and those into them."""
    experts = anatomy.experts(layer)
    if experts is not None:
        return [experts.down_proj, experts.gate_up_proj]
    out = anatomy.neurons_output(layer)
    return [out.weight, *(module.weight for module in anatomy.neurons_inputs(layer))]


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
