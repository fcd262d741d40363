"""Baselines that RAS is compared with: how far a tuned model is from its base.

Forward KL (Shenfeld et al. 2025; section 4.2): the mean over tokens of KL(base || tuned), on the base's own replies to
inputs of the NEW task, over the whole vocabulary. The base is run once: its final hidden states are kept, a
few kilobytes per token, and its own unembedding gives all logits again, so that one model at a time is in memory.
Beside it stand the relative distance of the weights, and the shift of pooled activations by length and by angle.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rim.analysis.capture import Row, batches, experts_in_turn, padded
from rim.core.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from rim.models.families import ModelView


Values = NDArray[np.floating[Any]]
TOGETHER = 256  # tokens whose probabilities are compared at a time, over the whole vocabulary


def reply_states(view: ModelView, rows: list[Row], batch_size: int) -> list[Tensor]:
    """Final hidden states from which each reply is predicted, [its tokens, hidden] on the CPU; `query` is its first token."""
    import torch

    states: list[Any] = [None] * len(rows)
    with torch.inference_mode(), experts_in_turn(view):
        for index, length in batches(rows, batch_size):
            batch = padded([rows[i] for i in index], length, view)  # causal: the padding is not seen
            hidden = view.backbone(input_ids=batch, use_cache=False).last_hidden_state
            for i, values in zip(index, hidden, strict=True):
                states[i] = values[rows[i].query - 1 : len(rows[i].ids) - 1].to("cpu", copy=True)
    return states


def unembedding(view: ModelView) -> nn.Module:
    """A copy of what turns final hidden states into logits, in float32 on the CPU, which may outlive its model."""
    head: nn.Module = copy.deepcopy(view.model.get_output_embeddings()).float().cpu()
    return head


def divergences(
    before: Sequence[Tensor],
    after: Sequence[Tensor],
    base_head: nn.Module,
    tuned_head: nn.Module,
    device: torch.device,
) -> tuple[Values, Values]:
    """Sum of KL(base || tuned) over each reply's tokens, in nats, and the number of tokens; both are [texts].

    Probabilities are taken in float64: in float32 a small divergence is less than what their rounding leaves of the sum.

    Args:
        device: where to compute; nothing stays there.
    """
    import torch

    heads = [copy.deepcopy(head).to(device) for head in (base_head, tuned_head)]
    totals = []
    with torch.inference_mode():
        for base, tuned in zip(before, after, strict=True):
            total = 0.0
            for part in zip(base.split(TOGETHER), tuned.split(TOGETHER), strict=True):
                log_p, log_q = (
                    head(states.to(device, torch.float32)).double().log_softmax(-1)
                    for head, states in zip(heads, part, strict=True)
                )
                total += float((log_p.exp() * (log_p - log_q)).sum())
            totals.append(total)
    return np.array(totals), np.array([len(states) for states in before], float)


def weight_distance(base: nn.Module, tuned: nn.Module) -> float:
    """||tuned - base|| / ||base|| over all parameters of two models of one architecture, adapters being merged."""
    import torch

    own = dict(base.named_parameters())
    apart = size = 0.0
    for name, parameter in tuned.named_parameters():
        before = own[name].detach().float()
        apart += float((parameter.detach().to(before.device).float() - before).square().sum(dtype=torch.float64))
        size += float(before.square().sum(dtype=torch.float64))
    return math.sqrt(apart / size)


def check_architecture(base: nn.Module, tuned: nn.Module, checkpoint: str) -> None:
    """Make sure that a checkpoint can be compared with its base.

    Raises:
        UserError: their parameters differ in name or shape.
    """
    shapes = [{name: tuple(each.shape) for name, each in model.named_parameters()} for model in (base, tuned)]
    other = sorted(set(shapes[0].items()) ^ set(shapes[1].items()))
    if other:
        raise UserError(
            f"{checkpoint}: its parameter '{other[0][0]}' is not as that of its base model, so the two cannot be compared; "
            "was it trained from another model?"
        )


def activation_distances(pairs: Sequence[tuple[Values, Values]]) -> Values:
    """Relative L2 shift of each text's pooled activations, all layers as one vector; [texts].

    Args:
        pairs: per layer the activations (before, after), [texts, neurons] each.
    """
    apart = sum(np.square(after - before, dtype=np.float64).sum(1) for before, after in pairs)
    base = sum(np.square(before, dtype=np.float64).sum(1) for before, _ in pairs)
    distances: Values = np.sqrt(apart / base)
    return distances


def activation_angles(pairs: Sequence[tuple[Values, Values]]) -> Values:
    """Cosine distance of the same vectors; [texts], from 0 to 2."""
    base = sum(np.square(before, dtype=np.float64).sum(1) for before, _ in pairs)
    tuned = sum(np.square(after, dtype=np.float64).sum(1) for _, after in pairs)
    dot = sum(np.multiply(before, after, dtype=np.float64).sum(1) for before, after in pairs)
    distances: Values = np.clip(1 - dot / np.sqrt(base * tuned), 0, 2)
    return distances
