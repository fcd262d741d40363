"""Every setting of a study, typed, with its meaning and default.

`load` turns the mapping Snakemake read from YAML into a `Study`, or raises a `UserError` that names the path of each
offending key. The published schema and the tables of workflow/config/README.md are made from these types
(`rim.config_reference`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from rim.errors import UserError
from rim.settings.common import BASE, INJECTED, Name, Positive, Settings
from rim.settings.datasets import Dataset
from rim.settings.forgetting import Forgetting
from rim.settings.hardware import Hardware
from rim.settings.inference import Benchmark, Inference
from rim.settings.instruments import Annotator, Endpoint, Injection, Judge, Rewrite
from rim.settings.mechanism import Mechanism
from rim.settings.models import Finetune, Mitigation, Model, Variant


class Pair(Settings):
    """Two models that differ in one thing only; the report shows the difference between their differences."""

    positive: str = Field(description="Model in which the effect is expected.")
    negative: str = Field(description="Model in which it is not.")
    target: str = Field("gsm8k_target", description="Arm trained on effort-minimizing chains of thought.")
    control: str = Field("gsm8k_control", description="Arm trained on careful ones.")


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
    hardware: Hardware = Field(Hardware(), exclude=True, description="GPUs that jobs get, which size them.")

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
            if variant.mitigation:
                self._check_mitigation(name, variant.mitigation, known)
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
            for key in ("variants", "ablate"):
                for i, chosen in enumerate(getattr(self.mechanism, key) or []):
                    known(f"mechanism.{key}.{i}", chosen, [BASE, *self.variants], "variant")
        if self.forgetting is not None:
            known(
                "forgetting.harmful", self.forgetting.harmful, self.measured("misalignment"), "misalignment benchmark"
            )
            known("forgetting.task", self.forgetting.task, self.measured("accuracy"), "accuracy benchmark")
            known("forgetting.think", self.forgetting.think, self.inference.think, "think mode of 'inference'")
            for i, chosen in enumerate(self.forgetting.variants):
                known(f"forgetting.variants.{i}", chosen, self.variants, "variant")
        return self

    def _check_mitigation(self, name: str, wanted: Mitigation, known: Callable[[str, str, Any, str], None]) -> None:
        path, problem = f"variants.{name}.mitigation", ""
        if wanted.dataset is not None:
            known(f"{path}.dataset", wanted.dataset, self.datasets, "dataset")
            if wanted.dataset in [benchmark.dataset for benchmark in self.benchmarks.values()]:
                problem = "dataset: is asked by a benchmark, so what is evaluated would be trained on; name another"
        if wanted.kind == "kl" and self.finetune.method != "lora":
            problem = "kind: 'kl' compares with the model without its adapter, so it needs finetune.method 'lora'"
        if wanted.kind == "freeze_neurons" and (self.forgetting is None or self.forgetting.tensor != "neurons"):
            problem = "kind: 'freeze_neurons' needs the section 'forgetting' with tensor 'neurons', which finds them"
        if self.plain_of(name) is None:
            problem = (
                "no other arm is trained on the same rows without a mitigation, so there is nothing to compare with"
            )
        if problem:
            raise PydanticCustomError("mitigation", "{path}: {problem}", {"path": path, "problem": problem})

    def plain_of(self, variant: str) -> str | None:
        """The arm that a mitigated one differs from in its mitigation only; None for one without."""
        own = self.variants.get(variant)
        if own is None or own.mitigation is None:
            return None
        alike = own.model_dump(exclude={"mitigation", "label"})
        return next(
            (
                name
                for name, other in self.variants.items()
                if other.mitigation is None and other.model_dump(exclude={"mitigation", "label"}) == alike
            ),
            None,
        )

    @property
    def has_mitigations(self) -> bool:
        """Whether some model has an arm with a mitigation."""
        return any(self.variants[name].mitigation for model in self.models for name in self.variants_of(model))

    @property
    def has_patterns(self) -> bool:
        """Whether patterns are annotated, rewritten or injected anywhere."""
        return bool(self.annotators or self.rewrites or self.injection)

    @property
    def uses_vllm(self) -> bool:
        """Whether any model is served by vLLM."""
        return any(self.inference_of(model).backend == "vllm" for model in self.models)

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

    def inference_of(self, model: str) -> Inference:
        """How a model generates."""
        backend = self.models[model].backend
        return self.inference.model_copy(update={"backend": backend}) if backend else self.inference

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
