"""What a checkpoint is measured by: RAS over sets of neurons, and the baselines, all against the model before tuning."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy.optimize import brentq
from scipy.special import stdtr, stdtrit

from rim.analysis import baselines, ras
from rim.analysis.capture import Records, Row, capture
from rim.analysis.metrics import METRICS, Comparison, Distance, Shift, Snapshot, Values
from rim.analysis.neurons import Columns
from rim.core.statistics import CONFIDENCE

if TYPE_CHECKING:
    from rim.models.families import ModelView


DRAWS = 200  # bootstrap resamples of the texts
Measured = dict[str, Any]


def read(view: ModelView, rows: list[Row], neuron_type: str, batch_size: int, unknown: float = 0.0) -> list[Values]:
    """Max-pooled activations per layer, [texts, neurons], experts side by side; `unknown` where an expert had no tokens.

    Args:
        neuron_type: what counts as a neuron, "neurons" or "mlp_out".
    """
    layers = len(view.blocks)
    if neuron_type == "mlp_out":
        records = capture(view, rows, [], batch_size, neurons=False, outputs=True)
        return [records[f"outputs_max.{layer}"].float().numpy() for layer in range(layers)]
    return pooled(capture(view, rows, [], batch_size), layers, unknown)


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


def expert_widths(view: ModelView, neuron_type: str) -> list[int]:
    """Per layer the neurons of one expert, or of the layer where it has none."""
    layers = range(len(view.blocks))
    if neuron_type == "mlp_out":
        return [view.hidden for _ in layers]
    experts = [view.experts(layer) for layer in layers]
    return [
        int(each.down_proj.shape[-1]) if each is not None else int(view.neurons_output(layer).in_features)
        for layer, each in zip(layers, experts, strict=True)
    ]


def snapshot(view: ModelView, safety: list[Row], task: list[Row], neuron_type: str, batch_size: int) -> Snapshot:
    """Read one model."""
    activations, on_task = (read(view, rows, neuron_type, batch_size) for rows in (safety, task))
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
        for metric, how in METRICS.items():
            if isinstance(how, Shift) and (kind == "safety" or how.on_every_set):
                own = [found[f"{kind} {i}", how.form] for i in range(len(several))]
                values = np.mean([each.metric(how.aggregate) for each in own], axis=0)
                least = np.mean([each.least(how.aggregate) for each in own], axis=0)
                share = float(np.mean([each.kept for each in own]))
                yield {"metric": metric, "neurons": kind, "n": n, **_interval(values, n, least), "kept": share}


def baseline_rows(
    before: Snapshot, after: Snapshot, base: ModelView, tuned: ModelView, draws: int = DRAWS
) -> Iterator[Measured]:
    """Distances of a checkpoint from its base: on the task's texts, or of the weights."""
    n = len(before.states)
    one = Comparison(before, after, base, tuned, ras.resamples(n, draws, 1))
    for metric, how in METRICS.items():
        if isinstance(how, Distance):
            yield {"metric": metric, "neurons": "", "n": n, **_interval(how.values(one), n), "kept": math.nan}


def _interval(values: Values, n: int, least: Values | None = None) -> dict[str, float]:
    """The first value is the estimate; the others, its resamples of n texts, give the 95 % interval around it.

    It is Student's t with the resamples' standard deviation. Where the estimate is too high on average, `least` is one that is
    too low, with its resamples, and the interval that of Imbens and Manski (2004, Econometrica 72, 1845-1857) for what lies
    between the two: it reaches from below the lower to above the higher, by less than t where they lie apart, since the truth
    cannot be near both.
    """
    if len(values) < 2 or n < 2:
        return {"estimate": float(values[0]), "ci_low": math.nan, "ci_high": math.nan}
    least = values if least is None else least
    below, above = (float(each[1:].std(ddof=1)) * math.sqrt(n / (n - 1)) for each in (least, values))
    widest = max(below, above)
    apart = float(values[0] - least[0]) / widest if widest else 0.0
    times = brentq(
        lambda c: stdtr(n - 1, c + apart) - stdtr(n - 1, -c) - CONFIDENCE, 0, stdtrit(n - 1, (1 + CONFIDENCE) / 2) + 1
    )
    estimate, low, high = float(values[0]), float(least[0]) - times * below, float(values[0]) + times * above
    return {"estimate": estimate, "ci_low": max(0.0, low), "ci_high": high}


class ReferenceModel:
    """The model before tuning, read once, with which every checkpoint of a fine-tune is compared."""

    def __init__(
        self,
        base: ModelView,
        safety: list[Row],
        task: list[Row],
        neurons: pl.DataFrame,
        neuron_type: str,
        batch_size: int,
    ) -> None:
        """Read the base.

        Args:
            safety, task: texts that both models read, requests with the base's own replies.
            neurons: the table of sets (rim.core.contracts.NEURONS).
            neuron_type: what counts as a neuron, "neurons" or "mlp_out".
        """
        self.base, self.texts, self.options = base, (safety, task), (neuron_type, batch_size)
        self.before = snapshot(base, safety, task, neuron_type, batch_size)
        sizes = [values.shape[1] for values in self.before.safety]
        self.sets = neuron_sets(neurons, sizes, expert_widths(base, neuron_type))

    def with_checkpoint(self, tuned: ModelView, name: str) -> Iterator[Measured]:
        """Every metric of a checkpoint, as rows of the table of checkpoints.

        Raises:
            UserError: it is of another architecture.
        """
        baselines.check_architecture(self.base.model, tuned.model, name)
        after = snapshot(tuned, *self.texts, *self.options)
        yield from ras_rows(self.before, after, self.sets)
        yield from baseline_rows(self.before, after, self.base, tuned)
