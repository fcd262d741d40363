"""The weights of a model inside vLLM, for the same edits as anywhere else.

vLLM builds its own modules, whose names and fused shapes differ from transformers', but an output or down projection is
the same matrix [outputs, inputs], and one engine in this process shares its memory with us. So an ablation is the same
edit in place, taken back bitwise, and one loaded engine serves all masks. What an edit cannot reach is refused rather than
passed over: an engine may pack a weight for its kernels and keep only the packed form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rim.core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn


class VllmModelView:
    """A model in vLLM seen through the weights that ablations edit."""

    def __init__(self, model: Any, config: Any, name: str) -> None:
        """Args:
        model: vLLM's module.
        config: the model's Hugging Face configuration.
        """
        self.blocks: Any = model.model.layers
        self.name = name
        self.hidden: int = config.hidden_size
        self.head_dim: int = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.width: int = config.num_attention_heads * self.head_dim

    def heads_output(self, layer: int) -> nn.Linear:
        module: nn.Linear = self.blocks[layer].self_attn.o_proj
        self._check(module.weight.shape == (self.hidden, self.width), f"output projection of layer {layer}")
        return module

    def columns(self, head: int) -> slice:
        return slice(head * self.head_dim, (head + 1) * self.head_dim)

    def _experts(self, layer: int) -> Any | None:
        return next((module for module in self.blocks[layer].modules() if hasattr(module, "w2_weight")), None)

    def expert_count(self, layer: int) -> int:
        experts = self._experts(layer)
        return 1 if experts is None else int(experts.w2_weight.shape[0])

    def down_projection(self, layer: int, expert: int) -> Tensor:
        block, experts = self.blocks[layer], self._experts(layer)
        weight: Tensor = block.mlp.down_proj.weight if experts is None else experts.w2_weight.detach()[expert]
        packed = experts is not None and weight.device.type == "cpu"  # in another order, but of the same shape
        self._check(not packed and weight.shape[0] == self.hidden, f"down projection of layer {layer}")
        return weight

    def _check(self, plain: bool, what: str) -> None:
        if not plain:
            raise UserError(
                f"model '{self.name}': on this machine vLLM packs the {what} for its kernels, so it cannot be edited; give this model 'backend: transformers'"
            )
