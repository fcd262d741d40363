"""What no single setting can know: names that refer to each other or to the code, and combinations that cannot work.

All of it is found before any job starts, and told with the path of the key that is wrong, as many at once as do not follow
from each other. What a combination needs is asked of what it names, such as an adapter for its kinds of rows, so that nothing
is added here with a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from rim.config.choices import chosen
from rim.config.study import Study
from rim.core.errors import UserError
from rim.data.adapters import ADAPTERS, Published, Table
from rim.instruments import annotate, judges
from rim.instruments.classifiers import Classifier
from rim.instruments.llm.verbatim import places
from rim.instruments.rubrics import Question
from rim.instruments.rules import Rule
from rim.settings.common import BASE
from rim.settings.datasets import Source
from rim.settings.inference import ASKED
from rim.settings.instruments import Annotator, Judge
from rim.settings.models import Mitigation

Problems = Iterator[str]  # a line each, which begins with the path of a key


def check(study: Study) -> None:
    """Check a study as a whole.

    Raises:
        UserError: a line for each thing that is wrong, of the first sort of which there is any: names and keys, datasets
            without the rows that are asked for, other combinations that cannot work.
    """
    for part in (_names, _taken_from_themselves, _datasets, _combinations):
        if problems := list(part(study)):
            raise UserError("\n".join(problems))


def _names(study: Study) -> Problems:
    for path, choice, name in chosen(study):
        yield from _unknown(path, name, choice.names, choice.what, choice.otherwise)
    yield from _dataset_names(study)
    yield from _instrument_names(study)
    yield from _model_names(study)
    yield from _grafts(study)


def _combinations(study: Study) -> Problems:
    for name, variant in study.variants.items():
        if not _kinds(study, variant.dataset) & {"math", "literal", "instruction"}:
            yield f"variants.{name}.dataset: has no rows with answers to train on; name another dataset"
        if variant.mitigation is not None:
            yield from _mitigation(study, name, variant.mitigation)
    yield from _instruments(study)
    yield from _full_tuning(study)
    yield from _analyses(study)
    yield from _ablation(study)


def _unknown(path: str, name: str, among: Iterable[str], what: str, otherwise: str = "") -> Problems:
    """A problem if a name is not among those that there are, and what else may have been meant if it is like none of them."""
    among = list(among)
    if name not in among:
        near = get_close_matches(name, among, 1)
        hint = f"; did you mean '{near[0]}'?" if near else otherwise and f"; {otherwise}"
        yield f"{path}: no {what} is called '{name}'; there are: {', '.join(among) or 'none'}{hint}"


def _kinds(study: Study, dataset: str) -> set[str]:
    """The kinds of rows that a dataset may have."""
    return {kind for source in study.sources_of(dataset) for kind in ADAPTERS[source.adapter].kinds(source)}


def _dataset_names(study: Study) -> Problems:
    for name, dataset in study.datasets.items():
        for i, source in enumerate(dataset.sources):
            yield from _source(study, f"datasets.{name}.sources.{i}", source)
    for name, rewrite in study.rewrites.items():
        yield from _unknown(f"rewrites.{name}.dataset", rewrite.dataset, study.datasets, "dataset")
        yield from _unknown(f"rewrites.{name}.endpoint", rewrite.endpoint, study.endpoints, "endpoint")
        yield from _unknown(f"rewrites.{name}.annotator", rewrite.annotator, study.annotators, "annotator")
    for name, benchmark in study.benchmarks.items():
        yield from _unknown(f"benchmarks.{name}.dataset", benchmark.dataset, study.datasets, "dataset")


def _source(study: Study, path: str, source: Source) -> Problems:
    """What is wrong with a source whose adapter is known."""
    if source.adapter not in ADAPTERS:
        return
    adapter, fields = ADAPTERS[source.adapter], Source.model_fields
    given = [key for key in fields if key != "adapter" and getattr(source, key) != fields[key].default]
    for key in given:
        if key not in adapter.needs + adapter.takes:
            yield f"{path}.{key}: adapter '{source.adapter}' does not read it; leave it out or name another adapter"
    if not set(adapter.needs) <= set(given):
        needs = " and ".join(f"'{key}'" for key in adapter.needs)
        yield f"{path}: adapter '{source.adapter}' needs {needs}"
    elif source.rewrite:
        yield from _unknown(f"{path}.rewrite", source.rewrite, study.rewrites, "rewrite")
        if source.rewrite in study.rewrites:
            arms = study.rewrites[source.rewrite].arms
            yield from _unknown(f"{path}.arm", str(source.arm), arms, "arm of this rewrite")
    elif source.dataset:
        yield from _unknown(f"{path}.dataset", source.dataset, study.datasets, "dataset")
        if source.without is not None:
            yield from _unknown(f"{path}.without", source.without, study.annotators, "annotator")
    if isinstance(adapter, Published) and not (adapter.hub or source.path or source.hub):
        yield f"{path}: adapter '{source.adapter}' needs a local 'path'; workflow/docs/own-study.md says where to get it"
    if isinstance(adapter, Table) and not (source.path or source.hub):
        yield f"{path}: adapter 'table' needs the 'path' of a local file or the name of a dataset on the 'hub'"


def _taken_from_themselves(study: Study) -> Problems:
    """Datasets that would have to be there before they are made."""
    for name, rewrite in study.rewrites.items():
        if any(source.rewrite for source in study.datasets[rewrite.dataset].sources):
            yield f"rewrites.{name}.dataset: '{rewrite.dataset}' is itself rewritten; name what it is made from"
            return
    for name in study.datasets:
        taken, on_the_way = [name], set()
        while taken and name not in on_the_way:
            sources = [source for each in taken for source in study.datasets[each].sources]
            origins = [study.rewrites[each.rewrite].dataset if each.rewrite else each.dataset for each in sources]
            taken = [each for each in dict.fromkeys(origins) if each and each not in on_the_way]
            on_the_way.update(taken)
        if name in on_the_way:
            yield f"datasets.{name}.sources: it takes rows from itself; name the dataset that it is made from"


def _filters(study: Study) -> Problems:
    for name, benchmark in study.benchmarks.items():
        if study.is_filtered(benchmark.dataset):
            yield f"benchmarks.{name}.dataset: '{benchmark.dataset}' is filtered by an annotator, who reads the replies to benchmarks too; name the dataset that it is made from"
    for name, dataset in study.datasets.items():
        for i, source in enumerate(dataset.sources):
            path = f"datasets.{name}.sources.{i}.without"
            if source.without is None or source.dataset is None:
                continue
            if study.is_filtered(source.dataset):
                yield f"{path}: '{source.dataset}' is filtered itself; name the dataset that it is made from"
            if study.annotators[source.without].rows is not None:
                yield f"{path}: annotator '{source.without}' reads some rows only (annotators.{source.without}.rows); name one that reads them all"


def _datasets(study: Study) -> Problems:
    yield from _filters(study)
    for name, benchmark in study.benchmarks.items():
        needed, kinds = ASKED[benchmark.measure], _kinds(study, benchmark.dataset)
        if not kinds & set(needed):
            has = f"dataset '{benchmark.dataset}' has {' and '.join(sorted(kinds))} rows only"
            asks = " or ".join(needed)
            yield f"benchmarks.{name}.measure: asks {asks} rows, and {has}; change the measure or the dataset"


BLOCK = 8  # torch multiplies the experts of a mixture in blocks of 16 bytes, eight numbers in bfloat16


def _grafts(study: Study) -> Problems:
    for name, model in study.models.items():
        if model.graft is None:
            continue
        path = f"models.{name}.graft"
        organisms = {other: each.organism for other, each in study.models.items() if each.organism}
        yield from _unknown(f"{path}.onto", model.graft.onto, organisms, "organism")
        onto = organisms.get(model.graft.onto)
        if onto and onto.experts and (onto.intermediate // 2 + model.graft.neurons) % BLOCK:
            yield f"{path}.neurons: an expert would have {onto.intermediate // 2 + model.graft.neurons} neurons; make it a multiple of {BLOCK}, by which experts are computed"
        for i, layer in enumerate(model.graft.layers or []):
            if onto and layer >= onto.layers:
                yield f"{path}.layers.{i}: there is no layer {layer}; '{model.graft.onto}' has layers 0 to {onto.layers - 1}"


def _model_names(study: Study) -> Problems:
    for name, variant in study.variants.items():
        yield from _unknown(f"variants.{name}.dataset", variant.dataset, study.datasets, "dataset")
        if variant.mitigation and variant.mitigation.dataset is not None:
            path = f"variants.{name}.mitigation.dataset"
            yield from _unknown(path, variant.mitigation.dataset, study.datasets, "dataset")
    for name, model in study.models.items():
        yield from _each_unknown(f"models.{name}.variants", model.variants, study.variants)
        for key in ("parameters", "active") if model.trained_here else ():
            if getattr(model, key) is not None:
                yield f"models.{name}.{key}: sizes the jobs of a hub model, and '{name}' is an organism; leave this out"
    for i, pair in enumerate(study.pairs):
        modes = [study.inference_of(side).think for side in (pair.positive, pair.negative) if side in study.models]
        if any(set(each) != set(modes[0]) for each in modes):
            yield f"pairs.{i}: its models are not asked in the same think modes; set the same 'think' for both"
        for key, side in (("positive", pair.positive), ("negative", pair.negative)):
            yield from _unknown(f"pairs.{i}.{key}", side, study.models, "model")
            for arm in (pair.target, pair.control) if side in study.models else ():
                yield from _unknown(f"pairs.{i}", arm, study.variants_of(side), f"variant of model {side}")


def _each_unknown(path: str, names: list[str] | None, among: Iterable[str]) -> Problems:
    for i, name in enumerate(names or []):
        yield from _unknown(f"{path}.{i}", name, among, "variant")


def _mitigation(study: Study, variant: str, wanted: Mitigation) -> Problems:
    path = f"variants.{variant}.mitigation"
    if wanted.dataset in [benchmark.dataset for benchmark in study.benchmarks.values()]:
        yield f"{path}.dataset: is asked by a benchmark, so what is evaluated would be trained on; name another"
    if wanted.dataset is not None and "safety" not in _kinds(study, wanted.dataset):
        yield f"{path}.dataset: has no safety rows, so there is nothing to refuse; name another"
    if wanted.kind == "kl" and study.finetune.method != "lora":
        yield f"{path}.kind: 'kl' compares with the model without its adapter, so it needs finetune.method 'lora'"
    if wanted.kind == "freeze_neurons" and (study.forgetting is None or study.forgetting.neuron_type != "neurons"):
        yield f"{path}.kind: 'freeze_neurons' needs the section 'forgetting' with neuron_type 'neurons', which finds them"
    if study.plain_of(variant) is None:
        yield f"{path}: no other arm is trained on the same rows without a mitigation, so there is nothing to compare with"


def _instrument_names(study: Study) -> Problems:
    for name, judge in study.judges.items():
        yield from _each_unknown(f"judges.{name}.variants", judge.variants, [BASE, *study.variants])
        if kind := judges.kinds().get(judge.kind):
            yield from _asks(study, f"judges.{name}", judge, isinstance(kind, Rule))
            yield from _told(f"judges.{name}", judge, kind)
    for name, annotator in study.annotators.items():
        if own := annotate.KINDS.get(annotator.kind):
            yield from _asks(study, f"annotators.{name}", annotator, isinstance(own, annotate.Rule))


def _asks(study: Study, path: str, instrument: Judge | Annotator, is_rule: bool) -> Problems:
    """What is wrong with the keys of an instrument about the language model that it asks, or as a rule does not ask."""
    fields = type(instrument).model_fields
    if is_rule:
        for key in ("endpoint", "policy", "cot"):
            if key in fields and getattr(instrument, key) != fields[key].default:
                yield f"{path}: kind '{instrument.kind}' asks no language model, so it has no '{key}'"
    elif instrument.endpoint is None:
        yield f"{path}: kind '{instrument.kind}' needs an 'endpoint'"
    else:
        yield from _unknown(f"{path}.endpoint", instrument.endpoint, study.endpoints, "endpoint")


def _told(path: str, judge: Judge, kind: judges.Kind) -> Problems:
    """What is wrong with the keys that say in what words a judge is asked."""
    if not isinstance(kind, Question):
        if judge.wording != Judge.model_fields["wording"].default:
            yield f"{path}: kind '{judge.kind}' is not asked in words of ours, so it has no 'wording'"
        if judge.policy is not None and isinstance(kind, Classifier):
            yield f"{path}: kind '{judge.kind}' has a policy of its own, so it has no 'policy'"
    elif judge.wording not in kind.tasks:
        yield f"{path}.wording: kind '{judge.kind}' has {', '.join(kind.tasks)} only"
    wanted, given = kind.places if isinstance(kind, Classifier) else None, places(judge.template or "")
    if wanted is None:
        if judge.template is not None:
            yield f"{path}: kind '{judge.kind}' needs no words from elsewhere, so it has no 'template'"
    elif not set(wanted) <= given:
        both = " and ".join(f"{{{each}}}" for each in wanted)
        has = ", ".join(f"{{{each}}}" for each in sorted(given)) or "none"
        needs = f"kind '{judge.kind}' needs the published template, word for word, in which {both} are to be filled"
        yield f"{path}.template: {needs}; it has {has}"
    elif left := sorted(given - set(wanted)):
        yield f"{path}.template: nothing fills {{{left[0]}}}; take the published template for replies without a context"


def _instruments(study: Study) -> Problems:
    main = next(iter(study.judges))
    first = study.judges[main].kind
    if not judges.says_refusals(judges.kinds()[first]):
        yield f"judges.{main}.kind: '{first}' does not say whether a reply refuses, which the first judge must; put another first"
    if study.judges[main].variants is not None:
        yield f"judges.{main}.variants: the first judge judges all variants; leave this out"
    real = next((name for name, model in study.models.items() if model.hub), None)
    rules = {name for name, kind in judges.kinds().items() if isinstance(kind, Rule) and kind.organisms_only}
    finders = {name for name, own in annotate.KINDS.items() if isinstance(own, annotate.Rule) and own.organisms_only}
    used = [(f"judges.{name}", each.kind) for name, each in study.judges.items() if each.kind in rules]
    used += [(f"annotators.{name}", each.kind) for name, each in study.annotators.items() if each.kind in finders]
    for path, kind in used if real else []:
        yield f"{path}.kind: '{kind}' understands organisms only, and '{real}' is none; choose another kind"


def _full_tuning(study: Study) -> Problems:
    for name, model in study.models.items():
        if study.finetune.method == "full" and study.variants_of(name) and model.dtype == "bfloat16":
            yield f"models.{name}.dtype: with finetune.method 'full' most updates are too small for bfloat16; set float32"


def _analyses(study: Study) -> Problems:
    restricted, benign, maths = (study.measured(each) for each in ("misalignment", "false_refusal", "accuracy"))
    if study.mechanism is not None:
        yield from _unknown("mechanism.harmful", study.mechanism.harmful, restricted, "misalignment benchmark")
        yield from _unknown("mechanism.harmless", study.mechanism.harmless, benign, "false_refusal benchmark")
        measured_by = (study.mechanism.harmful, study.mechanism.harmless)
        yield from _ablated_benchmarks(study, "mechanism", study.mechanism.benchmarks, measured_by)
        for key in ("variants", "ablate"):
            yield from _each_unknown(f"mechanism.{key}", getattr(study.mechanism, key), [BASE, *study.variants])
    if study.forgetting is not None:
        yield from _unknown("forgetting.harmful", study.forgetting.harmful, restricted, "misalignment benchmark")
        yield from _unknown("forgetting.task", study.forgetting.task, maths, "accuracy benchmark")
        yield from _ablated_benchmarks(study, "forgetting", study.forgetting.benchmarks, [study.forgetting.harmful])
        if wanted := study.forgetting.think:
            for name in study.models:
                modes = study.inference_of(name).think
                yield from _unknown("forgetting.think", wanted, modes, f"think mode of model '{name}'")
        yield from _each_unknown("forgetting.variants", study.forgetting.variants, study.variants)


def _ablated_benchmarks(study: Study, path: str, only: list[str] | None, measured_by: Iterable[str]) -> Problems:
    """Benchmarks by which the effects of ablations are measured must be among those that are asked there."""
    for i, name in enumerate(only or []):
        yield from _unknown(f"{path}.benchmarks.{i}", name, study.benchmarks, "benchmark")
    for name in measured_by:
        if only is not None and name not in only:
            yield f"{path}.benchmarks: lacks '{name}', by which ablations are measured; add it"


def _ablation(study: Study) -> Problems:
    wanted = study.mechanism
    if wanted is None or wanted.variants is None:
        return
    default = "" if "ablate" in wanted.model_fields_set else " (the default)"
    for i, name in enumerate(wanted.ablate):
        if name not in wanted.variants:
            cure = "add it there, or leave it out here ([] ablates nothing)"
            yield f"mechanism.ablate.{i}: '{name}'{default} is not among mechanism.variants, so its heads are not found; {cure}"
