"""Find the safety-critical neurons of one model before fine-tuning, and draw the sets that they are compared with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rim.analysis import checkpoints as analysis_checkpoints
from rim.analysis import neurons, texts
from rim.core import contracts, tables
from rim.core.errors import UserError
from rim.core.progress import counter, log
from rim.core.receipts import verified
from rim.models import loading
from rim.settings.forgetting import Forgetting


def run(
    settings: dict[str, Any], responses: Path, dataset: Path, checkpoints: list[Path], output: Path, curve: Path
) -> None:
    """`responses`, `dataset` and `checkpoints` are receipts."""
    wanted = Forgetting(**settings["forgetting"])
    asked = tables.read(verified(responses), contracts.RESPONSE)
    requests = tables.read(verified(dataset), contracts.DATASET)
    replies = texts.nonempty_replies(texts.base_replies(asked, wanted.harmful, wanted.think, requests)).filter(
        pl.col("split") == "calibration"
    )
    if replies.height < wanted.pairs:
        raise UserError(
            f"benchmark '{wanted.harmful}': asks {replies.height} requests of the calibration split, and neurons are found "
            f"from at least {wanted.pairs}; ask more rows, or lower forgetting.pairs"
        )
    anatomy, tokenizer = loading.open_model(settings, checkpoints)
    pairs = texts.counterfactual_texts(tokenizer, replies, wanted.think, settings["think"], wanted.pool)
    layers: list[neurons.Layer] = []
    report = counter(f"find_safety_neurons {settings['label']}", len(pairs))
    for first in range(0, len(pairs), wanted.batch_size):
        part = pairs[first : first + wanted.batch_size]
        arms = [
            analysis_checkpoints.read(anatomy, list(rows), wanted.tensor, wanted.batch_size, math.nan)
            for rows in zip(*part, strict=True)
        ]
        layers = layers or [neurons.Layer(neurons.top_count(wanted.top, values.shape[1])) for values in arms[0]]
        for layer, values in zip(layers, zip(*arms, strict=True), strict=True):
            layer.add(*values)
        report(first + len(part))
    frequencies = [layer.frequency() for layer in layers]
    threshold = neurons.bounded_threshold(frequencies, wanted.frequency, wanted.most)
    found = neurons.columns_from(frequencies, threshold)
    count = sum(map(len, found))
    sets = {("found", 0): found}
    if count < wanted.fewest:
        log(f"find_safety_neurons {settings['label']}: {count} neurons reach {threshold:.2f}, too few to go on with")
        sets = {}
    for i in range(wanted.random_sets if sets else 0):
        rng = np.random.default_rng([settings["seed"], i])
        sets["random", i] = neurons.random_set(found, [len(values) for values in frequencies], rng)
        sets["matched", i] = neurons.matched_set(found, [layer.magnitude() for layer in layers], rng)
    tables.write(
        table(sets, layers, analysis_checkpoints.expert_widths(anatomy, wanted.tensor)), contracts.NEURONS, output
    )
    rows = list(neurons.curve(layers, threshold))
    tables.write(pl.DataFrame(rows, schema=dict(contracts.CURVE)), contracts.CURVE, curve)


def table(sets: dict[tuple[str, int], neurons.Columns], layers: list[neurons.Layer], widths: list[int]) -> pl.DataFrame:
    """The table of sets, (kind, draw) -> columns of each layer: its members by layer, expert and neuron, with what the pairs say about each."""
    rows = []
    for number, (layer, width) in enumerate(zip(layers, widths, strict=True)):
        intent, placebo, magnitude = layer.frequency(), layer.frequency("placebo"), layer.magnitude()
        for name, columns in sets.items():
            for column in columns[number]:
                place = (number, int(column // width), int(column % width))
                rows.append((*name, *place, float(intent[column]), float(placebo[column]), float(magnitude[column])))
    made = pl.DataFrame(rows, schema=dict(contracts.NEURONS), orient="row")
    return made.sort("kind", "draw", "layer", "expert", "neuron", maintain_order=True)
