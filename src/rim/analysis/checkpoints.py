"""What a checkpoint is measured by: RAS over sets of neurons, and the baselines, all against the model before tuning."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rim.analysis import baselines, ras
from rim.analysis.capture import Records, Row, capture
from rim.analysis.neurons import Columns

if TYPE_CHECKING:
    from torch import Tensor, nn

    from rim.models.families import ModelView


DRAWS = 200  # bootstrap resamples of the texts
METRICS = {  # name -> form and aggregate; the first is the paper's
    "ras": ("published", "harmonic"),
    "ras_relative": ("relative", "harmonic"),
    "ras_symmetric": ("symmetric", "harmonic"),
    "arithmetic": ("published", "arithmetic"),
    "geometric": ("published", "geometric"),
    "minimum": ("published", "minimum"),
    "delta_safe": ("published", "safe"),
    "delta_task": ("published", "task"),
}
ON_EVERY_SET = ("ras", "ras_relative", "ras_symmetric")  # the others are over the safety-critical neurons only
BASELINES = ("kl", "weights", "activation_l2", "activation_cosine")
Values = NDArray[np.floating[Any]]
Measured = dict[str, Any]


def read(anatomy: ModelView, rows: list[Row], tensor: str, batch_size: int, unknown: float = 0.0) -> list[Values]:
    """Max-pooled activations per layer, [texts, neurons], experts side by side; `unknown` where an expert had no tokens.

    Args:
        tensor: what counts as a neuron, "neurons" or "mlp_out".
    """
    layers = len(anatomy.blocks)
    if tensor == "mlp_out":
        records = capture(anatomy, rows, [], batch_size, neurons=False, outputs=True)
        return [records[f"outputs_max.{layer}"].float().numpy() for layer in range(layers)]
    return pooled(capture(anatomy, rows, [], batch_size), layers, unknown)


def pooled(records: Records, layers: int, unknown: float = 0.0) -> list[Values]:
    """Max-pooled neurons of some records."""
    made = []
    for layer in range(layers):
        values = records[f"neurons_max.{layer}"].float()
        routed = records.get(f"neurons_routed.{layer}")
        if routed is not None:
            values = values.masked_fill((routed == 0)[..., None], unknown)
        made.append(values.flatten(1).numpy())
    return made


def expert_widths(anatomy: ModelView, tensor: str) -> list[int]:
    """Per layer the neurons of one expert, or of the layer where it has none."""
    layers = range(len(anatomy.blocks))
    if tensor == "mlp_out":
        return [anatomy.hidden for _ in layers]
    experts = [anatomy.experts(layer) for layer in layers]
    return [
        int(each.down_proj.shape[-1]) if each is not None else int(anatomy.neurons_output(layer).in_features)
        for layer, each in zip(layers, experts, strict=True)
    ]


@dataclass
class Snapshot:
    """One model's activations per layer on safety and on task texts, and what gives its logits over the task's replies."""

    safety: list[Values]
    task: list[Values]
    states: list[Tensor]
    head: nn.Module


def snapshot(view: ModelView, safety: list[Row], task: list[Row], tensor: str, batch_size: int) -> Snapshot:
    """Read one model."""
    activations, on_task = (read(view, rows, tensor, batch_size) for rows in (safety, task))
    return Snapshot(activations, on_task, baselines.reply_states(view, task, batch_size), baselines.unembedding(view))


def neuron_sets(neurons: pl.DataFrame, sizes: Sequence[int], widths: Sequence[int]) -> dict[str, list[Columns]]:
    """The sets that metrics are taken over: name -> one set or, of the random ones, several.

    Args:
        neurons: the table of sets (rim.core.contracts.NEURONS).
        sizes: neurons of each layer; widths: neurons of one of its experts, or of the layer.
    """
    sets: dict[str, list[Columns]] = {"all": [[np.arange(size) for size in sizes]]}
    for (kind, _), part in neurons.group_by("kind", "draw", maintain_order=True):
        sets.setdefault("safety" if kind == "found" else str(kind), []).append(
            [
                (own["expert"] * widths[layer] + own["neuron"]).sort().to_numpy()
                for layer in range(len(sizes))
                for own in [part.filter(pl.col("layer") == layer)]
            ]
        )
    return sets


def ras_rows(
    before: Snapshot, after: Snapshot, sets: dict[str, list[Columns]], draws: int = DRAWS
) -> Iterator[Measured]:
    """Every form of RAS over every set; of several random sets the mean."""
    safety, task = (list(zip(getattr(before, side), getattr(after, side), strict=True)) for side in ("safety", "task"))
    flat = {f"{kind} {i}": columns for kind, several in sets.items() for i, columns in enumerate(several)}
    found = ras.deltas(safety, task, flat, draws)
    n = min(len(safety[0][0]), len(task[0][0]))
    for kind, several in sets.items():
        for metric, (form, aggregate) in METRICS.items():
            if kind == "safety" or metric in ON_EVERY_SET:
                own = [found[f"{kind} {i}", form] for i in range(len(several))]
                values = np.mean([each.metric(aggregate) for each in own], axis=0)
                share = float(np.mean([each.kept for each in own]))
                yield {"metric": metric, "neurons": kind, "n": n, **_interval(values), "kept": share}


def baseline_rows(
    before: Snapshot, after: Snapshot, base: ModelView, tuned: ModelView, draws: int = DRAWS
) -> Iterator[Measured]:
    """Forward KL, distance of the weights, and shifts of the activations on the task's texts."""
    totals, tokens = baselines.divergences(before.states, after.states, before.head, after.head, tuned.model.device)
    weights = ras.resamples(len(totals), draws, 1)
    values: dict[str, Values] = {"kl": (weights @ totals) / np.maximum(weights @ tokens, 1e-12)}
    values["weights"] = np.array([baselines.weight_distance(base.model, tuned.model)])
    shifts = baselines.activation_shifts(list(zip(before.task, after.task, strict=True)))
    values |= {"activation_l2": weights @ shifts[0], "activation_cosine": weights @ shifts[1]}
    for metric in BASELINES:
        yield {"metric": metric, "neurons": "", "n": len(totals), **_interval(values[metric]), "kept": math.nan}


def _interval(values: Values) -> dict[str, float]:
    """The first value is the estimate; the others, its resamples, give the 95 % interval around it.

    Resampling adds noise to the means over texts, and a sum of one-sided shifts grows with noise, so the resamples lie above
    the estimate; they are moved back by their mean excess before their quantiles are taken.
    """
    if len(values) < 2:
        return {"estimate": float(values[0]), "ci_low": math.nan, "ci_high": math.nan}
    low, high = np.quantile(values[1:] - values[1:].mean() + values[0], [0.025, 0.975])
    return {"estimate": float(values[0]), "ci_low": max(0.0, float(low)), "ci_high": float(high)}


class Comparison:
    """The model before tuning, read once, with which every checkpoint of a fine-tune is compared."""

    def __init__(
        self, base: ModelView, safety: list[Row], task: list[Row], neurons: pl.DataFrame, tensor: str, batch_size: int
    ) -> None:
        """Read the base.

        Args:
            safety, task: texts that both models read, requests with the base's own replies.
            neurons: the table of sets (rim.core.contracts.NEURONS).
            tensor: what counts as a neuron, "neurons" or "mlp_out".
        """
        self.base, self.texts, self.options = base, (safety, task), (tensor, batch_size)
        self.before = snapshot(base, safety, task, tensor, batch_size)
        sizes = [values.shape[1] for values in self.before.safety]
        self.sets = neuron_sets(neurons, sizes, expert_widths(base, tensor))

    def with_checkpoint(self, tuned: ModelView, name: str) -> Iterator[Measured]:
        """Every metric of a checkpoint, as rows of the table of checkpoints.

        Raises:
            UserError: it is of another architecture.
        """
        baselines.check_architecture(self.base.model, tuned.model, name)
        after = snapshot(tuned, *self.texts, *self.options)
        yield from ras_rows(self.before, after, self.sets)
        yield from baseline_rows(self.before, after, self.base, tuned)
