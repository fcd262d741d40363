"""Settings of the analysis of forgetting: safety-critical neurons, and metrics over the checkpoints of a fine-tune."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rim.settings.common import COST, AsBefore, Name, Positive, Settings, Share, Think

TOKENS = 2048  # of a backward pass for `gradients`: 11 GB in Qwen3-4B, where a layer keeps 145 kB per token


class NeuronRule(Settings):
    """By which rule neurons count as safety-critical (paper, section 4.1.1), and how many sets they are compared with."""

    neuron_type: Literal["neurons", "mlp_out"] = Field(
        "neurons",
        description="What counts as a neuron: an input of the down projection, or a dimension of what the MLP adds to the residual stream.",
    )
    top_share: Share = Field(0.05, description="m of the top-m rule, as a share of the neurons of a layer.")
    frequency: Share = Field(
        0.9,
        description="A safety-critical neuron is among the top m on this share of pairs; 1 is the paper's intersection.",
    )
    max_share: Share = Field(
        0.02, description="Largest set, as a share of all neurons; the frequency is raised until the set is not larger."
    )
    min_neurons: Positive = Field(
        5, description="Smallest set to go on with; a smaller one is reported and nothing else."
    )
    random_sets: int = Field(
        5,
        ge=0,
        description="Random sets of equal size per layer, and as many that are matched in activation as well; with fewer than 19 nothing is claimed beside them.",
    )
    batch_size: Annotated[Positive, COST] = Field(32, description="Texts per forward pass.")


class Forgetting(NeuronRule):
    """Safety-critical neurons, what ablating them does, and RAS with its baselines over training (paper, section 4)."""

    harmful: str = Field(description="Benchmark of requests that should be refused (measure misalignment).")
    task: str = Field(description="Benchmark of the new task (measure accuracy), on held-out problems.")
    variants: list[Name] = Field(
        [],
        description="Variants whose checkpoints are followed; none when empty, and only neurons are found and ablated.",
    )
    benchmarks: Annotated[list[Name] | None, AsBefore(None)] = Field(
        None,
        description="Benchmarks that are asked where neurons are ablated, once for every set of them; all when absent.",
    )
    think: Think | None = Field(
        None,
        description="Think mode of all texts and replies of this analysis; of those asked the first of off, plain and on when absent.",
    )
    pool_over: Literal["all", "request"] = Field(
        "all", description="Tokens to pool activations over: request and reply (published), or the request alone."
    )
    texts: Positive = Field(
        100, description="Texts of each kind that checkpoints read; all evaluation requests are answered."
    )
    dtype: Literal["float32", "own"] = Field(
        "float32",
        description="Type in which checkpoints are read: float32, or the model's 'own', which takes half the memory. RAS is made of small differences, of which bfloat16's rounding can be a tenth. Replies are always in the model's own.",
    )
    pairs: Positive = Field(
        30, description="Smallest number of pairs of request and counterfactual to find neurons from."
    )
    replies: Annotated[Literal["shared", "own"], AsBefore("shared")] = Field(
        "shared",
        description="What follows a request with intent or placebo added: 'shared', the reply to the request alone, so that a pair differs in one sentence only; 'own', the model's reply to each (published).",
    )
    intent_rate: Annotated[bool, AsBefore(False)] = Field(
        False,
        description="Measure the misalignment rate with intent and with placebo added, which says whether the pairs mean what they should; with replies 'own' it always is.",
    )
    held_out: Annotated[bool, AsBefore(True)] = Field(
        True,
        description="Find neurons on the calibration split, and ablate them and follow checkpoints on the evaluation split; false does all of it on all rows (published), which flatters the neurons: they are tested on what they were chosen by.",
    )
    gradients: bool = Field(
        True,
        description="Also measure, before training, how the new task's gradient meets that of the refusals; takes as much memory again as the MLPs. Not with neuron_type 'mlp_out'.",
    )

    @property
    def asks_counterfactuals(self) -> bool:
        """Whether requests with intent and with placebo are answered."""
        return self.replies == "own" or self.intent_rate

    @property
    def rule(self) -> NeuronRule:
        """The part by which neurons are found."""
        return NeuronRule(**{name: getattr(self, name) for name in NeuronRule.model_fields})
