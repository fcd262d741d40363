"""What each method says of every neuron and head of a model in which it is known where refusal sits.

The published rules stand beside rivals: the difference of means between requests that the model refuses and look-alikes,
first-order attribution, and the exact effect of zeroing each part, which only so small a model can afford. A score is
the higher, the more a method takes the part for one that refusal needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rim.analysis import texts
from rim.analysis.ablation import ablated_heads, ablated_neurons
from rim.analysis.head_effects import discriminative_first_tokens
from rim.analysis.neurons import Layer
from rim.core.contracts import PART_SCORES
from rim.core.precision import significant
from rim.models import control
from rim.settings.models import Graft, Organism

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from rim.analysis.metrics import Values
    from rim.models.families import ModelView

PROMPTS = 32  # refused requests over which effects are measured, the exact one by a forward pass for each part
Scores = list[NDArray[np.floating[Any]]]  # per layer; neurons of all experts side by side, or heads


def rises(layers: Sequence[Layer]) -> dict[str, Scores]:
    """The published rule's frequency of each neuron, and that less the frequency with the placebo."""
    intent, placebo = ([layer.frequency(arm) for layer in layers] for arm in ("intent", "placebo"))
    return {"intent": intent, "intent less placebo": [a - b for a, b in zip(intent, placebo, strict=True)]}


def contrast(restricted: Sequence[Values], harmless: Sequence[Values]) -> Scores:
    """Difference of a neuron's mean activation between two kinds of requests, in standard deviations; [texts, neurons] each."""
    made = []
    for first, second in zip(restricted, harmless, strict=True):
        spread = np.sqrt((np.nanvar(first, 0) + np.nanvar(second, 0)) / 2)
        apart = np.nanmean(first, 0) - np.nanmean(second, 0)
        made.append(np.nan_to_num(np.divide(apart, spread, out=np.zeros_like(apart), where=spread > 0)).astype(float))
    return made


class Refusal:
    """How far a model leans to refusing some prompts: the mean logit difference of two first tokens of a reply."""

    def __init__(self, view: ModelView, prompts: Sequence[list[int]], tokens: tuple[int, int]) -> None:
        """Prepare one batch of prompts.

        Args:
            tokens: a first token of refusals and one of other replies.
        """
        import torch

        self.view, self.tokens = view, tokens
        length = max(map(len, prompts))
        padded = [[0] * (length - len(ids)) + list(ids) for ids in prompts]
        self.ids = torch.tensor(padded, device=view.model.device)
        self.mask = torch.tensor(
            [[0] * (length - len(ids)) + [1] * len(ids) for ids in prompts], device=self.ids.device
        )
        self.positions = (self.mask.cumsum(1) - 1).clamp(min=0)

    @classmethod
    def of_replies(
        cls, view: ModelView, tokenizer: PreTrainedTokenizerBase, harmful: pl.DataFrame, harmless: pl.DataFrame
    ) -> Refusal | None:
        """On the first harmful requests that were refused; None when refusals and other replies begin alike."""
        refused = harmful.filter(texts.refuses())
        others = pl.concat([harmful.filter(~texts.refuses()), harmless.filter(~texts.refuses())])

        def first_tokens(replies: pl.DataFrame) -> list[int]:
            said = replies.filter(pl.col("complete") & (pl.col("response") != ""))["response"]
            return [control.encode(tokenizer, text)[0] for text in said]

        tokens = discriminative_first_tokens(first_tokens(refused), first_tokens(others))
        prompts = [control.encode(tokenizer, text) for text in refused["prompt"].head(PROMPTS)]
        return cls(view, prompts, tokens) if tokens else None

    def __call__(self) -> Tensor:
        """The leaning of the model as it is."""
        options = {"attention_mask": self.mask, "position_ids": self.positions, "use_cache": False}
        states = self.view.backbone(input_ids=self.ids, **options).last_hidden_state[:, -1]
        logits: Tensor = self.view.model.get_output_embeddings()(states)
        return (logits[:, self.tokens[0]] - logits[:, self.tokens[1]]).mean()


def attribution(refusal: Refusal) -> dict[str, Scores]:
    """First-order effect of zeroing each neuron and head, by part: gradient times activation, summed over tokens.

    What a part adds is linear in its columns of an output projection, so that this is gradient times weight there.
    """
    import torch

    view = refusal.view
    layers = range(len(view.blocks))
    heads = [view.heads_output(layer).weight for layer in layers]
    experts = [view.experts(layer) for layer in layers]
    neurons = [
        view.neurons_output(layer).weight if each is None else each.down_proj
        for layer, each in zip(layers, experts, strict=True)
    ]
    for weight in (*heads, *neurons):
        weight.requires_grad_(True)
    with torch.enable_grad():
        gradients = torch.autograd.grad(refusal(), [*heads, *neurons])
    effects = [
        (gradient * weight.detach()).double().sum(-2).flatten()
        for gradient, weight in zip(gradients, [*heads, *neurons], strict=True)
    ]
    by_head = [effect.view(view.heads, -1).sum(1) for effect in effects[: len(heads)]]
    return {
        "head": [effect.cpu().numpy() for effect in by_head],
        "neuron": [effect.cpu().numpy() for effect in effects[len(heads) :]],
    }


def zeroing(refusal: Refusal, report: Callable[[int], None]) -> dict[str, Scores]:
    """The exact effect of zeroing each neuron and head, one forward pass each, by part."""
    import torch

    view = refusal.view
    made: dict[str, Scores] = {"head": [], "neuron": []}
    with torch.inference_mode():
        whole = float(refusal())
        for layer in range(len(view.blocks)):
            effects = []
            for head in range(view.heads):
                with ablated_heads(view, [(layer, head)]):
                    effects.append(whole - float(refusal()))
            made["head"].append(np.array(effects))
            effects = []
            for expert in range(view.expert_count(layer)):
                for neuron in range(view.down_projection(layer, expert).shape[1]):
                    with ablated_neurons(view, [(layer, expert, neuron)]):
                        effects.append(whole - float(refusal()))
            made["neuron"].append(np.array(effects))
            report(layer + 1)
    return made


def scores_table(
    scores: dict[tuple[str, str], Scores], widths: Sequence[int], organism: Organism, graft: Graft
) -> pl.DataFrame:
    """The table of scores, with what is known of each part.

    Args:
        scores: (part, method) -> the scores.
        widths: per layer the neurons of one expert, or of the layer where it has none.
    """
    rows = list(_rows(scores, widths, organism, graft))
    return pl.DataFrame(rows, schema=dict(PART_SCORES), orient="row").with_columns(significant("score"))


def _rows(
    scores: dict[tuple[str, str], Scores], widths: Sequence[int], organism: Organism, graft: Graft
) -> Iterator[tuple[str, int, int, int, bool, str, float]]:
    old = {"neuron": organism.intermediate // (2 if organism.experts else 1), "head": organism.heads}
    for (part, method), layers in scores.items():
        for layer, values in enumerate(layers):
            width = widths[layer] if part == "neuron" else len(values)
            trained = graft.layers is None or layer in graft.layers
            for column, value in enumerate(values):
                own = column % width
                yield part, layer, column // width, own, trained and own >= old[part], method, float(value)
