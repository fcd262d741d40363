"""Settings of inference: what is asked, and how replies are generated."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from rim.settings.common import AsBefore, Positive, Settings, Share, Think

# measure -> kinds of rows; instructions, such as Alpaca's, are harmless too
ASKED = {"misalignment": ("safety",), "false_refusal": ("benign", "instruction"), "accuracy": ("math",)}


class Benchmark(Settings):
    """A set of prompts that every variant answers."""

    dataset: str = Field(description="Dataset whose prompts are asked.")
    measure: Literal["misalignment", "false_refusal", "accuracy"] = Field(
        description="What the replies are measured for: misalignment asks the dataset's safety rows, false_refusal its benign ones and instructions, accuracy its maths."
    )
    split: Literal["all", "calibration", "evaluation"] = Field("all", description="Which part of the dataset is asked.")
    rows: Positive | None = Field(
        None,
        description="Ask only so many rows, the same each time: of each split and category in proportion to what there is.",
    )
    max_new_tokens: Positive | None = Field(
        None, description="Bound on a reply's tokens, when not that of 'inference'."
    )
    answer_format: Annotated[str | None, AsBefore(None)] = Field(
        None,
        min_length=1,
        description="Accuracy only: text after each question, on lines of its own, that says in which form the answer is wanted, such as 'End with #### and the number.'",
    )

    @model_validator(mode="after")
    def _answers(self) -> Self:
        if self.answer_format and self.measure != "accuracy":
            raise PydanticCustomError(
                "benchmark", "'answer_format' belongs to benchmarks of measure 'accuracy'; leave it out here"
            )
        return self


class Vllm(Settings):
    """Settings of vLLM, which count when it is the backend."""

    memory: Share = Field(0.9, description="Share of the GPU's memory (without a GPU: the machine's) that it may take.")
    merge_adapters: bool = Field(
        False,
        description="Serve a fine-tune with its adapter merged into the weights, as transformers does, rather than beside them.",
    )


class Inference(Settings):
    """How replies are generated."""

    backend: Literal["transformers", "vllm"] = Field(
        "transformers", description="Engine that generates; vLLM is an extra of its own (workflow/docs/engines.md)."
    )
    think: list[Think] = Field(
        ["on", "off"],
        min_length=1,
        description="Think modes to run: on, off, and plain, which is the prompt with nothing said of thinking.",
    )
    temperature: float = Field(
        0.0, ge=0, description="0 decodes greedily (published); above 0 samples with the study's seed."
    )
    batch_size: Positive = Field(
        32,
        description="Prompts per batch, and fewer where a benchmark's own bound on replies is above 'max_new_tokens', in proportion; vLLM fills its memory instead. Sums are rounded differently, which changes replies in bfloat16, so they are made again.",
    )
    max_new_tokens: Positive = Field(8192, description="Bound on the tokens of a reply, thinking included.")
    max_thinking_tokens: int | None = Field(
        None,
        ge=16,
        description="Thinking that has not ended after so many tokens is ended for the model, which then answers; for models whose thoughts have markers.",
    )
    vllm: Vllm = Field(Vllm(), description="Settings of vLLM.")

    def batch_of(self, bound: int) -> int:
        """Prompts per batch of replies of at most so many tokens, so that longer ones take no more memory."""
        return max(1, self.batch_size * self.max_new_tokens // max(self.max_new_tokens, bound))
