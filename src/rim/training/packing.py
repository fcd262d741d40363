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
# A token takes twice as long in a pack of so many as in a short one, since PyTorch's attention computes what masks hide; about
# what one run of tests/benchmark_training.py on a CPU says of packs of 900 tokens.
DOUBLED = 2000
PROBED = 8  # tokens of each of the two rows by which a model is tried


@dataclass(frozen=True)
class Batches:
    """The forward passes of a training: what they take in order, how many at once, and how many passes make a step."""

    data: Sequence[Any]  # rows, or whole passes of packs, of all steps
    collate: Callable[[Any], Any]  # makes the tensors of one pass
    size: int  # of `data`, for one pass of one process
    accumulated: int  # passes of one process in a step


def packed(steps: Sequence[Sequence[Row]], limit: int, most: int, processes: int, pad: int) -> Batches:
    """The rows of every step in equally many passes, as few as have room for those of all.

    Args:
        steps: with equally many rows, at least one for each process.
        limit: tokens of a pack, at least those of the longest row.
        most: packs so long that have room in a pass.
        processes: that share a step.
        pad: the token that fills the shorter packs of a pass.
    """
    accumulated = math.ceil(max(map(tokens, steps)) / (limit * most * processes))
    while True:
        passes = [packs(rows, limit) for step in steps for rows in divided(step, accumulated * processes)]
        if all(len(each) * tokens(each[0]) <= limit * most for each in passes):
            return Batches(passes, partial(collate, pad=pad), 1, accumulated)
        accumulated += 1


def tokens(rows: Sequence[Row]) -> int:
    """How many tokens rows have together."""
    return sum(len(row["input_ids"]) for row in rows)


def packs(rows: Sequence[Row], limit: int) -> list[Pack]:
    """The rows of a pass in as many packs as take the least time, the longest first: fewer are padded less, but attend farther."""

    def time(made: list[Pack]) -> float:
        longest = tokens(made[0])
        return len(made) * longest * (1 + longest / DOUBLED)

    tried = [divided(rows, count) for count in range(1, len(rows) + 1)]
    return min((made for made in tried if tokens(made[0]) <= limit), key=time)


def divided(rows: Sequence[Row], count: int) -> list[Pack]:
    """Rows in so many parts of similar length, the longest first: each row, by length, goes to the shortest part so far."""
    parts: list[Pack] = [[] for _ in range(count)]
    lengths = [(0, i) for i in range(count)]
    for row in by_length(rows):
        length, shortest = lengths[0]
        parts[shortest].append(row)
        heapq.heapreplace(lengths, (length + len(row["input_ids"]), shortest))
    return sorted(parts, key=tokens, reverse=True)


def by_length(rows: Sequence[Row]) -> list[Row]:
    """The longest row first, those of equal length in the order in which they came."""
    return sorted(rows, key=lambda row: len(row["input_ids"]), reverse=True)


def collate(passes: Sequence[list[Pack]], pad: int) -> dict[str, Tensor]:
    """The packs of the one pass side by side: input ids, labels and position ids, each [packs, tokens of the longest].

    There is no attention mask, since transformers looks at position ids only without one; padding is one more row. No row's
    first token is learned, since it would be told by another row.
    """
    import torch

    [side_by_side] = passes
    longest = max(map(tokens, side_by_side))
    made: dict[str, list[list[int]]] = {"input_ids": [], "labels": [], "position_ids": []}
    for pack in side_by_side:
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
        batch = collate([[[{"input_ids": first, "labels": first}] * 2]], pad=0)
        given = {name: batch[name].to(model.device) for name in ("input_ids", "position_ids")}
        logits = model(**given, use_cache=False).logits
        logits[0, len(first) :].float().sum().backward()
    finally:
        hook.remove()
        model.zero_grad()
    before, own = read[0].grad[0].split(len(first))  # type: ignore[index]
    return bool(own.any()) and not before.any()
