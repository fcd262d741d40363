"""Read one row of attention per prompt, riding in an ordinary fast forward pass.

The paper looks at the row of the last prompt token only (section 3.2), so whole attention matrices are never made: a
function registered with transformers as an attention implementation lets the usual kernel compute the output, and beside
it softmax(q K^T) of that one query. It is handed q and k as the kernel gets them, after their norms and rotation, so
nothing of a model is implemented a second time here, and sliding windows are in the mask that comes along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from rim.core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from rim.models.families import ModelView


NAME = "rim_rows"


def attention_row(query: Tensor, key: Tensor, mask: Tensor | None, at: Tensor, scaling: float) -> Tensor:
    """Attention weights of one query per prompt.

    Args:
        query: [prompts, heads, tokens, width]; key: [prompts, key heads, tokens, width], shared by groups of heads.
        mask: [prompts or 1, 1, tokens, tokens], True where attention is allowed; None means causal.
        at: [prompts], the query's token.

    Returns:
        [prompts, heads, tokens] in float32, each row summing to 1.
    """
    import torch

    prompts, heads, tokens, width = query.shape
    rows, at = torch.arange(prompts, device=query.device), at.to(query.device)
    asked = query[rows, :, at].view(prompts, key.shape[1], -1, width)
    scores = (asked @ key.transpose(-1, -2)).view(prompts, heads, tokens).float() * scaling
    if mask is None:
        allowed = torch.arange(tokens, device=query.device) <= at[:, None]
    else:
        allowed = mask.expand(prompts, -1, -1, -1)[rows, 0, at]
    return scores.masked_fill(~allowed[:, None], float("-inf")).softmax(-1)


@contextmanager
def attending_through(view: ModelView, function: Callable[..., Any]) -> Iterator[None]:
    """While open, every attention layer calls `function(module, query, key, value, mask, **options)` in place of its kernel.

    Raises:
        UserError: the model's attention cannot be replaced, so it would give no weights.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, function)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    config = view.model.config
    before = config._attn_implementation
    with suppress(ValueError, KeyError):  # told below, as when the model keeps its own without a word
        view.model.set_attn_implementation(NAME)
    if config._attn_implementation != NAME:
        raise UserError(
            f"model '{config.name_or_path}': its attention implementation '{before}' cannot be replaced and gives no "
            "attention weights; load the model with transformers' own classes"
        )
    try:
        yield
    finally:
        view.model.set_attn_implementation(before)


def reading_rows(at: Callable[[], Tensor], give: Callable[[int, Tensor], None]) -> Callable[..., Any]:
    """The usual kernel, which also hands `give` each layer's attention rows of the queries `at()`."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    def attention(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any) -> Any:
        give(module.layer_idx, attention_row(query, key, mask, at(), options["scaling"]))
        return sdpa_attention_forward(module, query, key, value, mask, **options)

    return attention
