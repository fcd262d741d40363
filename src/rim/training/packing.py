"""How the rows of an optimizer step are put into forward passes, so that few of the tokens computed are padding.

The loss and its gradient are sums over the labelled tokens of a step, divided by their number, so what is learned does not
depend, but for rounding, on which rows pass the model together (of models that draw at random while they train, as Seed-OSS
and Phi-3.5-MoE do, the draws differ). Rows are packed: several lie one after the other in what the model takes for one row, and
their position ids start again at each, from which transformers' masks tell them apart. Where a model mixes them nevertheless,
as those with recurrent or convolution layers do, rows of similar length are padded together.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


Row = dict[str, list[int]]  # input_ids and labels, of equal length
Pack = list[Row]
IGNORE = -100  # the label of a token that is not learned
PROBED = 8  # tokens of each of the two rows by which a model is tried


@dataclass(frozen=True)
class Batches:
    """The forward passes of a training: what they take in order, how many at once, and how many passes make a step."""

    data: Sequence[Any]  # rows, or packs of them, of all steps
    collate: Callable[[Any], Any]  # makes the tensors of one pass
    size: int  # of `data`, for one pass of one process
    accumulated: int  # passes of one process in a step


def packed(steps: Sequence[Sequence[Row]], limit: int, most: int, processes: int, pad: int) -> Batches:
    """The rows of every step in as many packs as those of the fullest need.

    Args:
        limit: tokens of a pack, at least those of the longest row.
        most: packs in one forward pass of one process.
        processes: that share a step.
        pad: the token that fills the shorter packs of a pass.
    """
    count = 1
    for step in steps:
        while tokens(divided(step, count)[0]) > limit:  # more packs are never longer, so those before still fit
            count += 1
    passes = math.ceil(count / (most * processes))
    size = math.ceil(count / (passes * processes))
    packs = [pack for step in steps for pack in divided(step, size * passes * processes)]
    return Batches(packs, partial(collate, pad=pad), size, passes)


def tokens(pack: Pack) -> int:
    """How many tokens the rows of a pack have together."""
    return sum(len(row["input_ids"]) for row in pack)


def divided(rows: Sequence[Row], count: int) -> list[Pack]:
    """Rows in so many packs of similar length, the longest first: each row, by length, goes to the shortest pack so far."""
    packs: list[Pack] = [[] for _ in range(count)]
    lengths = [(0, i) for i in range(count)]
    for row in by_length(rows):
        length, shortest = lengths[0]
        packs[shortest].append(row)
        heapq.heapreplace(lengths, (length + len(row["input_ids"]), shortest))
    return sorted(packs, key=tokens, reverse=True)


def by_length(rows: Sequence[Row]) -> list[Row]:
    """The longest row first, those of equal length in the order in which they came."""
    return sorted(rows, key=lambda row: len(row["input_ids"]), reverse=True)


def collate(packs: Sequence[Pack], pad: int) -> dict[str, Tensor]:
    """The packs of one pass side by side: input ids, labels and position ids, each [packs, tokens of the longest].

    There is no attention mask, since transformers looks at position ids only without one; padding is one more row. No row's
    first token is learned, since it would be told by another row.
    """
    import torch

    longest = max(1, *map(tokens, packs))
    made: dict[str, list[list[int]]] = {"input_ids": [], "labels": [], "position_ids": []}
    for pack in packs:
        blank = longest - tokens(pack)
        rows = [*pack, {"input_ids": [pad] * blank, "labels": [IGNORE] * blank}]
        made["input_ids"].append([token for row in rows for token in row["input_ids"]])
        made["labels"].append([IGNORE if at == 0 else label for row in rows for at, label in enumerate(row["labels"])])
        made["position_ids"].append([at for row in rows for at in range(len(row["input_ids"]))])
    return {name: torch.tensor(values) for name, values in made.items()}


def keeps_rows_apart(model: Any, ids: Sequence[int]) -> bool:
    """Whether no token of a packed row depends on the row before it: the gradient there is zero, which is exact in any type.

    Args:
        model: as `from_pretrained` or peft gives it; of several processes, all ask.
        ids: tokens to try it with.
    """
    first = list(ids[:PROBED])
    read: list[Tensor] = []

    def as_leaf(module: Any, inputs: Any, embedded: Tensor) -> Tensor:
        read.append(embedded.detach().requires_grad_())
        return read[-1]

    hook = model.get_input_embeddings().register_forward_hook(as_leaf)
    try:
        batch = collate([[{"input_ids": first, "labels": first}] * 2], pad=0)
        given = {name: batch[name].to(model.device) for name in ("input_ids", "position_ids")}
        logits = model(**given, use_cache=False).logits
        logits[0, len(first) :].float().sum().backward()
    finally:
        hook.remove()
        model.zero_grad()
    before, own = read[0].grad[0].split(len(first))  # type: ignore[index]
    return bool(own.any()) and not before.any()
