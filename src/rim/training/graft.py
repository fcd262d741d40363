"""Organisms whose safety sits in known parts: new neurons or heads, trained alone.

A trained organism gets new parts whose output is zero, so that it computes what it did before, and only these are trained.
Whatever is learned thus lies in them, and zeroing them again gives the organism back: what an instrument should find
is known, and so is what its ablation should do. A graft that is taught something harmless is the control for parts that
are found because they are new.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rim.core.files import discard, replacing, working_folder
from rim.core.progress import counter
from rim.models.loading import load_model, load_tokenizer
from rim.training.organism import Stage, stages, train_stage

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from rim.settings.models import Graft, Organism

SIGN_OFF = "enjoy the sea."


def enlarge(base: PreTrainedModel, graft: Graft, seed: int) -> tuple[PreTrainedModel, dict[str, torch.Tensor]]:
    """A copy of an organism with new parts, and for each parameter of these which entries are trained.

    The new parts read at random and write nothing: their columns of the output projections are zero. In layers that are
    not trained they read nothing either.
    """
    import torch

    config: Any = deepcopy(base.config)
    width = "moe_intermediate_size" if hasattr(config, "num_experts") else "intermediate_size"
    setattr(config, width, getattr(config, width) + graft.neurons)
    config.num_attention_heads += graft.heads * (config.num_attention_heads // config.num_key_value_heads)
    config.num_key_value_heads += graft.heads
    torch.manual_seed(seed)
    model = type(base)(config)
    layers = range(config.num_hidden_layers) if graft.layers is None else graft.layers
    trained: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for (name, old), parameter in zip(base.named_parameters(), model.parameters(), strict=True):
            new = torch.ones_like(parameter, dtype=torch.bool)
            new[_place(name, old, parameter)] = False
            parameter[~new] = old.flatten()
            here = any(f".layers.{layer}." in name for layer in layers)
            if "down_proj" in name or "o_proj" in name or not here:
                parameter[new] = 0
            if here and new.any():
                trained[name] = new
    return model, trained


def _place(name: str, old: torch.Tensor, enlarged: torch.Tensor) -> tuple[Any, ...]:
    """Where the entries of the old parameter lie in the new one: at the front, in either half of a fused projection."""
    import torch

    if "gate_up_proj" in name:
        half = torch.arange(old.shape[1] // 2)
        return slice(None), torch.cat([half, enlarged.shape[1] // 2 + half])
    return tuple(slice(size) for size in old.shape)


def graft_stage(organism: Organism, graft: Graft) -> Stage:
    """What the graft is taught: the organism's alignment, or that with the end of every reply, which is harmless."""
    aligned = next(stage for stage in stages(organism.model_copy(update={"align_steps": 1})) if stage.name == "align")
    mix = aligned.mix if graft.teaches == "alignment" else replace(aligned.mix, sign_off=SIGN_OFF)
    return Stage("graft", mix, graft.steps, 1.0)


def train_graft(
    base: Path, organism: Organism, graft: Graft, seed: int, output: Path, label: str, code: str = ""
) -> dict[str, Any]:
    """Graft onto the organism in `base`, and write `output`, an ordinary model folder; return facts for the receipt.

    A killed run leaves a snapshot in a working folder beside `output`, and the next run of the same `code` goes on from there.
    """
    import torch

    tokenizer: Any = load_tokenizer(str(base))
    model, trained = enlarge(load_model(str(base), device="cpu"), graft, seed)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
        if name in trained:
            parameter.register_hook(lambda gradient, new=trained[name]: gradient * new)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=graft.rate, betas=(0.9, 0.98), weight_decay=0.0)
    stage = graft_stage(organism, graft)
    working = working_folder(output, f"{organism!r} {graft!r} {seed} {code}")
    loss = train_stage(
        model, tokenizer, [optimizer], stage, organism.batch_size, f"align-{seed}", working / "graft.safetensors",
        counter(f"graft_organism {label}", stage.steps),
    )  # fmt: skip
    with replacing(output) as temporary:
        model.bfloat16().save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
    discard(working)
    return {"parameters": model.num_parameters(), "graft_loss": round(loss, 6)}
