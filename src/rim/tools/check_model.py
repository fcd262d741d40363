"""Say what a model is to this workflow before a study names it: how it is asked, how its replies are parted, what can be analysed.

Only its configuration, tokenizer and chat template are read, from a folder or from the hub. With `--weights` it is loaded, in
float32: its replies to three harmless requests are shown, and the activations that analyses read are compared with those
of plain PyTorch hooks. The exit status is 1 when a study of it could not run, or what is read is not the model's own.

    rim check-model Qwen/Qwen3-0.6B
    rim check-model models/mine --weights
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rim.models.formats import ChatFormat
    from rim.preflight.model_files import Seen
    from rim.preflight.templates import Template
    from rim.settings.common import Think

SHOWN = 400  # characters of a prompt


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="name on the hub, or folder, of an instruction-tuned model")
    parser.add_argument("--revision", help="revision on the hub")
    parser.add_argument(
        "--weights", action="store_true", help="load it too: replies, and activations against plain hooks"
    )


def run(arguments: Namespace) -> int:
    from rim.core.errors import UserError
    from rim.models.formats import read_format
    from rim.preflight.model_files import Named, look_at
    from rim.preflight.models import not_loaded

    name, revision = arguments.model, arguments.revision
    found, seen = look_at(Named(name, name, revision, None, fetch=False, weights=arguments.weights))
    if found is None:
        raise UserError(f"{name}: is no folder here, and the hub is not in reach; copy the folder, or look again later")
    if found:
        raise UserError("; ".join(each.what for each in found))
    if seen is None:
        raise UserError(f"{name}: is an adapter; check the model that it was trained on")
    if wrong := not_loaded(seen.family):
        raise UserError(f"{name}: {wrong}")
    if seen.template is None:
        raise UserError(f"{name}: its tokenizer has no chat template; use the instruction-tuned release of this model")
    try:
        chat = read_format(seen.template)
    except UserError as problem:
        raise UserError(f"{name}: {problem}") from None
    print(
        "\n".join(
            [
                *_model(name, revision, seen),
                *_thinking(chat, seen.template),
                *_prompts(chat, seen),
                *_analyses(chat, seen),
            ]
        )
    )
    return 0 if not arguments.weights or _weights(name, revision, chat.different_modes(), seen.family) else 1


def _model(name: str, revision: str | None, seen: Seen) -> Iterator[str]:
    """What it is, and the memory that it takes."""
    from rim.models import headers

    yield f"{name}: family '{seen.family}', {seen.positions or 'an unknown number of'} positions"
    if size := headers.size(name, revision):
        active = f", {size.active:.3g} of them active per token" if size.active else ""
        yield f"weights: {size.parameters:.3g} billion parameters{active}; {2 * size.parameters:.3g} GB in bfloat16"
    else:
        yield "weights: not on this machine, so the memory that they take is not counted"


def _thinking(chat: ChatFormat, template: Template) -> Iterator[str]:
    """How it is asked to think, and how its replies are parted."""
    from rim.models.formats import REQUEST, Mode, messages

    modes = chat.different_modes()
    others = [mode for mode in chat.modes if mode not in modes]
    yield f"think modes: {', '.join(modes)}" + (f" ({', '.join(others)} is the same as one of these)" if others else "")
    if not {"on", "off"} <= chat.modes.keys():
        yield "in a study: 'think: [plain]' for this model, which has not both on and off"
    unswitched = "nothing in its template; where its card names system messages for it, see 'think_on'"
    yield f"switched by: {chat.switch or unswitched}"
    if left := [each for each in template.arguments if each not in chat.switching]:
        known = {each: template.values(each) for each in left}
        listed = (f"{each} ({', '.join(words)})" if words else each for each, words in known.items())
        yield f"arguments of its template, which 'prompt: {{arguments: …}}' of a model sets: {', '.join(listed)}"
    if template.writes_date(messages(REQUEST, Mode())):
        yield f"date: its template writes today's into every prompt, for which {template.told.date} is put ('prompt: {{date: …}}')"
    if chat.markers:
        yield f"a thought: begins with {chat.markers.open!r} and ends with {chat.markers.close!r}"
    else:
        yield "a thought: its template has no markers of one; any known ones in a reply part it all the same"


def _prompts(chat: ChatFormat, seen: Seen) -> Iterator[str]:
    """What a prompt looks like in each mode, as text and in tokens."""
    from rim.models.formats import REQUEST

    for mode in chat.different_modes():
        prompt = chat.modes[mode].prompt
        tokens = (
            f", {len(seen.tokenizer.encode(prompt, add_special_tokens=False).ids)} tokens" if seen.tokenizer else ""
        )
        shown = prompt.replace(REQUEST, "{request}")
        cut = shown if len(shown) <= SHOWN else f"… {shown[-SHOWN:]}"
        inside = "; the reply begins inside a thought" if chat.modes[mode].begun else ""
        yield f"prompt, {mode}{tokens}{inside}:\n    {cut!r}"


def _analyses(chat: ChatFormat, seen: Seen) -> Iterator[str]:
    """What can be analysed, by which engine, and what cannot."""
    from rim.models.families import FAMILIES, SERVED, UNREADABLE, UNSERVED
    from rim.preflight import landmarks

    replies = "replies, injection" if seen.endless else "replies, injection, fine-tuning"
    if seen.family in FAMILIES:
        modes = chat.different_modes()
        lacking = (
            list(landmarks.findings("heads", seen.tokenizer, seen.template, modes))
            if seen.tokenizer and seen.template
            else []
        )
        heads = "no heads: it has not both think modes on and off" if not {"on", "off"} <= set(modes) else ""
        heads = heads or (f"no heads: {lacking[0].what.partition(',')[0]}" if lacking else "heads")
        yield f"analyses: {replies}, probes, neurons, forgetting; {heads}"
    elif seen.family in UNREADABLE:
        yield f"analyses: {replies} only; {UNREADABLE[seen.family]}"
    else:
        yield (
            f"analyses: {replies} only; family '{seen.family}' has no adapter for the others "
            "(CONTRIBUTING.md, 'A model family', shows how one is added)"
        )
    if seen.endless:
        yield f"no fine-tuning: {seen.endless}"
    if seen.family in UNSERVED:
        yield f"engines: transformers only; vLLM {UNSERVED[seen.family]} with it"
    else:
        yield f"engines: transformers, vLLM{'' if seen.family in SERVED else ' (not tried with this family)'}"


def _weights(name: str, revision: str | None, modes: list[Think], family: str | None) -> bool:
    """Load the model, show what it says, and tell whether what is read of it is its own, where it can be read."""
    from rim.models import loading
    from rim.models.families import FAMILIES, ModelView
    from rim.workflow.plan import lines
    from rim.workflow.weights_check import TOKENS, answered, readings

    model, tokenizer = loading.load_model(name, "float32", revision), loading.load_tokenizer(name, revision)
    texts = []
    for mode, request, reply, ids in answered(model, tokenizer, modes):
        end = "ended" if reply["finish_reason"] == "stop" else f"cut off at {TOKENS} tokens"
        print(f"reply, {mode}, to {request!r} ({end}):")
        print(f"    thought {reply['reasoning']!r}\n    response {reply['response']!r}", flush=True)
        texts.append(ids)
    if family not in FAMILIES:
        return True
    checks = readings(ModelView(model), texts)
    rows = [
        [each.name, "agrees" if each.holds else "DIFFERS", f"{each.error:.2g}", f"{each.bound:g}"] for each in checks
    ]
    print("", *lines(["activations, against plain hooks", "", "error", "at most"], rows), sep="\n")
    return all(each.holds for each in checks)
