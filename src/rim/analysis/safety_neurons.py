"""Safety-critical neurons of a model from pairs of requests, and the sets that they are compared with (section 4.1.1).

A pair is a request and the same request with a malicious intent spelled out; a placebo stands beside it. Neurons that rise
most with the intent, on many pairs, are the set; as many random ones per layer, and as many of like activation, are the
controls.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from rim.analysis import checkpoints, neurons
from rim.analysis.capture import Row
from rim.core import contracts
from rim.core.precision import significant
from rim.core.progress import counter, log
from rim.settings.forgetting import NeuronRule

if TYPE_CHECKING:
    from rim.models.families import ModelView

PAIRS = 32  # whose activations are in memory at a time
Sets = dict[tuple[str, int], neurons.Columns]  # kind and draw -> the columns of each layer


def read_pairs(view: ModelView, pairs: Sequence[Sequence[Row]], rule: NeuronRule, label: str) -> list[neurons.Layer]:
    """What every layer's neurons do on the pairs, each [request, with intent, with placebo]."""
    layers: list[neurons.Layer] = []
    report = counter(label, len(pairs))
    for first in range(0, len(pairs), PAIRS):
        part = pairs[first : first + PAIRS]
        arms = [
            checkpoints.read(view, list(rows), rule.neuron_type, rule.batch_size, math.nan)
            for rows in zip(*part, strict=True)
        ]
        layers = layers or [neurons.Layer(neurons.top_count(rule.top_share, values.shape[1])) for values in arms[0]]
        for layer, values in zip(layers, zip(*arms, strict=True), strict=True):
            layer.add(*values)
        report(first + len(part))
    return layers


def draw_sets(layers: Sequence[neurons.Layer], rule: NeuronRule, seed: int, label: str) -> tuple[Sets, float]:
    """The set that is found with its random and matched controls, and the frequency that its neurons reach.

    There are no sets when fewer neurons are found than the rule wants.
    """
    frequencies = [layer.frequency() for layer in layers]
    threshold = neurons.bounded_threshold(frequencies, rule.frequency, rule.max_share)
    found = neurons.columns_from(frequencies, threshold)
    count = sum(map(len, found))
    if count < rule.min_neurons:
        log(f"{label}: {count} neurons reach {threshold:.2f}, too few to go on with")
        return {}, threshold
    sets: Sets = {("found", 0): found}
    for draw in range(rule.random_sets):
        rng = np.random.default_rng([seed, draw])
        sets["random", draw] = neurons.random_set(found, [len(values) for values in frequencies], rng)
        sets["matched", draw] = neurons.matched_set(found, [layer.magnitude() for layer in layers], rng)
    return sets, threshold


def sets_table(sets: Sets, layers: Sequence[neurons.Layer], widths: Sequence[int]) -> pl.DataFrame:
    """The table of sets: its members by layer, expert and neuron, with what the pairs say about each.

    Args:
        widths: per layer the neurons of one expert, or of the layer where it has none.
    """
    rows = [row for number in range(len(layers)) for row in _members(sets, number, layers[number], widths[number])]
    table = pl.DataFrame(rows, schema=dict(contracts.NEURONS), orient="row").with_columns(significant("magnitude"))
    return table.sort("kind", "draw", "layer", "expert", "neuron", maintain_order=True)


def _members(
    sets: Sets, number: int, layer: neurons.Layer, width: int
) -> Iterator[tuple[str, int, int, int, int, float, float, float]]:
    """The rows of one layer."""
    intent, placebo, magnitude = layer.frequency(), layer.frequency("placebo"), layer.magnitude()
    for (kind, draw), columns in sets.items():
        for column in columns[number]:
            values = (float(intent[column]), float(placebo[column]), float(magnitude[column]))
            yield kind, draw, number, int(column // width), int(column % width), *values
