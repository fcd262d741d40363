"""Ablations as weight edits: zeroing a head is zeroing the columns of the output projection that it feeds.

The edited model is an ordinary model, so it runs at full speed on every backend that generates from these weights, and
no hook is needed. Edits are taken back bitwise. Replacing a head by its mean output adds W_h mean_h, a constant, to the
projection's bias. Edit merged weights only: with an adapter attached, zeroing columns of the base weight
leaves the adapter's part of the head in place (`ModelView.heads_output` refuses that).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl

from rim.analysis.cache import Cache
from rim.analysis.capture import Row, capture
from rim.analysis.heads import matched_sets
from rim.analysis.probes import GROUPS, Direction, score_rows
from rim.core.conditions import Condition
from rim.core.contracts import ABLATED_HEADS
from rim.models.families import Editable, Head, Neuron
from rim.models.positions import PLACES

if TYPE_CHECKING:
    from torch import Tensor, nn

    from rim.models.families import ModelView


@contextmanager
def zeroed_columns(weight: Tensor, columns: slice | list[int]) -> Iterator[None]:
    """Zero columns of a matrix [outputs, inputs], which may be a view such as one expert's; restored bitwise."""
    import torch

    before = weight[:, columns].detach().clone()
    with torch.no_grad():
        weight[:, columns] = 0
    try:
        yield
    finally:
        with torch.no_grad():
            weight[:, columns] = before


@contextmanager
def added_bias(module: nn.Linear, constant: Tensor) -> Iterator[None]:
    """Add a constant [outputs] to what a linear layer gives."""
    import torch

    before = module.bias
    total = constant if before is None else before.detach() + constant
    module.bias = torch.nn.Parameter(total.to(module.weight.dtype), requires_grad=False)
    try:
        yield
    finally:
        module.bias = before


@contextmanager
def ablated_heads(view: Editable, heads: Iterable[Head], means: Mapping[int, Any] | None = None) -> Iterator[None]:
    """Ablate heads while open.

    Args:
        heads: (layer, head) pairs.
        means: per layer the mean input of its output projection [heads * head_dim]; None ablates to zero.
    """
    import torch

    with ExitStack() as stack:
        for layer, head in sorted(set(heads)):
            module, columns = view.heads_output(layer), view.columns(head)
            if means is not None:
                mean = torch.as_tensor(means[layer])[columns].to(module.weight.device, torch.float32)
                stack.enter_context(added_bias(module, module.weight[:, columns].detach().float() @ mean))
            stack.enter_context(zeroed_columns(module.weight, columns))
        yield


@contextmanager
def ablated_neurons(view: Editable, neurons: Iterable[Neuron]) -> Iterator[None]:
    """Zero neurons while open: the columns of the down projection, or of that expert's, which they feed."""
    places: dict[tuple[int, int], list[int]] = {}
    for layer, expert, neuron in sorted(set(neurons)):
        places.setdefault((layer, expert), []).append(neuron)
    with ExitStack() as stack:
        for (layer, expert), columns in places.items():
            stack.enter_context(zeroed_columns(view.down_projection(layer, expert), columns))
        yield


@contextmanager
def ablated_outputs(view: Editable, dimensions: Iterable[Neuron]) -> Iterator[None]:
    """Zero dimensions of what MLPs add to the residual stream while open: rows of the down projection, of every expert's."""
    places: dict[int, list[int]] = {}
    for layer, _, dimension in sorted(set(dimensions)):
        places.setdefault(layer, []).append(dimension)
    with ExitStack() as stack:
        for layer, rows in places.items():
            for expert in range(view.expert_count(layer)):
                stack.enter_context(zeroed_columns(view.down_projection(layer, expert).transpose(0, 1), rows))
        yield


Plan = list[tuple[Condition, list[Head]]]


def plan(
    heads: pl.DataFrame, effects: pl.DataFrame, targets: Sequence[str], replacements: Sequence[str], random_sets: int
) -> Plan:
    """What to ablate: each chosen set of heads and its matched random sets, with each replacement. An empty set is left out.

    Args:
        heads: the heads table; its `found` heads are the set "refusal_heads".
        effects: the effects table; the set "effect_heads" has as many heads (at least one), those whose zeroing lowers
            the refusal logit on harmful requests most.
    """
    layers, count = int(heads["layer"].max()) + 1, int(heads["head"].max()) + 1  # type: ignore[arg-type]
    refusal = [(layer, head) for layer, head in heads.filter("found").select("layer", "head").iter_rows()]
    ranked = effects.filter(pl.col("group") == "harmful").sort("estimate", descending=True, maintain_order=True)
    strongest = ranked.head(max(1, len(refusal))).select("layer", "head")
    chosen = {"refusal_heads": refusal, "effect_heads": sorted((layer, head) for layer, head in strongest.iter_rows())}
    made: Plan = []
    for target in targets:
        random = matched_sets(chosen[target], layers, count, random_sets)
        sets = [("found", 0, chosen[target]), *(("random", draw, drawn) for draw, drawn in enumerate(random))]
        for replacement in replacements:
            made += [(Condition(replacement, target, kind, draw), drawn) for kind, draw, drawn in sets if drawn]
    return made


def heads_table(planned: Plan) -> pl.DataFrame:
    """The sets of heads of a plan, each once, whatever takes their place."""
    rows = [(each.target, each.kind, each.draw, *head) for each, heads in planned for head in heads]
    return pl.DataFrame(list(dict.fromkeys(rows)), schema=dict(ABLATED_HEADS), orient="row")


def mean_inputs(cache: Cache, groups: pl.DataFrame) -> dict[int, Any]:
    """Per layer the mean input of the attention's output projection over calibration texts, [heads * head_dim]."""
    calibration = set(groups.filter(pl.col("split") == "calibration")["key"])
    rows = [row for row, name in enumerate(cache.rows) if name in calibration]
    return {layer: cache.read("heads_mean", layer)[rows].mean(0) for layer in range(cache.layers)}


def probe_scores(
    view: ModelView,
    condition: Condition,
    rows: list[Row],
    groups: pl.DataFrame,
    directions: Mapping[str, Any],
    batch_size: int,
) -> list[dict[str, Any]]:
    """The published figure 5: the probe scores of an ablated model under the directions of the model as it is.

    Args:
        rows: texts, all of one think mode and split, with their `groups`.
        directions: "{think}.{position}.{layer}" -> [hidden + 1], the last entry being tau.
    """
    import numpy as np

    known = {name: (think, group) for name, think, group in groups.select("key", "think", "group").iter_rows()}
    positions = [name for name in PLACES if any(name in row.spans for row in rows)]
    records = capture(view, rows, positions, batch_size, neurons=False)
    scored = []
    for layer in range(len(view.blocks)):
        residual = records[f"residual.{layer}"].float().numpy()
        for place, position in enumerate(positions):
            cell = {"think": known[rows[0].id][0], "position": position, "layer": layer}
            vector = directions.get(f"{cell['think']}.{position}.{layer}")
            if vector is None:
                continue
            tests = {
                group: residual[[i for i, row in enumerate(rows) if known[row.id][1] == group], place]
                for group in GROUPS
            }
            scored += score_rows(condition, cell, Direction(np.asarray(vector[:-1]), float(vector[-1])), tests)
    return scored
