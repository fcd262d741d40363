"""Every setting of a study, typed, with its meaning and default.

The published schema and the tables of workflow/config/README.md are made from these types (`rim.config.reference`).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, field_validator
from pydantic_core import PydanticCustomError

from rim.settings.common import BASE, COST, Name, Positive, Settings, Think
from rim.settings.datasets import Dataset, Source
from rim.settings.forgetting import Forgetting
from rim.settings.hardware import Hardware
from rim.settings.inference import Benchmark, Inference
from rim.settings.instruments import Annotator, Endpoint, Injection, Judge, Rewrite
from rim.settings.mechanism import Mechanism
from rim.settings.models import Finetune, Graft, Model, Organism, Variant


class Pair(Settings):
    """Two models that differ in one thing only; the report shows the difference between their differences."""

    positive: str = Field(description="Model in which the effect is expected.")
    negative: str = Field(description="Model in which it is not.")
    target: str = Field("gsm8k_target", description="Arm trained on effort-minimizing chains of thought.")
    control: str = Field("gsm8k_control", description="Arm trained on careful ones.")


def _not_the_folder_of_local_files(study: str) -> str:
    if study == "raw":
        raise PydanticCustomError("reserved", "data/raw holds local files; choose another name")
    return study


class Study(Settings):
    """A whole study."""

    study: Annotated[Name, AfterValidator(_not_the_folder_of_local_files)] = Field(
        description="Name of the study; its artifacts lie under data/{study}/ and results/{study}/."
    )
    title: str = Field(description="Title of the report.")
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        [0], min_length=1, description="Each seed is a replicate: organisms and fine-tunes are trained anew."
    )
    threads: Annotated[Positive, COST] = Field(
        1,
        description="Threads of a model job; one each is fastest for the organisms. Tables are equal byte for byte only for equal threads, on one kind of processor.",
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
    hardware: Annotated[Hardware, COST] = Field(Hardware(), description="GPUs that jobs get, which size them.")

    @field_validator("variants")
    @classmethod
    def _base_is_taken(cls, variants: dict[str, Variant]) -> dict[str, Variant]:
        if BASE in variants:
            raise PydanticCustomError("variants", "'base' is the model before fine-tuning; give the arm another name")
        return variants

    def plain_of(self, variant: str) -> str | None:
        """The arm that a mitigated one differs from in its mitigation only, or in the filter of its rows; None for one without."""
        own = self.variants.get(variant)
        if own is None:
            return None
        whole = own.dataset if own.mitigation else self._unfiltered(own.dataset)
        alike = own.model_dump(exclude={"mitigation", "label"}) | {"dataset": whole}
        return next(
            (
                name
                for name, other in self.variants.items()
                if name != variant
                and other.mitigation is None
                and whole is not None
                and other.model_dump(exclude={"mitigation", "label"}) == alike
            ),
            None,
        )

    def _unfiltered(self, dataset: str) -> str | None:
        """The dataset that one takes all rows of but those with patterns."""
        first, *others = self.datasets[dataset].sources
        return first.dataset if first.without and first.share is None and not others else None

    @property
    def compared_arms(self) -> list[tuple[str, str]]:
        """The arms, (target, control), that are trained on the same problems with and without effort-minimizing patterns."""
        pairs = [(pair.target, pair.control) for pair in self.pairs] or [("gsm8k_target", "gsm8k_control")]
        return [pair for pair in dict.fromkeys(pairs) if set(pair) <= set(self.variants)]

    @property
    def doses(self) -> dict[str, tuple[str, float]]:
        """Arms -> the control arm, and the share of its rows that are in their place the target's; empty without mixtures.

        A mixture takes a share of the target's dataset, and of the control's what is left.
        """
        found: dict[str, tuple[str, float]] = {}
        for target, control in self.compared_arms:
            parts = [self.variants[arm].dataset for arm in (target, control)]
            mixed = {
                name: (control, share)
                for name, variant in self.variants.items()
                if self._alike(name, control) and (share := self._mixed(variant.dataset, parts))
            }
            found |= {**mixed, target: (control, 1.0)} if mixed else {}
        return found

    def _alike(self, first: str, second: str) -> bool:
        """Whether two arms are trained in the same way, on whatever rows."""
        about_rows = {"dataset", "label"}
        return self.variants[first].model_dump(exclude=about_rows) == self.variants[second].model_dump(
            exclude=about_rows
        )

    def _mixed(self, dataset: str, parts: list[str]) -> float | None:
        """The share of the first of two datasets in one that takes it from there, and what is left from the second."""
        sources = self.datasets[dataset].sources
        plain = [source.dataset for source in sources] == parts and all(source.without is None for source in sources)
        return sources[0].share if plain and sources[1].share is None else None

    def sources_of(self, dataset: str) -> list[Source]:
        """The sources of a dataset, those of another dataset in place of one that takes its rows."""
        own = self.datasets[dataset].sources
        return [each for source in own for each in (self.sources_of(source.dataset) if source.dataset else [source])]

    def is_filtered(self, dataset: str) -> bool:
        """Whether what an annotator says decides which rows a dataset has."""
        for source in self.datasets[dataset].sources:
            origin = self.rewrites[source.rewrite].dataset if source.rewrite else source.dataset
            if source.without is not None or (origin is not None and self.is_filtered(origin)):
                return True
        return False

    @property
    def annotated_datasets(self) -> list[str]:
        """The datasets whose chains of thought are annotated: what is trained on, and what is filtered by that."""
        sources = [source for dataset in self.datasets.values() for source in dataset.sources]
        filtered = [str(source.dataset) for source in sources if source.without is not None]
        names = [*(variant.dataset for variant in self.variants.values()), *filtered]
        return [name for name in dict.fromkeys(names) if not self.is_filtered(name)]

    @property
    def has_mitigations(self) -> bool:
        """Whether some model has an arm with a mitigation, or with filtered rows beside one with all of them."""
        return any(self.plain_of(name) for model in self.models for name in self.variants_of(model))

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

    def organism_of(self, model: str) -> Organism | None:
        """The recipe of an organism, or of the one that it is grafted onto; None for a hub model."""
        graft = self.models[model].graft
        return self.models[graft.onto].organism if graft else self.models[model].organism

    @property
    def grafts(self) -> dict[str, Graft]:
        """The grafts of the study, by model."""
        return {name: model.graft for name, model in self.models.items() if model.graft}

    def measured(self, *measures: str) -> list[str]:
        """The benchmarks with one of these measures; all of them when none is named."""
        return [name for name, benchmark in self.benchmarks.items() if not measures or benchmark.measure in measures]

    def seeds_of(self, model: str, variant: str) -> list[int]:
        """The replicates of a variant. A hub model before fine-tuning is the same in each, so it has only the first."""
        same = variant == BASE and self.models[model].hub is not None and self.inference.temperature == 0
        return self.seeds[:1] if same else self.seeds

    def inference_of(self, model: str) -> Inference:
        """How a model generates."""
        own = {"backend": self.models[model].backend, "think": self.models[model].think}
        return self.inference.model_copy(update={name: value for name, value in own.items() if value})

    @property
    def modes(self) -> list[Think]:
        """The think modes that any model runs."""
        return list(dict.fromkeys(mode for model in self.models for mode in self.inference_of(model).think))

    def forgetting_mode(self, model: str) -> Think:
        """The think mode in which forgetting is measured."""
        asked = self.inference_of(model).think
        if self.forgetting and self.forgetting.think:
            return self.forgetting.think
        order: list[Think] = ["off", "plain", "on"]
        return next(mode for mode in order if mode in asked)

    def finetune_of(self, variant: str) -> Finetune:
        """The recipe of one arm."""
        epochs = self.variants[variant].epochs
        return self.finetune.model_copy(update={"epochs": epochs}) if epochs else self.finetune
