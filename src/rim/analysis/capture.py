"""Read everything the analyses need in one forward pass per batch, pooled where it is born.

For each row (one prompt, or a prompt with what followed it) and each layer:

    residual        [positions, hidden]    the block's output at named positions, mean over the position's tokens
    neurons_max     [intermediate]         inputs of the down projection, pooled over the row's tokens (section 4.1.1)
    neurons_mean    [intermediate]         (MoE: [experts, intermediate], over the tokens routed to each expert)
    neurons_routed  [experts]              MoE only: how many tokens that were
    outputs_max     [hidden]               what the MLP adds to the residual stream, pooled over the row's tokens; on demand
    heads_mean      [heads * head_dim]     inputs of the attention's output projection, mean over the row's tokens
    attention_argmax [heads]               where the query row's largest weight lies, the first token left out
    attention_mass  [heads, positions]     the query row's weight on each named position

Rows are padded on the right to a whole multiple of WIDTH and run without the unembedding, beside others of that length; causal
attention never sees the padding, so no mask is needed. Sums are accumulated in float32 and stored in the model's type. What
is read of a row does not depend on how many are read at a time: its own length is that of its batch, matrices have at least
WIDTH rows, on which kernels round alike, and experts get theirs one after the other, filled up in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rim.analysis.attention import attending_through, reading_rows
from rim.core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from rim.models.families import ModelView


WIDTH = 32  # tokens
Records = dict[str, "Tensor"]  # "{record}.{layer}" -> one entry per row


@dataclass(frozen=True)
class Row:
    """What to read of one text: `spans` are named positions [start, end), `pool` the tokens to pool, `query` a token."""

    id: str
    ids: list[int]
    spans: dict[str, tuple[int, int]]
    pool: tuple[int, int]
    query: int


def batches(rows: Sequence[Row], batch_size: int) -> Iterator[tuple[list[int], int]]:
    """Which rows are run together, by length and at most `batch_size` at a time, and the tokens to which each is padded."""
    lengths: dict[int, list[int]] = {}
    for i in sorted(range(len(rows)), key=lambda i: (len(rows[i].ids), i)):
        lengths.setdefault(-(-len(rows[i].ids) // WIDTH) * WIDTH, []).append(i)
    for length, alike in lengths.items():
        for first in range(0, len(alike), batch_size):
            yield alike[first : first + batch_size], length


def padded(rows: Sequence[Row], length: int, view: ModelView) -> Tensor:
    """Token ids of a batch on the model's device, [rows, length]."""
    import torch

    return torch.tensor([row.ids + [0] * (length - len(row.ids)) for row in rows], device=view.model.device)


class Reader:
    """Collects the records of a shard while its batches run."""

    def __init__(self, view: ModelView, positions: Sequence[str], count: int) -> None:
        self.view, self.positions, self.count = view, list(positions), count
        self.records: Records = {}

    def start(self, index: list[int], rows: list[Row], length: int) -> None:
        """Prepare for a batch: which rows of the shard it holds, and where to look."""
        import torch

        device, dtype = self.view.model.device, self.view.model.dtype
        self.index, self.batch, self.length = torch.tensor(index), rows, length
        self.query = torch.tensor([row.query for row in rows], device=device)
        self.pools = [slice(*row.pool) for row in rows]
        marks = np.zeros((len(rows), len(self.positions) + 1, length), np.float32)
        for i, row in enumerate(rows):
            for j, name in enumerate(self.positions):
                if name in row.spans:
                    marks[i, j, slice(*row.spans[name])] = 1
            marks[i, -1, self.pools[i]] = 1
        sizes = marks.sum(-1, keepdims=True).clip(min=1)
        self.marks = torch.from_numpy(marks).to(device, dtype)  # [rows, positions and pool, tokens]
        self.sizes = torch.from_numpy(sizes).to(device)

    def put(self, record: str, layer: int, values: Tensor) -> None:
        """Store the batch's values of one record."""
        import torch

        name = f"{record}.{layer}"
        if name not in self.records:
            kind = values.dtype if not values.is_floating_point() else self.view.model.dtype
            self.records[name] = torch.zeros(self.count, *values.shape[1:], dtype=kind)
        self.records[name][self.index] = values.to(device="cpu", dtype=self.records[name].dtype)

    def residual(self, layer: int, hidden: Tensor) -> None:
        """`hidden` is [rows, tokens, hidden]; the product sums each position's tokens."""
        marks, sizes = self.marks.to(hidden.device), self.sizes.to(hidden.device)
        self.put("residual", layer, (marks[:, :-1] @ hidden).float() / sizes[:, :-1])

    def attention(self, layer: int, weights: Tensor) -> None:
        """`weights` is [rows, heads, tokens]."""
        self.put("attention_argmax", layer, (weights[..., 1:].argmax(-1) + 1).int())
        marks = self.marks.to(weights.device)
        self.put("attention_mass", layer, weights @ marks[:, :-1].float().transpose(1, 2))

    def heads(self, layer: int, inputs: Tensor) -> None:
        self.put("heads_mean", layer, self._mean(inputs))

    def neurons(self, layer: int, inputs: Tensor) -> None:
        """`inputs` is [rows, tokens, intermediate]; slices, since a masked copy would cost five times the memory."""
        import torch

        most = [values[pool].amax(0) for values, pool in zip(inputs, self.pools, strict=True)]
        self.put("neurons_max", layer, torch.stack(most))
        self.put("neurons_mean", layer, self._mean(inputs))

    def outputs(self, layer: int, outputs: Tensor) -> None:
        """`outputs` is [rows, tokens, hidden]."""
        import torch

        self.put(
            "outputs_max", layer, torch.stack([v[pool].amax(0) for v, pool in zip(outputs, self.pools, strict=True)])
        )

    def _mean(self, values: Tensor) -> Tensor:
        """Each row's mean over its own tokens."""
        marks, sizes = self.marks.to(values.device), self.sizes.to(values.device)
        return (marks[:, -1:] @ values).squeeze(1).float() / sizes[:, -1]

    def routed(self, layer: int, expert: int, experts: int, tokens: Tensor, inputs: Tensor) -> None:
        """One expert's neurons; `tokens` index the flattened batch, `inputs` is [len(tokens), intermediate]."""
        import torch

        size = len(self.batch)
        if expert == 0:  # experts come in order
            shape = (size, experts, inputs.shape[-1])
            self.most, self.sum = torch.zeros(shape, device=inputs.device), torch.zeros(shape, device=inputs.device)
            self.hits = torch.zeros(size, experts, dtype=torch.int32, device=inputs.device)
            pools = torch.tensor([row.pool for row in self.batch], device=inputs.device)
            at = torch.arange(self.length, device=inputs.device)
            self.pooled = ((at >= pools[:, :1]) & (at < pools[:, 1:])).flatten()
        keep = self.pooled[tokens]
        rows, values = tokens[keep] // self.length, inputs[keep].float()
        self.most[:, expert].scatter_reduce_(0, rows[:, None].expand_as(values), values, "amax", include_self=False)
        self.sum[:, expert].index_add_(0, rows, values)
        self.hits[:, expert].index_add_(0, rows, torch.ones_like(rows, dtype=torch.int32))
        if expert == experts - 1:
            self.put("neurons_max", layer, self.most)
            self.put("neurons_mean", layer, self.sum / self.hits.clamp(min=1)[..., None])
            self.put("neurons_routed", layer, self.hits)


@contextmanager
def _reading(view: ModelView, reader: Reader, neurons: bool, outputs: bool) -> Iterator[None]:
    """Attach the reader to every place it reads, and take all of it off again."""
    with ExitStack() as stack:
        for layer, block in enumerate(view.blocks):

            def block_hook(module: Any, inputs: Any, output: Any, layer: int = layer) -> None:
                reader.residual(layer, output[0] if isinstance(output, tuple) else output)

            def heads_hook(module: Any, inputs: Any, layer: int = layer) -> None:
                reader.heads(layer, inputs[0])

            def neurons_hook(module: Any, inputs: Any, layer: int = layer) -> None:
                reader.neurons(layer, inputs[0])

            handles = [block.register_forward_hook(block_hook)]
            handles.append(view.heads_output(layer).register_forward_pre_hook(heads_hook))
            if neurons and view.experts(layer) is None:
                handles.append(view.neurons_output(layer).register_forward_pre_hook(neurons_hook))
            if outputs:

                def outputs_hook(module: Any, inputs: Any, output: Any, layer: int = layer) -> None:
                    reader.outputs(layer, output[0] if isinstance(output, tuple) else output)

                handles.append(view.mlp(layer).register_forward_hook(outputs_hook))
            for handle in handles:
                stack.callback(handle.remove)
        stack.enter_context(attending_through(view, reading_rows(lambda: reader.query, reader.attention)))
        stack.enter_context(experts_in_turn(view, reader if neurons else None))
        yield


@contextmanager
def experts_in_turn(view: ModelView, reader: Reader | None = None) -> Iterator[None]:
    """Run fused experts one after the other, each on whole multiples of WIDTH tokens, through the same registry by which
    transformers chooses between its own implementations, so that what one gives does not depend on the rest of its batch.

    Args:
        reader: collects their neurons, since they are no modules.
    """
    layers = {id(view.experts(layer)): layer for layer in range(len(view.blocks)) if view.experts(layer)}
    if not layers:
        yield
        return
    import torch
    from torch.nn.functional import linear, pad
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    def run_experts(module: Any, hidden: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        output = torch.zeros_like(hidden)
        for expert in range(module.num_experts):
            tokens, slots = torch.where(chosen == expert)
            count = len(tokens)
            inputs = module._apply_gate(
                linear(pad(hidden[tokens], (0, 0, 0, -count % WIDTH)), module.gate_up_proj[expert])
            )
            if reader is not None:
                reader.routed(layers[id(module)], expert, module.num_experts, tokens, inputs[:count])
            outputs = linear(inputs, module.down_proj[expert])[:count] * weights[tokens, slots, None]
            output.index_add_(0, tokens, outputs.to(output.dtype))
        return output

    ALL_EXPERTS_FUNCTIONS.register("rim_pooled", run_experts)
    before = view.model.config._experts_implementation
    view.model.set_experts_implementation("rim_pooled")
    try:
        yield
    finally:
        view.model.set_experts_implementation(before)


def capture(
    view: ModelView,
    rows: list[Row],
    positions: Sequence[str],
    batch_size: int,
    neurons: bool = True,
    outputs: bool = False,
) -> Records:
    """All records of these rows, in the order of the rows. Peak memory is that of one batch and the records.

    Args:
        neurons: False leaves out the neurons, which take most of the room in a large mixture of experts.
        outputs: True reads what the MLPs add to the residual stream too.

    Raises:
        UserError: an activation is not a number.
    """
    import torch

    reader = Reader(view, positions, len(rows))
    with torch.inference_mode(), _reading(view, reader, neurons, outputs):
        for index, length in batches(rows, batch_size):
            batch = [rows[i] for i in index]
            reader.start(index, batch, length)
            view.backbone(input_ids=padded(batch, length, view), use_cache=False)
    _check(reader.records, rows, len(view.blocks))
    return reader.records


def _check(records: Records, rows: list[Row], layers: int) -> None:
    missing = [layer for layer in range(layers) if f"attention_argmax.{layer}" not in records]
    if missing:
        raise UserError(
            f"layer {missing[0]}: its attention implementation gave no attention weights; load the model with "
            "attn_implementation='sdpa'"
        )
    for layer in range(layers):
        for record in ("residual", "neurons_max", "outputs_max", "attention_mass"):
            if f"{record}.{layer}" not in records:
                continue  # was not asked for
            finite = records[f"{record}.{layer}"].flatten(1).isfinite().all(1)
            if not finite.all():
                row = rows[int((~finite).nonzero()[0])]
                raise UserError(
                    f"prompt '{row.id}': {record} of layer {layer} is not a finite number; the checkpoint is broken or "
                    "its type is too narrow: set the model's dtype to float32 and run again"
                )
