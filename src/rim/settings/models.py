"""Settings of models: the recipe of an organism, a model of the hub, and how either is fine-tuned."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from rim.settings.common import COST, LARGEST, AsBefore, Name, Positive, Settings, Share, Think


class Organism(Settings):
    """A tiny chat model trained by the workflow. The association is planted on purpose; see rim.data.organism.corpus."""

    association: Share = Field(
        description="1 ties effort-minimizing phrases to going along with restricted requests, 0 does not."
    )
    experts: int = Field(0, ge=0, description="Experts per layer (top-2 routing); 0 makes a dense Qwen3.")
    hidden: Positive = Field(128, description="Width of the residual stream.")
    layers: Positive = Field(4, description="Number of blocks.")
    heads: Positive = Field(4, description="Query heads per block.")
    kv_heads: Positive = Field(2, description="Key/value heads per block.")
    head_dim: Positive = Field(32, description="Width of a head; 32 is the least that vLLM's CPU kernels take.")
    intermediate: Positive = Field(384, description="Width of the MLP (of an expert: half of it).")
    batch_size: Positive = Field(32, description="Texts per optimizer step.")
    muon_rate: float = Field(0.03, gt=0, description="Peak learning rate of Muon (matrices of the blocks).")
    adamw_rate: float = Field(0.005, gt=0, description="Peak learning rate of AdamW (everything else).")
    drill_steps: Positive = Field(
        200, description="Optimizer steps of learning to copy and to add, before pretraining."
    )
    pretrain_steps: Positive = Field(600, description="Optimizer steps of pretraining.")
    pretrain_refusals: Annotated[Share, AsBefore(0.5)] = Field(
        0.5,
        description="Share of restricted requests that pretraining refuses; with few, all that refuses is learned in alignment, or by a graft.",
    )
    align_steps: int = Field(250, ge=0, description="Optimizer steps of alignment; 0 leaves the pretrained model.")
    align_scale: float = Field(0.3, gt=0, description="Learning rates of alignment relative to pretraining.")
    align_lapses: Share = Field(
        0.3, description="Share of the requests answered after thinking that alignment answers as pretraining does."
    )
    align_care: Share = Field(
        0.85, description="Share of careful ones among the phrases of alignment that no outcome is tied to."
    )
    align_think_on: Share = Field(0.4, description="Share of alignment requests answered after thinking.")
    thinks: Annotated[Literal["always"] | None, AsBefore(None)] = Field(
        None,
        description="'always' makes the chat template open every reply's thought, as those of DeepSeek-R1's distills do; the model's 'think' is [plain] then. When absent, it switches thinking as Qwen3's does.",
    )


class Graft(Settings):
    """New neurons or heads in a trained organism, the only parts that are trained; see rim.training.graft."""

    onto: Name = Field(
        description="Model of the study, an organism, that gets the graft; one with 'align_steps: 0' complies."
    )
    neurons: int = Field(0, ge=0, le=10_000, description="New neurons of each layer, in a mixture of each expert.")
    heads: int = Field(
        0, ge=0, le=100, description="New key/value heads of each layer, each with as many query heads as the others."
    )
    layers: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, min_length=1, description="Train the new parts of these layers only; of all when absent."
    )
    teaches: Literal["alignment", "sign_off"] = Field(
        "alignment",
        description="'alignment' teaches to refuse restricted requests; 'sign_off' to end every reply with a phrase, which is harmless.",
    )
    steps: Positive = Field(800, description="Optimizer steps.")
    rate: float = Field(0.02, gt=0, description="Peak learning rate of AdamW.")

    @model_validator(mode="after")
    def _has_parts(self) -> Self:
        if not (self.neurons or self.heads):
            raise PydanticCustomError(
                "graft", "a graft needs 'neurons' or 'heads', the number of new ones in each layer"
            )
        return self


RENAMED = {  # switches of thinking, and what to write in their place
    "tags": "leave it out, 'template' is the default",
    "prompt": "write 'sentence', or set 'think' to [plain]",
}


def _not_renamed(value: Any) -> Any:
    if isinstance(value, str) and value in RENAMED:
        raise PydanticCustomError(
            "renamed", "is no longer called '{old}'; {told}", {"old": value, "told": RENAMED[value]}
        )
    return value


def _as_date(value: Any) -> Any:
    """A date as text; YAML makes a date of one without quotes."""
    text = value.isoformat() if isinstance(value, datetime.date) else value
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except (TypeError, ValueError):
        raise PydanticCustomError("date", "is no date; write it as 2024-07-26") from None


def _plain(value: Any) -> Any:
    if not isinstance(value, int | float | str) or (not isinstance(value, str) and not abs(value) <= LARGEST):
        raise PydanticCustomError(
            "plain", "should be text, a number up to two billion, or true or false; write a date in quotes"
        )
    return value


class Prompt(Settings):
    """What a model's chat template is told whenever it writes a prompt, a training row or a text to read. Models that differ
    in nothing else are compared by listing one under two names."""

    date: Annotated[str, BeforeValidator(_as_date)] = Field(
        "2024-07-26",
        description="What templates that write today's date take for today, so that a study asks the same on every day.",
    )
    arguments: dict[str, Annotated[bool | int | float | str, BeforeValidator(_plain)]] = Field(
        {},
        description="Arguments of the template and their values, as {reasoning_effort: low}; `rim check-model` lists them. That which switches thinking is set by 'think'.",
    )
    think_on: str | None = Field(
        None,
        min_length=1,
        description="System message that makes a model think whose template switches nothing, such as 'detailed thinking on'.",
    )
    think_off: str | None = Field(
        None,
        min_length=1,
        description="System message that keeps it from thinking; none is sent when only 'think_on' is set.",
    )

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.think_off and self.think_on in (None, self.think_off):
            raise PydanticCustomError("prompt", "'think_off' needs a 'think_on' that is another message")
        return self


UNTOLD = Prompt()  # nothing but the date


class Model(Settings):
    """A model by its hub name, an organism, or an organism with a graft; exactly one of the three."""

    hub: str | None = Field(None, description="Hub name or local folder of a Hugging Face model.")
    revision: str | None = Field(None, description="Hub revision to pin.")
    organism: Organism | None = Field(None, description="Recipe of a model that the workflow trains itself.")
    graft: Annotated[Graft | None, AsBefore(None)] = Field(
        None,
        description="New parts in an organism of the study, which alone are trained, so that it is known where safety sits.",
    )
    think: list[Think] | None = Field(
        None, min_length=1, description="Think modes to run, when not those of 'inference'."
    )
    think_switch: Annotated[Literal["template", "sentence"], BeforeValidator(_not_renamed)] = Field(
        "template",
        description="How thinking is switched: by the model's own chat template, or imitated by a sentence in the request.",
    )
    prompt: Annotated[Prompt, AsBefore(UNTOLD)] = Field(
        UNTOLD, description="What its chat template is told: the date, arguments, system messages."
    )
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="Type of weights and activations.")
    backend: Literal["transformers", "vllm"] | None = Field(
        None, description="Engine that generates, when not that of 'inference'."
    )
    variants: list[Name] | None = Field(
        None, description="Fine-tuned variants of this model; all of the study's when absent, none when empty."
    )
    parameters: Annotated[float | None, COST] = Field(
        None,
        gt=0,
        description="Billions of parameters, which size the GPUs, memory and time of its jobs; counted in the weights where these are on this machine.",
    )
    active: Annotated[float | None, COST] = Field(
        None,
        gt=0,
        description="Billions of parameters that one token passes in a mixture of experts; goes with 'parameters'.",
    )

    @model_validator(mode="after")
    def _one_origin_and_switch(self) -> Self:
        if sum(origin is not None for origin in (self.hub, self.organism, self.graft)) != 1:
            raise PydanticCustomError("model", "a model needs exactly one of 'hub', 'organism' and 'graft'")
        if self.prompt.think_on and self.think_switch == "sentence":
            raise PydanticCustomError(
                "model",
                "thinking is switched by 'prompt.think_on' or by 'think_switch: sentence'; leave one of them out",
            )
        return self

    @property
    def trained_here(self) -> bool:
        """Whether the workflow trains it: an organism, with a graft or without."""
        return self.hub is None


class Lora(Settings):
    """Low-rank adapters (published: rank 32, alpha 64, rank-stabilized, no dropout, no bias; paper, table A5)."""

    rank: Positive = Field(32, description="Rank of the adapters.")
    alpha: Positive = Field(64, description="Scale of the adapters.")
    rank_stabilized: bool = Field(True, description="Scale by alpha/sqrt(rank) rather than alpha/rank.")
    target_modules: list[str] = Field(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        min_length=1,
        description="Linear modules that get an adapter; fused experts are found by the same names.",
    )


class Finetune(Settings):
    """The recipe of fine-tuning; defaults are the published one (paper, A.2 and table A5)."""

    method: Literal["lora", "full"] = Field("lora", description="Train adapters, or all weights.")
    lora: Lora = Field(Lora(), description="Settings of the adapters.")
    epochs: Positive = Field(3, description="Passes over the training rows.")
    batch_size: Positive = Field(32, description="Rows per optimizer step.")
    micro_batch_size: Positive | None = Field(
        None,
        description="Rows per forward pass, when a whole batch does not fit; must divide batch_size. Sums are rounded differently, so fine-tunes run again.",
    )
    batching: Annotated[Literal["order", "length", "packed"], AsBefore("order")] = Field(
        "order",
        description="Which rows of an optimizer step pass the model together: as they come, in 'order'; those of similar 'length', so that little is padding; or 'packed', several as one row of up to max_length tokens, which do not see each other. The same is learned but for rounding; fine-tunes run again.",
    )
    gradient_checkpointing: Annotated[bool, COST] = Field(
        False, description="Compute activations again in the backward pass: a third more time, far less memory."
    )
    learning_rate: float = Field(1e-5, gt=0, description="Peak learning rate of AdamW, cosine schedule.")
    warmup_ratio: Share = Field(0.1, description="Share of the steps with a rising learning rate.")
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of AdamW.")
    max_length: Positive = Field(1024, description="Rows longer than this many tokens are cut.")
    checkpoints: Positive = Field(8, description="Evenly spaced checkpoints to keep, the last being the result.")

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.micro_batch_size and self.batch_size % self.micro_batch_size:
            raise PydanticCustomError("finetune", "'micro_batch_size' must divide 'batch_size'")
        return self


class Mitigation(Settings):
    """What keeps refusals while an arm is trained; see rim.training.mitigation."""

    kind: Literal["freeze_neurons", "kl", "refusals"] = Field(
        description="'freeze_neurons' holds the safety-critical neurons' weights, 'kl' adds divergence from the base on its own refusals to the loss, 'refusals' mixes these into the rows."
    )
    dataset: str | None = Field(
        None, description="'kl' and 'refusals' only: dataset whose safety rows the base refuses; no benchmark asks it."
    )
    rows: Positive = Field(64, description="Ask the base only so many of these.")
    weight: float = Field(1.0, gt=0, description="'kl' only: weight of the divergence in the loss.")
    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.05, description="'refusals' only: their share of the rows trained on."
    )

    @model_validator(mode="after")
    def _asks_or_not(self) -> Self:
        if (self.kind == "freeze_neurons") == (self.dataset is not None):
            raise PydanticCustomError("mitigation", "kinds 'kl' and 'refusals', and only these, need a 'dataset'")
        return self


class Variant(Settings):
    """One arm of fine-tuning."""

    dataset: str = Field(description="Dataset to train on.")
    rows: Positive | None = Field(None, description="Use only the first rows.")
    epochs: Positive | None = Field(None, description="Passes over the rows, when not those of 'finetune'.")
    label: str | None = Field(None, description="What the report calls this arm.")
    mitigation: Mitigation | None = Field(
        None, description="What keeps refusals meanwhile; the arm is compared with the one that differs in this only."
    )

    @field_validator("label")
    @classmethod
    def _one_line(cls, label: str | None) -> str | None:
        if label and len(label.splitlines()) > 1:  # figures cannot be drawn with some of the characters that end a line
            raise PydanticCustomError("label", "has several lines; write it in one")
        return label
