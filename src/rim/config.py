"""Every setting of a study, typed, with its meaning and default.

`load` turns the mapping Snakemake read from YAML into a `Study`, or raises a `UserError` that names the path of each
offending key. The published schema and the tables of workflow/config/README.md are made from these types
(`rim.config_reference`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from rim.errors import UserError
from rim.forgetting_settings import Forgetting
from rim.instruments import Annotator, Endpoint, Injection, Judge, Rewrite
from rim.settings import Name, Positive, Settings, Share, Think

Position = Literal[
    "user_last", "turn_end", "turn_start", "assistant", "think_open", "inner", "cot_first", "cot", "think_close", "last", "answer",
]  # fmt: skip
BASE = "base"  # the name of the variant without fine-tuning
INJECTED = "injected"  # the name of that variant with patterns injected at inference


class Source(Settings):
    """Where rows of a dataset come from: a hub dataset, a local file or folder, or the organisms' own world."""

    adapter: Literal[
        "gsm8k",
        "math401",
        "math500",
        "multiarith",
        "aime",
        "gsm8k_long",
        "instructions",
        "hexphi",
        "advbench",
        "jailbreakbench",
        "harmbench",
        "xstest",
        "organism",
        "rewritten",
    ] = Field(description="Which reader understands this source.")
    path: str | None = Field(None, description="Local file or folder; without it the adapter's hub dataset is loaded.")
    hub: str | None = Field(None, description="Hub dataset to load in place of the adapter's usual one.")
    split: str | None = Field(None, description="Hub split to load in place of the adapter's usual one.")
    revision: str | None = Field(None, description="Hub revision (commit or tag) to pin.")
    part: (
        Literal[
            "requests",
            "lookalikes",
            "single_hop",
            "single_hop_cot",
            "multi_hop",
            "multi_hop_control",
            "multi_hop_target",
            "literal",
        ]
        | None
    ) = Field(None, description="Organism only: which synthetic set to make.")
    rewrite: str | None = Field(None, description="Rewritten only: which of the study's rewrites to take rows from.")
    arm: Literal["control", "target", "literal"] | None = Field(None, description="Rewritten only: which of its arms.")
    rows: Positive | None = Field(None, description="Organism only: how many rows to make.")
    seed: str = Field(
        "0", description="Organism only: seed of the synthetic rows; sets with the same seed share their problems."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.adapter == "organism" and not (self.part and self.rows):
            raise PydanticCustomError("source", "adapter 'organism' needs both 'part' and 'rows'")
        if self.adapter != "organism" and (self.part or self.rows):
            raise PydanticCustomError("source", "'part' and 'rows' belong to adapter 'organism' only")
        if (self.adapter == "rewritten") != bool(self.rewrite and self.arm):
            raise PydanticCustomError("source", "'rewrite' and 'arm' belong to adapter 'rewritten', which needs both")
        if self.path and (self.hub or self.revision or self.split):
            raise PydanticCustomError("source", "a source with 'path' cannot also name 'hub', 'split' or 'revision'")
        return self


class Dataset(Settings):
    """A prepared dataset: its sources one after the other, without duplicates, split by category."""

    sources: list[Source] = Field(min_length=1, description="Read in this order; of equal prompts the first is kept.")
    calibration: Share = Field(
        0.6, description="Share of each category that goes to the calibration split (paper, B.1: 6:4)."
    )


class Organism(Settings):
    """A tiny chat model trained by the workflow. The association is planted on purpose; see rim.organism.corpus."""

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
    align_steps: Positive = Field(250, description="Optimizer steps of alignment.")
    align_scale: float = Field(0.3, gt=0, description="Learning rates of alignment relative to pretraining.")
    align_think_on: Share = Field(0.4, description="Share of alignment requests answered after thinking.")


class Model(Settings):
    """A model by its hub name, or an organism; exactly one of the two."""

    hub: str | None = Field(None, description="Hub name or local folder of a Hugging Face model.")
    revision: str | None = Field(None, description="Hub revision to pin.")
    organism: Organism | None = Field(None, description="Recipe of a model that the workflow trains itself.")
    think: Literal["tags", "prompt"] = Field(
        "tags", description="How thinking is switched: the chat template's think tags, or a sentence in the prompt."
    )
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="Type of weights and activations.")
    variants: list[Name] | None = Field(
        None, description="Fine-tuned variants of this model; all of the study's when absent, none when empty."
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.hub is None) == (self.organism is None):
            raise PydanticCustomError("model", "a model needs exactly one of 'hub' and 'organism'")
        return self


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
        None, description="Rows per forward pass, when a whole batch does not fit; must divide batch_size."
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


class Variant(Settings):
    """One arm of fine-tuning."""

    dataset: str = Field(description="Dataset to train on.")
    rows: Positive | None = Field(None, description="Use only the first rows.")
    epochs: Positive | None = Field(None, description="Passes over the rows, when not those of 'finetune'.")
    label: str | None = Field(None, description="What the report calls this arm.")


class Benchmark(Settings):
    """A set of prompts that every variant answers."""

    dataset: str = Field(description="Dataset whose prompts are asked.")
    measure: Literal["misalignment", "false_refusal", "accuracy"] = Field(
        description="What the replies are measured for: misalignment asks the dataset's safety rows, false_refusal its benign ones, accuracy its maths."
    )
    split: Literal["all", "calibration", "evaluation"] = Field("all", description="Which part of the dataset is asked.")
    rows: Positive | None = Field(None, description="Ask only the first rows.")
    max_new_tokens: Positive | None = Field(
        None, description="Bound on a reply's tokens, when not that of 'inference'."
    )


class Inference(Settings):
    """How replies are generated."""

    backend: Literal["transformers"] = Field("transformers", description="Engine that generates.")
    think: list[Think] = Field(["on", "off"], min_length=1, description="Think modes to run.")
    temperature: float = Field(
        0.0, ge=0, description="0 decodes greedily (published); above 0 samples with the study's seed."
    )
    batch_size: Positive = Field(32, description="Prompts per batch.")
    max_new_tokens: Positive = Field(8192, description="Bound on the tokens of a reply, thinking included.")


class Pair(Settings):
    """Two models that differ in one thing only; the report shows the difference between their differences."""

    positive: str = Field(description="Model in which the effect is expected.")
    negative: str = Field(description="Model in which it is not.")
    target: str = Field("gsm8k_target", description="Arm trained on effort-minimizing chains of thought.")
    control: str = Field("gsm8k_control", description="Arm trained on careful ones.")


class Mechanism(Settings):
    """Where refusal is decided and which heads carry it: activation caches, probes, refusal heads, ablations (paper, section 3)."""

    harmful: str = Field(description="Benchmark of requests that should be refused (measure misalignment).")
    harmless: str = Field(description="Benchmark of benign requests to tell them from (measure false_refusal).")
    positions: list[Position] | None = Field(
        None, description="Named token positions to read; all that the model's chat template has when absent."
    )
    neurons: bool = Field(
        True,
        description="Cache MLP neurons too; those of a large mixture of experts take tens of megabytes per prompt.",
    )
    batch_size: Positive = Field(32, description="Prompts per forward pass.")
    head_share: Share = Field(
        0.4, description="A refusal head shifts its attention on at least this share of harmful requests."
    )
    ablate: list[Name] = Field(
        [BASE], description="Variants on which heads are ablated and every head's effect is measured; none when empty."
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
    random_sets: int = Field(5, ge=0, description="Random sets per set of heads, with as many heads in each layer.")
    sweep_prompts: Positive = Field(
        32, description="Requests of each kind over which the effect of every single head is measured."
    )


class Study(Settings):
    """A whole study."""

    study: Name = Field(description="Name of the study; its artifacts lie under data/*/{study}/ and results/{study}/.")
    title: str = Field(description="Title of the report.")
    seeds: list[int] = Field(
        [0], min_length=1, description="Each seed is a replicate: organisms and fine-tunes are trained anew."
    )
    threads: Positive = Field(
        1,
        description="Threads of a model job; one each is fastest for the organisms. Tables are equal byte for byte only for equal threads.",
    )
    datasets: dict[Name, Dataset] = Field(min_length=1, description="Prepared datasets by name.")
    models: dict[Name, Model] = Field(min_length=1, description="Models by name.")
    variants: dict[Name, Variant] = Field({}, description="Fine-tuned variants by name; 'base' always exists.")
    finetune: Finetune = Field(Finetune(), description="Recipe of fine-tuning.")
    benchmarks: dict[Name, Benchmark] = Field(min_length=1, description="Prompt sets by name.")
    inference: Inference = Field(Inference(), description="Generation of replies.")
    endpoints: dict[Name, Endpoint] = Field({}, description="Language models as instruments, by name; none is needed.")
    judges: dict[Name, Judge] = Field(
        min_length=1, description="Judges by name; the first one is the report's main judge."
    )
    annotators: dict[Name, Annotator] = Field({}, description="Annotators of effort-minimizing patterns, by name.")
    rewrites: dict[Name, Rewrite] = Field({}, description="Datasets rewritten by a language model, by name.")
    injection: Injection | None = Field(None, description="Injection of patterns at inference; none when absent.")
    pairs: list[Pair] = Field([], description="Model pairs for difference-in-differences.")
    mechanism: Mechanism | None = Field(
        None, description="Analysis of activations and attention heads; skipped when absent."
    )
    forgetting: Forgetting | None = Field(
        None, description="Analysis of safety-critical neurons and of forgetting over training; skipped when absent."
    )

    @field_validator("variants")
    @classmethod
    def _base_is_taken(cls, variants: dict[str, Variant]) -> dict[str, Variant]:
        if BASE in variants:
            raise PydanticCustomError("variants", "'base' is the model before fine-tuning; give the arm another name")
        if INJECTED in variants:
            raise PydanticCustomError(
                "variants", "'injected' is the model with injected patterns; give the arm another name"
            )
        return variants

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        def known(key: str, name: str, among: Any, what: str) -> None:
            if name not in among:
                raise PydanticCustomError(
                    "reference",
                    "{key}: no {what} is called '{name}'; there are: {among}",
                    {"key": key, "what": what, "name": name, "among": ", ".join(among) or "none"},
                )

        for name, variant in self.variants.items():
            known(f"variants.{name}.dataset", variant.dataset, self.datasets, "dataset")
        for name, benchmark in self.benchmarks.items():
            known(f"benchmarks.{name}.dataset", benchmark.dataset, self.datasets, "dataset")
        for name, dataset in self.datasets.items():
            for i, source in enumerate(dataset.sources):
                if source.rewrite:
                    known(f"datasets.{name}.sources.{i}.rewrite", source.rewrite, self.rewrites, "rewrite")
        for name, annotator in self.annotators.items():
            if annotator.endpoint:
                known(f"annotators.{name}.endpoint", annotator.endpoint, self.endpoints, "endpoint")
        for name, rewrite in self.rewrites.items():
            known(f"rewrites.{name}.dataset", rewrite.dataset, self.datasets, "dataset")
            known(f"rewrites.{name}.endpoint", rewrite.endpoint, self.endpoints, "endpoint")
            known(f"rewrites.{name}.annotator", rewrite.annotator, self.annotators, "annotator")
        main = next(iter(self.judges))
        if self.judges[main].variants is not None:
            raise PydanticCustomError("judges", "'{main}' comes first, so it judges all variants", {"main": main})
        for name, judge in self.judges.items():
            if judge.endpoint:
                known(f"judges.{name}.endpoint", judge.endpoint, self.endpoints, "endpoint")
            for chosen in judge.variants or []:
                known(f"judges.{name}.variants", chosen, [BASE, *self.variants], "variant")
        for name, model in self.models.items():
            for i, chosen in enumerate(model.variants or []):
                known(f"models.{name}.variants.{i}", chosen, self.variants, "variant")
        for i, pair in enumerate(self.pairs):
            known(f"pairs.{i}.positive", pair.positive, self.models, "model")
            known(f"pairs.{i}.negative", pair.negative, self.models, "model")
            for side in (pair.positive, pair.negative):
                for arm in (pair.target, pair.control):
                    known(f"pairs.{i}", arm, self.variants_of(side), f"variant of model {side}")
        if self.mechanism is not None:
            known("mechanism.harmful", self.mechanism.harmful, self.measured("misalignment"), "misalignment benchmark")
            known(
                "mechanism.harmless", self.mechanism.harmless, self.measured("false_refusal"), "false_refusal benchmark"
            )
            for i, chosen in enumerate(self.mechanism.ablate):
                known(f"mechanism.ablate.{i}", chosen, [BASE, *self.variants], "variant")
        if self.forgetting is not None:
            known(
                "forgetting.harmful", self.forgetting.harmful, self.measured("misalignment"), "misalignment benchmark"
            )
            known("forgetting.task", self.forgetting.task, self.measured("accuracy"), "accuracy benchmark")
            known("forgetting.think", self.forgetting.think, self.inference.think, "think mode of 'inference'")
            for i, chosen in enumerate(self.forgetting.variants):
                known(f"forgetting.variants.{i}", chosen, self.variants, "variant")
        return self

    @property
    def has_patterns(self) -> bool:
        """Whether patterns are annotated, rewritten or injected anywhere."""
        return bool(self.annotators or self.rewrites or self.injection)

    def variants_of(self, model: str) -> list[str]:
        """The fine-tuned variants of a model."""
        chosen = self.models[model].variants
        return list(self.variants) if chosen is None else chosen

    def measured(self, *measures: str) -> list[str]:
        """The benchmarks with one of these measures; all of them when none is named."""
        return [name for name, benchmark in self.benchmarks.items() if not measures or benchmark.measure in measures]

    def seeds_of(self, model: str, variant: str) -> list[int]:
        """The replicates of a variant. A hub model before fine-tuning is the same in each, so it has only the first."""
        same = variant == BASE and self.models[model].hub is not None and self.inference.temperature == 0
        return self.seeds[:1] if same else self.seeds

    def finetune_of(self, variant: str) -> Finetune:
        """The recipe of one arm."""
        epochs = self.variants[variant].epochs
        return self.finetune.model_copy(update={"epochs": epochs}) if epochs else self.finetune


MESSAGES = {
    "extra_forbidden": "unknown key; workflow/config/README.md lists the known ones",
    "missing": "this key is required",
}


def load(mapping: dict[str, Any], name: str = "configuration") -> Study:
    """Check a mapping read from YAML.

    Raises:
        UserError: one line per wrong key, each with the key's path.
    """
    try:
        return Study.model_validate(mapping)
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_url=False):
            path = ".".join(str(part) for part in problem["loc"] if part != "[key]")
            message = MESSAGES.get(problem["type"], problem["msg"])
            if problem["type"] == "float_type" and isinstance(problem["input"], str):
                message += f"; YAML reads {problem['input']!r} as text, write it with a point as in 1.0e-5"
            lines.append(f"{name}: {path}: {message}" if path else f"{name}: {message}")
        raise UserError("\n".join(lines)) from None


def load_file(path: Path) -> Study:
    """Read and check a study's YAML file."""
    import yaml

    try:
        mapping = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give the path of a study's YAML file") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: is not valid YAML ({' '.join(str(error).split())})") from None
    return load(mapping, str(path))
