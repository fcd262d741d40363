"""The metrics of forgetting at checkpoints, each with how it is taken; the first is the paper's. `gradients` has those before training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rim.analysis import baselines

if TYPE_CHECKING:
    from torch import Tensor, nn

    from rim.models.families import ModelView


Values = NDArray[np.floating[Any]]


@dataclass
class Snapshot:
    """One model's activations per layer on safety and on task texts, and what gives its logits over the task's replies."""

    safety: list[Values]
    task: list[Values]
    states: list[Tensor]
    head: nn.Module


@dataclass(frozen=True)
class Comparison:
    """A checkpoint beside the model it was tuned from; `weights` [1 + draws, texts] resample the task's texts."""

    before: Snapshot
    after: Snapshot
    base: ModelView
    tuned: ModelView
    weights: Values

    @property
    def activations(self) -> list[tuple[Values, Values]]:
        """Per layer the activations (before, after) on the task's texts."""
        return list(zip(self.before.task, self.after.task, strict=True))


def _divergence(one: Comparison) -> Values:
    before, after = one.before, one.after
    totals, tokens = baselines.divergences(before.states, after.states, before.head, after.head, one.tuned.model.device)
    return (one.weights @ totals) / np.maximum(one.weights @ tokens, 1e-12)


def _weight_distance(one: Comparison) -> Values:
    return np.array([baselines.weight_distance(one.base.model, one.tuned.model)])


def _activation_distance(one: Comparison) -> Values:
    return one.weights @ baselines.activation_distances(one.activations)


def _activation_angle(one: Comparison) -> Values:
    return one.weights @ baselines.activation_angles(one.activations)


@dataclass(frozen=True)
class Shift:
    """A metric over sets of neurons: a form of the shifts (rim.analysis.ras) and how the two sides are put together.

    It is taken over the safety-critical neurons, and if `on_every_set` over all others as well.
    """

    form: str
    aggregate: str
    on_every_set: bool = False


@dataclass(frozen=True)
class Distance:
    """A metric of whole models: its value and, after it, those of the resamples, if texts were resampled."""

    values: Callable[[Comparison], Values]


METRICS: dict[str, Shift | Distance] = {
    "ras": Shift("published", "harmonic", on_every_set=True),
    "ras_relative": Shift("relative", "harmonic", on_every_set=True),
    "ras_symmetric": Shift("symmetric", "harmonic", on_every_set=True),
    "arithmetic": Shift("published", "arithmetic"),
    "geometric": Shift("published", "geometric"),
    "minimum": Shift("published", "minimum"),
    "delta_safe": Shift("published", "safe"),
    "delta_task": Shift("published", "task"),
    "kl": Distance(_divergence),
    "weights": Distance(_weight_distance),
    "activation_l2": Distance(_activation_distance),
    "activation_cosine": Distance(_activation_angle),
}
# What tables and figures call each, and those of rim.analysis.gradients; apart, so that a better word measures nothing again.
TITLES = {
    "ras": "RAS, as published",
    "ras_relative": "RAS, relative",
    "ras_symmetric": "RAS, symmetric",
    "arithmetic": "arithmetic mean",
    "geometric": "geometric mean",
    "minimum": "minimum",
    "delta_safe": "fall on safety alone",
    "delta_task": "rise on the task alone",
    "gradient_conflict": "conflict of gradients before training",
    "gradient_share": "share of the task's gradient before training",
    "kl": "KL divergence",
    "weights": "distance of the weights",
    "activation_l2": "activation shift, L2",
    "activation_cosine": "activation shift, cosine",
}
