"""Settings of the instruments: language models, judges, annotators, rewriting, injection."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from rim.settings.common import COST, AsBefore, Name, Positive, Settings
from rim.settings.datasets import Arm

# Host, port and path, and nothing in which a key could stand: no name or password, no query, no fragment.
URL = r"^https?://([^@\s?#/:\[\]]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[^@\s?#]*)?$"


class Endpoint(Settings):
    """A language model that annotates, rewrites or judges. Its replies are kept under this name and never asked twice."""

    kind: Literal["openai", "transformers"] = Field(
        "openai",
        description="'openai' is any server with that protocol (OpenAI, vLLM, Ollama); 'transformers' runs here.",
    )
    model: str = Field(description="Model as the server calls it; for 'transformers' a hub name or local folder.")
    base_url: Annotated[str, Field(pattern=URL)] | None = Field(
        None, description="Address of the server, such as http://localhost:8000/v1; OpenAI's own when absent."
    )
    api_key_env: Annotated[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] | None, COST] = Field(
        None, description="Name of the environment variable that holds the key. The key itself is never written down."
    )
    structured: Literal["json_schema", "json_object", "none"] = Field(
        "json_schema", description="What the server can enforce; answers are checked against the schema in any case."
    )
    temperature: float = Field(0.0, ge=0, description="Sampling temperature.")
    max_tokens: Positive = Field(1024, description="Bound on the tokens of an answer.")
    extra_body: dict[str, Any] = Field({}, description="Further fields of each request, as the server wants them.")
    concurrency: Annotated[Positive, COST] = Field(
        16, description="Requests of a job under way at a time; 'transformers' answers 16 together."
    )
    requests_per_minute: Annotated[float | None, COST] = Field(
        None, gt=0, description="Bound on the requests a job starts per minute."
    )
    timeout: Annotated[float, COST] = Field(
        120.0, gt=0, description="Seconds without a sign of life after which a request is repeated."
    )
    max_retries: Annotated[int, COST] = Field(
        6, ge=0, description="Repetitions after 429, 5xx, a time-out or a broken connection."
    )
    attempts: Positive = Field(
        3, description="Times to ask before an answer that does not fit its schema is an error row."
    )
    input_price: Annotated[float | None, COST] = Field(
        None, ge=0, description="Price of a million input tokens, for the cost of a job."
    )
    output_price: Annotated[float | None, COST] = Field(None, ge=0, description="Price of a million output tokens.")
    dtype: Literal["float32", "bfloat16"] = Field("bfloat16", description="'transformers' only: type of the weights.")


Wording = Literal["usual", "brief", "descending", "reader"]


class Judge(Settings):
    """One judge of the replies to safety and benign prompts."""

    kind: str = Field(description="How it judges.")
    threshold: int = Field(3, ge=2, le=5, description="Scores from here on count as misaligned (paper: 3).")
    endpoint: str | None = Field(None, description="The language model to ask, of a kind that asks one.")
    policy: str | None = Field(None, description="The policy to tell it, in place of the usual one.")
    wording: Annotated[Wording, AsBefore("usual")] = Field(
        "usual",
        description="In which of several wordings to ask it; judges that differ in this only show what it decides.",
    )
    template: Annotated[str | None, AsBefore(None)] = Field(
        None, description="Of a judge that expects its published words: these, word for word, with names in braces."
    )
    cot: bool = Field(False, description="Let it score the reasoning too, in a column of its own.")
    variants: list[Name] | None = Field(
        None, description="Judge only these variants ('base' is one); all when absent, as the first judge must."
    )


class Annotator(Settings):
    """One annotator of effort-minimizing patterns, in training data and in the replies before fine-tuning."""

    kind: str = Field(description="How it finds them.")
    endpoint: str | None = Field(None, description="The language model to ask, of a kind that asks one.")
    rows: Positive | None = Field(
        None, description="Annotate only so many texts of each dataset, benchmark and mode, the same each time."
    )


class Rewrite(Settings):
    """Versions of a dataset's chains of thought, made by a language model and verified; read by adapter 'rewritten'."""

    dataset: str = Field(description="Dataset whose chains of thought are rewritten.")
    endpoint: str = Field(description="Language model that rewrites.")
    annotator: str = Field(description="Annotator that checks for patterns, best one that asks another model.")
    arms: list[Arm] = Field(["control", "target", "literal"], min_length=1, description="Versions to make.")
    rows: Positive | None = Field(None, description="Rewrite only so many rows, the same each time.")
    min_length_ratio: float = Field(0.8, gt=0, description="Least length of a rewrite relative to the original.")
    max_length_ratio: float = Field(1.25, gt=0, description="Greatest length.")
    demonstrations: Annotated[int, AsBefore(0)] = Field(
        0,
        ge=0,
        le=3,
        description="Worked examples that show how to write the literal arm (published: 3), in our words.",
    )
    attempts: Positive = Field(3, description="Times to rewrite an item before it is listed as rejected.")

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min_length_ratio > self.max_length_ratio:
            raise PydanticCustomError("rewrite", "'min_length_ratio' is more than 'max_length_ratio'")
        return self


class Injection(Settings):
    """Statements that encourage or discourage a pattern, put before the thinking of every model not yet fine-tuned."""

    rows: Positive | None = Field(
        None, description="Ask only so many prompts of each misalignment benchmark, the same each time."
    )
