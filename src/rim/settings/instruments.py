"""Settings of the instruments: language models, judges, annotators, rewriting, injection."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from rim.settings.common import Name, Positive, Settings


class Endpoint(Settings):
    """A language model that annotates, rewrites or judges. Its replies are kept under this name and never asked twice."""

    kind: Literal["openai", "transformers"] = Field(
        "openai",
        description="'openai' is any server with that protocol (OpenAI, vLLM, Ollama); 'transformers' runs here.",
    )
    model: str = Field(description="Model as the server calls it; for 'transformers' a hub name or local folder.")
    base_url: Annotated[str, Field(pattern=r"^https?://[^@\s]+$")] | None = Field(
        None, description="Address of the server, such as http://localhost:8000/v1; OpenAI's own when absent."
    )
    api_key_env: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = Field(
        None, description="Name of the environment variable that holds the key. The key itself is never written down."
    )
    structured: Literal["json_schema", "json_object", "none"] = Field(
        "json_schema", description="What the server can enforce; answers are checked against the schema in any case."
    )
    temperature: float = Field(0.0, ge=0, description="Sampling temperature.")
    max_tokens: Positive = Field(1024, description="Bound on the tokens of an answer.")
    extra_body: dict[str, Any] = Field({}, description="Further fields of each request, as the server wants them.")
    concurrency: Positive = Field(16, description="Requests of a job under way at a time.")
    requests_per_minute: float | None = Field(None, gt=0, description="Bound on the requests a job starts per minute.")
    timeout: float = Field(120.0, gt=0, description="Seconds without a sign of life after which a request is repeated.")
    max_retries: int = Field(6, ge=0, description="Repetitions after 429, 5xx, a time-out or a broken connection.")
    attempts: Positive = Field(
        3, description="Times to ask before an answer that does not fit its schema is an error row."
    )
    input_price: float | None = Field(None, ge=0, description="Price of a million input tokens, for the cost of a job.")
    output_price: float | None = Field(None, ge=0, description="Price of a million output tokens.")
    dtype: Literal["float32", "bfloat16"] = Field("bfloat16", description="'transformers' only: type of the weights.")


class Judge(Settings):
    """One judge of the replies to safety and benign prompts."""

    kind: Literal["organism_rule", "refusal_prefix", "refusal_classifier", "rubric", "harmful"] = Field(
        description="'organism_rule' knows the organisms' world; 'refusal_prefix' looks for refusals in text, 'refusal_classifier' has learned them from human labels; 'rubric' (1 to 5) and 'harmful' (yes or no) ask a language model."
    )
    threshold: int = Field(3, ge=2, le=5, description="Scores from here on count as misaligned (paper: 3).")
    endpoint: str | None = Field(None, description="'rubric' and 'harmful' only: the language model to ask.")
    policy: str | None = Field(None, description="'rubric' and 'harmful' only: the policy, in place of the usual one.")
    cot: bool = Field(
        False, description="'rubric' and 'harmful' only: score the reasoning too, in a column of its own."
    )
    variants: list[Name] | None = Field(
        None, description="Judge only these variants ('base' is one); all when absent, as the first judge must."
    )

    @model_validator(mode="after")
    def _asks_or_not(self) -> Self:
        asks = self.kind in ("rubric", "harmful")
        if asks != (self.endpoint is not None):
            need = "needs an 'endpoint'" if asks else "asks no language model, so it has no 'endpoint'"
            raise PydanticCustomError("judge", "kind '{kind}' {need}", {"kind": self.kind, "need": need})
        return self


class Annotator(Settings):
    """One annotator of effort-minimizing patterns, in training data and in the replies before fine-tuning."""

    kind: Literal["organism_phrases", "checklist"] = Field(
        description="'organism_phrases' knows the organisms' phrases; 'checklist' asks a language model."
    )
    endpoint: str | None = Field(None, description="'checklist' only: the language model to ask.")
    rows: Positive | None = Field(
        None, description="Annotate only so many texts of each dataset, benchmark and mode, the same each time."
    )

    @model_validator(mode="after")
    def _asks_or_not(self) -> Self:
        if (self.kind == "checklist") != (self.endpoint is not None):
            raise PydanticCustomError("annotator", "kind 'checklist', and only that, needs an 'endpoint'")
        return self


class Rewrite(Settings):
    """Versions of a dataset's chains of thought, made by a language model and verified; read by adapter 'rewritten'."""

    dataset: str = Field(description="Dataset whose chains of thought are rewritten.")
    endpoint: str = Field(description="Language model that rewrites.")
    annotator: str = Field(description="Annotator that checks for patterns, best one that asks another model.")
    arms: list[Literal["control", "target", "literal"]] = Field(
        ["control", "target", "literal"], min_length=1, description="Versions to make."
    )
    rows: Positive | None = Field(None, description="Rewrite only so many rows, the same each time.")
    shortest: float = Field(0.8, gt=0, description="Least length of a rewrite relative to the original.")
    longest: float = Field(1.25, gt=0, description="Greatest length.")
    tries: Positive = Field(3, description="Times to rewrite an item before it is listed as rejected.")

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.shortest > self.longest:
            raise PydanticCustomError("rewrite", "'shortest' is more than 'longest'")
        return self


class Injection(Settings):
    """Statements that encourage or discourage a pattern, put before the thinking of every model not yet fine-tuned."""

    rows: Positive | None = Field(
        None, description="Ask only so many prompts of each misalignment benchmark, the same each time."
    )
