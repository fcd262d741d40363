"""The exact effect of every single head on refusal, without one full forward pass per head.

The effect of a head is how much the next token's refusal logit difference falls when the head is zeroed. Zeroing head h of
layer l changes nothing below l's attention, so one full pass is kept and only what follows is run again: the rest of block
l, with W_h z_h taken off its attention's output, and the blocks above. The blocks themselves are run, not a copy of
their arithmetic, so any family's norms and experts are in it. Of the last block only the last token matters: its attention
asks one query, and the rest of it sees one token. First-order attribution would be cheaper still. On trained
organisms its sign is often wrong for a single head, so it does not stand for an effect here; it ranks heads that are known to refuse
no worse than exact effects do (workflow/docs/ground-truth.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rim.analysis.attention import attending_through
from rim.core import statistics
from rim.core.contracts import EFFECT_SKEWNESS, EFFECTS, Contract
from rim.core.precision import decimals
from rim.core.progress import counter
from rim.models import control

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from rim.models.families import ModelView


MEASURED = Contract(**{**EFFECTS.columns, **EFFECT_SKEWNESS.columns})
TOKENS = 2048  # of one pass, of which all blocks' inputs, heads and outputs are kept


def discriminative_first_tokens(refused: Sequence[int], fulfilled: Sequence[int]) -> tuple[int, int] | None:
    """The first token typical of refusals and that typical of other replies, or None when nothing tells them apart."""
    if not refused or not fulfilled:
        return None
    share: dict[int, float] = {}
    for tokens, sign in ((refused, 1), (fulfilled, -1)):
        for token, count in Counter(tokens).items():
            share[token] = share.get(token, 0) + sign * count / len(tokens)
    order = sorted(share, key=lambda token: (-share[token], token))
    return (order[0], order[-1]) if share[order[0]] > 0 > share[order[-1]] else None


class _StopAtLastAttention(Exception):
    """Ends a block as soon as its attention has answered the last query, and carries the answer."""

    def __init__(self, heads: Tensor) -> None:
        self.heads = heads  # [texts, 1, heads * head_dim]


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, ask_last: bool = False, **options: Any
) -> Any:
    """The usual kernel; a block called with `ask_last=True` hands that on to here and is ended by the answer."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if not ask_last:
        return sdpa_attention_forward(module, query, key, value, mask, **options)
    last = None if mask is None else mask[:, :, -1:]
    raise _StopAtLastAttention(
        sdpa_attention_forward(module, query[:, :, -1:], key, value, last, **options)[0].flatten(2)
    )


@contextmanager
def _attention_is(module: Any, forward: Any) -> Iterator[None]:
    """Let an attention module do something else; an instance attribute hides the class's method, or that of accelerate."""
    own = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own


class Replay:
    """The kept parts of one full pass over a batch of equally long texts."""

    def __init__(self, view: ModelView, ids: Tensor) -> None:
        """Run the model on ids [texts, tokens] and keep what replaying needs."""
        self.view, self.last = view, len(view.blocks) - 1
        self.inputs: list[Any] = []  # of each block: [texts, tokens, hidden]
        self.options: list[dict[str, Any]] = []  # masks and rotations, as the model hands them to its blocks
        self.heads: list[Any] = []  # of each layer: [texts, tokens, heads * head_dim]
        self.outputs: list[Any] = []  # of each attention's projection: [texts, tokens, hidden]

        def keep_block(module: Any, inputs: Any, options: Any) -> None:
            self.inputs.append(inputs[0])
            self.options.append(options)

        def keep_heads(module: Any, inputs: Any, output: Any) -> None:
            self.heads.append(inputs[0])
            self.outputs.append(output)

        handles = [block.register_forward_pre_hook(keep_block, with_kwargs=True) for block in view.blocks]
        handles += [view.heads_output(i).register_forward_hook(keep_heads) for i in range(len(view.blocks))]
        try:
            self.final = view.backbone(input_ids=ids, use_cache=False).last_hidden_state[:, -1]
        finally:
            for handle in handles:
                handle.remove()

    def logits(self, final: Tensor) -> Tensor:
        return self.view.model.get_output_embeddings()(final)  # type: ignore[no-any-return]

    def without(self, layer: int, head: int) -> Tensor:
        """The normalized state of the last token [texts, hidden] after zeroing one head at every token."""
        projection, columns = self.view.heads_output(layer), self.view.columns(head)
        tokens = slice(-1, None) if layer == self.last else slice(None)
        part = self.heads[layer][:, tokens, columns] @ projection.weight[:, columns].T
        hidden = self._rest(layer, self.inputs[layer][:, tokens], self.outputs[layer][:, tokens] - part)
        for above in range(layer + 1, self.last):
            hidden = self.view.blocks[above](hidden, **self.options[above])
        if layer < self.last:
            hidden = self._rest(self.last, hidden[:, -1:], self._last_attention(hidden))
        return self.view.backbone.norm(hidden[:, -1])  # type: ignore[no-any-return]

    def _rest(self, layer: int, hidden: Tensor, attended: Tensor) -> Tensor:
        """A block from its attention's output on."""
        with _attention_is(self.view.attention(layer), lambda *args, **options: (attended, None)):
            return self.view.blocks[layer](hidden, **self.options[layer])  # type: ignore[no-any-return]

    def _last_attention(self, hidden: Tensor) -> Tensor:
        """The last block's attention output at the last token, [texts, 1, hidden]."""
        try:
            self.view.blocks[self.last](hidden, **self.options[self.last], ask_last=True)
        except _StopAtLastAttention as answer:
            return self.view.heads_output(self.last)(answer.heads)  # type: ignore[no-any-return]
        raise AssertionError("the last block ran without attention")


def head_effects(view: ModelView, prompts: list[list[int]], tokens: tuple[int, int], label: str) -> NDArray[np.float64]:
    """How much zeroing each head lowers logit(refusal) - logit(other) after each prompt: [prompts, layers, heads].

    Prompts are batched with others of their own length, so that nothing is padded, TOKENS at a time.
    """
    import torch

    shape = (len(prompts), len(view.blocks), view.heads)
    effects = np.zeros(shape)
    lengths: dict[int, list[int]] = {}
    for i, ids in enumerate(prompts):
        lengths.setdefault(len(ids), []).append(i)
    sizes = {length: max(1, TOKENS // length) for length in lengths}
    batches = [
        group[i : i + sizes[length]] for length, group in lengths.items() for i in range(0, len(group), sizes[length])
    ]
    report = counter(label, len(batches))

    def difference(replay: Replay, final: Tensor) -> NDArray[np.float64]:
        logits = replay.logits(final).double()
        return np.asarray((logits[:, tokens[0]] - logits[:, tokens[1]]).cpu().numpy())

    with torch.inference_mode(), attending_through(view, _attend):
        for done, batch in enumerate(batches, 1):
            replay = Replay(view, torch.tensor([prompts[i] for i in batch], device=view.model.device))
            whole = difference(replay, replay.final)
            for layer in range(shape[1]):
                for head in range(shape[2]):
                    effects[batch, layer, head] = whole - difference(replay, replay.without(layer, head))
            report(done)
    return effects


def effects_table(
    view: ModelView,
    tokenizer: PreTrainedTokenizerBase,
    responses: pl.DataFrame,
    groups: pl.DataFrame,
    prompts: int,
    label: str,
) -> pl.DataFrame:
    """Mean effect of every head, thinking off, over calibration requests of each kind, and how skewed its effects are.

    The requests are the first by their id, a hash, since files are often in the order of their categories.
    It is empty when refusals and other replies do not differ in their first token, so that there is nothing to measure.
    """
    off = groups.filter((pl.col("think") == "off") & (pl.col("split") == "calibration"))
    replies = off.join(responses, on=["benchmark", "id", "think"], how="left", maintain_order="left")

    def first_tokens(among: pl.DataFrame) -> list[int]:
        texts = among.filter(pl.col("complete") & (pl.col("response") != ""))["response"].to_list()
        return [control.encode(tokenizer, text)[0] for text in texts]

    refused = pl.col("group") == "refused"
    tokens = discriminative_first_tokens(first_tokens(replies.filter(refused)), first_tokens(replies.filter(~refused)))
    rows: list[dict[str, Any]] = []
    for kind, asked in (("harmful", pl.col("group") != "harmless"), ("harmless", pl.col("group") == "harmless")):
        texts = replies.filter(asked).sort("benchmark", "id")["prompt"].head(prompts).to_list()
        if tokens is None or not texts:
            continue
        ids = [control.encode(tokenizer, text) for text in texts]
        effects = head_effects(view, ids, tokens, f"{label} {kind}")
        for layer, head in np.ndindex(effects.shape[1:]):
            values = effects[:, layer, head]
            value, low, high, _ = statistics.mean_interval(values)
            row = {"layer": layer, "head": head, "group": kind, "n": len(ids), "skewness": statistics.skewness(values)}
            rows.append({**row, "estimate": value, "ci_low": low, "ci_high": high})
    numbers = decimals("estimate", "ci_low", "ci_high", "skewness")
    return pl.DataFrame(rows, schema=dict(MEASURED)).with_columns(numbers)
