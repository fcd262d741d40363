"""Are the models there and whole, and can they do what the study asks: seen from their small files, no weights loaded."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from rim.config import runs
from rim.config.study import Study
from rim.core.errors import UserError
from rim.data.organism.tokenizer import chat_template
from rim.models import headers
from rim.models.chat import cannot_ask
from rim.models.families import FAMILIES, UNREADABLE, UNSERVED
from rim.models.formats import ChatFormat, read_format
from rim.preflight import landmarks
from rim.preflight.endpoints import asked_in_chat, must_ask
from rim.preflight.findings import Findings, error, warning
from rim.preflight.model_files import Named, Seen, look_at
from rim.preflight.templates import RESERVED, Template
from rim.preflight.todo import Todo, job_of
from rim.settings.common import Think
from rim.settings.models import Model
from rim.workflow.workload import PROMPT

TOGETHER = 32  # models that the hub is asked for at a time
INSIDE = {  # rules that look into a model, for which its family needs an adapter -> the section that asks for them
    "cache_activations": "mechanism",
    "measure_head_effects": "mechanism",
    "ablate_heads": "mechanism",
    "find_safety_neurons": "forgetting",
    "ablate_neurons": "forgetting",
    "measure_gradients": "forgetting",
    "measure_checkpoints": "forgetting",
}


def findings(study: Study, todo: Todo) -> Findings:
    """What is wrong with the models that jobs have still to load."""
    for name, model in study.models.items():
        if model.hub is not None and not model.hub.strip():
            yield error(f"models.{name}.hub", "is empty; name a model of the hub, or the folder of one")
        if organism := study.organism_of(name):
            template = Template(chat_template(organism.thinks), {}, model.prompt)
            yield from _chat(f"models.{name}", model, study.inference_of(name).think, template)
    named = list(_named(study, todo))
    with ThreadPoolExecutor(TOGETHER) as together:
        looked_at = list(together.map(look_at, named))
    silent = [each.name for each, (found, _) in zip(named, looked_at, strict=True) if found is None]
    for each, (found, seen) in zip(named, looked_at, strict=True):
        yield from found or []
        if seen and seen.template is None and each.chat:
            advice = "use the instruction-tuned release of this model"
            yield error(each.path, f"its tokenizer has no chat template; {advice}")
        if seen and each.model:
            yield from _fits(study, each.model, seen, todo)
    if silent:
        wrong = (
            f"neither a folder here nor to be asked for (the hub is not in reach), so not checked: {', '.join(silent)}"
        )
        bare = [name for name in silent if "/" not in name]
        form = f", where names are organisation/name, unlike {', '.join(bare)}" if bare else ""
        yield warning("models", f"{wrong}; copy the folder there, or let the jobs reach the hub{form}")
    yield from _engine(study, todo)
    yield from _heads(study)


def _named(study: Study, todo: Todo) -> Iterator[Named]:
    """The models that have still to be fetched or loaded."""
    jobs = runs.model_jobs(study)
    for name, model in study.models.items():
        fetch = todo("fetch_model", name)
        loaded = any(todo(rule, job_of(run)) for rule, each in jobs.items() for run in each if run[0] == name)
        if model.hub and model.hub.strip() and (fetch or loaded):
            was_folder = _was_folder(Path("data", study.study, "models", f"{name}.json"), model.hub)
            yield Named(f"models.{name}.hub", model.hub, model.revision, name, fetch, was_folder)
    for name, endpoint in study.endpoints.items():
        if endpoint.kind == "transformers" and must_ask(study, name, todo) is not None:
            chat = asked_in_chat(study, name)
            yield Named(f"endpoints.{name}.model", endpoint.model, None, None, fetch=False, chat=chat)


def _was_folder(manifest: Path, hub: str) -> bool:
    """Whether a model was a folder when the study took it up, which kept what it held then (`rim.models.hub.fetch`)."""
    try:
        kept = headers.read_json(manifest)
    except UserError:
        return False
    return kept.get("hub") == hub and kept.get("content") is not None


def _fits(study: Study, name: str, seen: Seen, todo: Todo) -> Findings:
    """What of the study a model cannot do."""
    path = f"models.{name}"
    jobs = runs.model_jobs(study).items()
    due = {rule for rule, each in jobs if any(todo(rule, job_of(run)) for run in each if run[0] == name)}
    inside = [section for rule, section in INSIDE.items() if rule in due]
    if seen.family not in FAMILIES:
        yield from _family(f"{path}.hub", seen.family, inside)
    if study.inference_of(name).backend == "vllm" and seen.family in UNSERVED:
        wrong = f"vLLM {UNSERVED[seen.family]} with {seen.family}"
        yield error(f"{path}.backend", f"{wrong}; set 'backend: transformers' for this model")
    if seen.template:
        think, template = study.inference_of(name).think, replace(seen.template, told=study.models[name].prompt)
        problems = list(_chat(path, study.models[name], think, template))
        yield from problems
        if all(each.level != "error" for each in problems):
            yield from _written(study, name, seen, template, due)
    yield from _length(study, name, seen.positions)


def _written(study: Study, name: str, seen: Seen, template: Template, due: set[str]) -> Findings:
    """What the texts that a model writes and reads lack for the rules that are due."""
    path, think = f"models.{name}", study.inference_of(name).think
    if seen.endless and "finetune_model" in due:
        yield error(f"{path}.hub", f"{seen.endless}; or leave its variants out")
    if not seen.tokenizer or not study.mechanism:
        return
    if any(run[0] == name for run in runs.head_runs(study)) and any(INSIDE.get(rule) == "mechanism" for rule in due):
        yield from landmarks.findings(path, seen.tokenizer, template, think)
    if "cache_activations" in due and study.models[name].think_switch == "template":
        yield from landmarks.read(path, seen.tokenizer, template, think, study.mechanism.positions)


def _family(path: str, family: str | None, inside: list[str]) -> Findings:
    """Why a model of a family without an adapter cannot be loaded, or looked `inside` of, as sections ask."""
    sections = " and ".join(f"'{section}'" for section in dict.fromkeys(inside))
    if wrong := not_loaded(family):
        yield error(path, wrong)
    elif inside and family in UNREADABLE:
        needs = f"its family '{family}' cannot be analysed, as {sections} asks: {UNREADABLE[family]}"
        yield error(path, f"{needs}; leave {sections} out, or take a model of another family")
    elif inside:
        needs = f"its family '{family}' has no adapter, which {sections} needs; there are: {', '.join(FAMILIES)}"
        yield error(path, f"{needs}; leave {sections} out, or add one to src/rim/models/families.py")


def not_loaded(family: str | None) -> str | None:
    """Why no model of a family can be loaded; None where it can. Asking takes seconds where the family has no adapter."""
    if family in FAMILIES:
        return None
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return None
    named = f"its family '{family}'" if family else "its config.json names no family (model_type), and so it"
    return (
        f"{named} is no language model that transformers {transformers.__version__} loads by itself; take a model that reads "
        "text alone and needs no code of its own"
    )


def _chat(path: str, model: Model, think: list[Think], template: Template) -> Findings:
    """Whether a chat template can be rendered, and has the think modes in which its model is asked."""
    if taken := sorted(RESERVED & template.told.arguments.keys()):
        yield error(
            f"{path}.prompt.arguments", f"'{taken[0]}' is what a template is told by the workflow; leave it out"
        )
        return
    try:
        found = read_format(template)
    except UserError as problem:
        yield error(f"{path}.hub", str(problem))
        return
    yield from _told(f"{path}.prompt.arguments", found, template)
    if wrong := cannot_ask(found, think, model.think_switch):
        yield error(f"{path}.think", wrong)
    elif model.think_switch == "template":
        prompts = [found.modes[mode].prompt for mode in think]
        if same := [mode for i, mode in enumerate(think) if prompts[i] in prompts[:i]]:
            wrong = f"'{same[0]}' is the same prompt as another of its modes, so all is asked twice; leave it out"
            yield warning(f"{path}.think", wrong)


def _told(path: str, found: ChatFormat, template: Template) -> Findings:
    """Arguments that a template is told and does not mention, or that change nothing in its prompts."""
    for name in template.told.arguments:
        if name in found.switching:
            yield error(path, f"'{name}' is what switches thinking in its chat template; leave it out and set 'think'")
        elif _heeds(template, name, found):
            continue
        elif name not in template.arguments:
            known = [each for each in template.arguments if each not in found.switching]
            yield error(path, f"its chat template mentions no '{name}'; it mentions: {', '.join(known) or 'none'}")
        else:
            words = ", ".join(template.values(name))
            compared = f" (its chat template compares it with {words})" if words else ""
            yield warning(path, f"'{name}' changes nothing in a prompt{compared}; leave it out, or correct its value")


def _heeds(template: Template, name: str, found: ChatFormat) -> bool:
    """Whether a template writes another prompt, or none, without an argument that it is told."""
    others = {each: value for each, value in template.told.arguments.items() if each != name}
    try:
        return (
            read_format(replace(template, told=template.told.model_copy(update={"arguments": others}))).modes
            != found.modes
        )
    except UserError:
        return True


def _length(study: Study, name: str, positions: int | None) -> Findings:
    """Bounds on replies that leave no room for a prompt within the positions that a model was made for."""
    bounds = {"inference.max_new_tokens": study.inference.max_new_tokens}
    for key, benchmark in study.benchmarks.items():
        if benchmark.max_new_tokens:
            bounds[f"benchmarks.{key}.max_new_tokens"] = benchmark.max_new_tokens
    for path, bound in bounds.items() if positions else ():
        if bound + PROMPT > (positions or 0):
            room = f"model '{name}' has {positions} positions for prompt and reply"
            yield warning(
                path, f"{bound} tokens are more than there is room for: {room}; lower it, or expect nonsense beyond"
            )


def _engine(study: Study, todo: Todo) -> Findings:
    generating = any(todo("generate_replies", job_of(run)) for run in runs.all_runs(study))
    if study.uses_vllm and generating and find_spec("vllm") is None:
        advice = "install it as workflow/docs/engines.md says, or run with --sdm conda"
        yield warning("inference.backend", f"vllm is not installed in this environment; {advice}")


def _heads(study: Study) -> Findings:
    """An analysis of heads that has none to look at, or does not read where it looks."""
    if study.mechanism is None:
        return
    if runs.head_runs(study):
        read = study.mechanism.positions
        if read is not None and (lacking := [name for name in landmarks.OF_HEADS if name not in read]):
            yield error("mechanism.positions", f"heads are looked for at {', '.join(lacking)}, too; add that")
        return
    why = "no model is asked both on and off by its own template"
    yield warning(
        "mechanism",
        f"{why}, so no heads are looked for or ablated, and only probes come out; see workflow/docs/mechanism.md",
    )
