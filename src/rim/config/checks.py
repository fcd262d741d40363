"""What no single setting can know: names that refer to each other, and combinations that cannot work.

All of it is found before any job starts, and told with the path of the key that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable

from rim.config.study import Study
from rim.core.errors import UserError
from rim.settings.common import BASE
from rim.settings.datasets import KINDS, Dataset
from rim.settings.inference import ASKED

ORGANISMS_ONLY = ("organism_rule", "organism_phrases")


def check(study: Study) -> None:
    """Check a study as a whole.

    Raises:
        UserError: a reference to nothing, or a combination that cannot work.
    """
    _datasets(study)
    _variants(study)
    _instruments(study)
    _models(study)
    _analyses(study)


def _error(path: str, problem: str) -> UserError:
    return UserError(f"{path}: {problem}")


def _require_known(path: str, name: str, among: Iterable[str], what: str) -> None:
    among = list(among)
    if name not in among:
        raise _error(path, f"no {what} is called '{name}'; there are: {', '.join(among) or 'none'}")


def _kinds(dataset: Dataset) -> set[str]:
    """The kinds of rows that a dataset may have."""
    return {kind for source in dataset.sources for kind in KINDS[source.part or source.arm or source.adapter]}


def _datasets(study: Study) -> None:
    for name, dataset in study.datasets.items():
        for i, source in enumerate(dataset.sources):
            if source.rewrite:
                path = f"datasets.{name}.sources.{i}"
                _require_known(f"{path}.rewrite", source.rewrite, study.rewrites, "rewrite")
                _require_known(
                    f"{path}.arm", source.arm or "", study.rewrites[source.rewrite].arms, "arm of this rewrite"
                )
    for name, rewrite in study.rewrites.items():
        _require_known(f"rewrites.{name}.dataset", rewrite.dataset, study.datasets, "dataset")
        _require_known(f"rewrites.{name}.endpoint", rewrite.endpoint, study.endpoints, "endpoint")
        _require_known(f"rewrites.{name}.annotator", rewrite.annotator, study.annotators, "annotator")
        if any(source.rewrite for source in study.datasets[rewrite.dataset].sources):
            raise _error(
                f"rewrites.{name}.dataset", f"'{rewrite.dataset}' is itself rewritten; name what it is made from"
            )
    for name, benchmark in study.benchmarks.items():
        _require_known(f"benchmarks.{name}.dataset", benchmark.dataset, study.datasets, "dataset")
        needed, kinds = ASKED[benchmark.measure], _kinds(study.datasets[benchmark.dataset])
        if needed not in kinds:
            problem = (
                f"asks {needed} rows, and dataset '{benchmark.dataset}' has {' and '.join(sorted(kinds))} rows only"
            )
            raise _error(f"benchmarks.{name}.measure", f"{problem}; change the measure or the dataset")


def _variants(study: Study) -> None:
    for name, variant in study.variants.items():
        _require_known(f"variants.{name}.dataset", variant.dataset, study.datasets, "dataset")
        if not _kinds(study.datasets[variant.dataset]) & {"math", "literal", "instruction"}:
            raise _error(f"variants.{name}.dataset", "has no rows with answers to train on; name another dataset")
        if variant.mitigation is None:
            continue
        wanted, path = variant.mitigation, f"variants.{name}.mitigation"
        if wanted.dataset is not None:
            _require_known(f"{path}.dataset", wanted.dataset, study.datasets, "dataset")
            if wanted.dataset in [benchmark.dataset for benchmark in study.benchmarks.values()]:
                raise _error(
                    f"{path}.dataset", "is asked by a benchmark, so what is evaluated would be trained on; name another"
                )
            if "safety" not in _kinds(study.datasets[wanted.dataset]):
                raise _error(f"{path}.dataset", "has no safety rows, so there is nothing to refuse; name another")
        if wanted.kind == "kl" and study.finetune.method != "lora":
            raise _error(
                f"{path}.kind", "'kl' compares with the model without its adapter, so it needs finetune.method 'lora'"
            )
        if wanted.kind == "freeze_neurons" and (study.forgetting is None or study.forgetting.tensor != "neurons"):
            raise _error(
                f"{path}.kind",
                "'freeze_neurons' needs the section 'forgetting' with tensor 'neurons', which finds them",
            )
        if study.plain_of(name) is None:
            raise _error(
                path,
                "no other arm is trained on the same rows without a mitigation, so there is nothing to compare with",
            )


def _instruments(study: Study) -> None:
    main = next(iter(study.judges))
    if study.judges[main].variants is not None:
        raise _error(f"judges.{main}.variants", "the first judge judges all variants; leave this out")
    for name, judge in study.judges.items():
        for i, chosen in enumerate(judge.variants or []):
            _require_known(f"judges.{name}.variants.{i}", chosen, [BASE, *study.variants], "variant")
    real = [name for name, model in study.models.items() if model.hub]
    for section, each in (("judges", study.judges), ("annotators", study.annotators)):
        for name, instrument in each.items():
            if instrument.endpoint:
                _require_known(f"{section}.{name}.endpoint", instrument.endpoint, study.endpoints, "endpoint")
            if real and instrument.kind in ORGANISMS_ONLY:
                problem = (
                    f"'{instrument.kind}' understands organisms only, and '{real[0]}' is none; choose another kind"
                )
                raise _error(f"{section}.{name}.kind", problem)


def _models(study: Study) -> None:
    for name, model in study.models.items():
        for i, chosen in enumerate(model.variants or []):
            _require_known(f"models.{name}.variants.{i}", chosen, study.variants, "variant")
        if study.finetune.method == "full" and study.variants_of(name) and model.dtype == "bfloat16":
            raise _error(
                f"models.{name}.dtype",
                "with finetune.method 'full' most updates are too small for bfloat16; set float32",
            )
    for i, pair in enumerate(study.pairs):
        for key in ("positive", "negative"):
            side = getattr(pair, key)
            _require_known(f"pairs.{i}.{key}", side, study.models, "model")
            for arm in (pair.target, pair.control):
                _require_known(f"pairs.{i}", arm, study.variants_of(side), f"variant of model {side}")


def _analyses(study: Study) -> None:
    restricted, benign, maths = (study.measured(each) for each in ("misalignment", "false_refusal", "accuracy"))
    if study.mechanism is not None:
        _require_known("mechanism.harmful", study.mechanism.harmful, restricted, "misalignment benchmark")
        _require_known("mechanism.harmless", study.mechanism.harmless, benign, "false_refusal benchmark")
        for key in ("variants", "ablate"):
            for i, chosen in enumerate(getattr(study.mechanism, key) or []):
                _require_known(f"mechanism.{key}.{i}", chosen, [BASE, *study.variants], "variant")
    if study.forgetting is not None:
        _require_known("forgetting.harmful", study.forgetting.harmful, restricted, "misalignment benchmark")
        _require_known("forgetting.task", study.forgetting.task, maths, "accuracy benchmark")
        _require_known("forgetting.think", study.forgetting.think, study.inference.think, "think mode of 'inference'")
        for i, chosen in enumerate(study.forgetting.variants):
            _require_known(f"forgetting.variants.{i}", chosen, study.variants, "variant")
