"""Settings of the analysis of activations and attention heads."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rim.settings.common import BASE, COST, AsBefore, Name, Positive, Settings, Share


class Mechanism(Settings):
    """Where refusal is decided and which heads carry it: activation caches, probes, refusal heads, ablations (paper, section 3)."""

    harmful: str = Field(description="Benchmark of requests that should be refused (measure misalignment).")
    harmless: str = Field(description="Benchmark of benign requests to tell them from (measure false_refusal).")
    variants: list[Name] | None = Field(None, description="Variants to analyse ('base' is one); all when absent.")
    positions: list[str] | None = Field(
        None, description="Named token positions to read; all that the model's chat template has when absent."
    )
    neurons: bool = Field(
        True,
        description="Cache MLP neurons too; those of a large mixture of experts take tens of megabytes per prompt.",
    )
    batch_size: Annotated[Positive, COST] = Field(32, description="Prompts per forward pass.")
    head_share: Share = Field(
        0.4, description="A refusal head shifts its attention on at least this share of harmful requests."
    )
    ablate: list[Name] = Field(
        [BASE], description="Variants on which heads are ablated and every head's effect is measured; none when empty."
    )
    benchmarks: Annotated[list[Name] | None, AsBefore(None)] = Field(
        None,
        description="Benchmarks that are asked where heads are ablated, once for every set of them; all when absent.",
    )
    head_sets: list[Literal["refusal_heads", "effect_heads"]] = Field(
        ["refusal_heads", "effect_heads"],
        min_length=1,
        description="Heads to ablate: those of the attention shift (published), and as many with the largest measured effect.",
    )
    replacements: list[Literal["zero", "mean"]] = Field(
        ["zero"],
        min_length=1,
        description="What takes the place of an ablated head's output: zero (published), or its mean.",
    )
    random_sets: int = Field(
        5,
        ge=0,
        description="Random sets per set of heads, with as many heads in each layer; with fewer than 19 nothing is claimed beside them.",
    )
    sweep_prompts: Positive = Field(
        32, description="Requests of each kind over which the effect of every single head is measured."
    )
