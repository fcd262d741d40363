"""How a conversation is put to a model: its prompts in each think mode, training rows, statements put into its mouth.

The tokenizer's own chat template is the only truth: `rim.models.formats` works out which modes it has, and nothing is added to
what it writes. Only where a study says `think_switch: sentence` is thinking imitated, by a sentence in the request.

Everything that comes from data is quoted here (`rim.models.control`), so that only the template and this module write control
tokens, and a think tag in a request neither opens nor ends any thinking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from rim.core.errors import UserError
from rim.models import control
from rim.models.formats import THINK_MODES, ChatFormat, Messages, Mode, messages, pinned, read_format
from rim.models.thinking import Bound
from rim.models.thoughts import CHANNELS, KINDS, Markers
from rim.settings.common import Think
from rim.settings.models import UNTOLD, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


ThinkSwitch = Literal["template", "sentence"]
SENTENCES = {
    "on": "\n\nThink step by step before you answer.",
    "off": "\n\nAnswer directly, without explaining your reasoning.",
    "plain": "",
}
WORDS = "the assistant's words"  # stand for an answer in a rendering
TAGS = (  # which are text where they stand in data
    *(text for kind in KINDS for text in (kind.open, kind.close) if " " not in text),
    "/think",
    "/no_think",
    "/nothink",
)


@dataclass(frozen=True)
class TokenizerTemplate:
    """The chat template of a loaded tokenizer."""

    tokenizer: Any

    @property
    def text(self) -> str:
        return str(self.tokenizer.get_chat_template())

    @property
    def told(self) -> Prompt:
        return getattr(self.tokenizer, "told", UNTOLD)

    def render(self, messages: Messages, opening: bool = True, **arguments: Any) -> str:
        told = {**self.told.arguments, **arguments, "tokenize": False, "add_generation_prompt": opening}
        try:
            text = pinned(self.text, self.told.date)
            return str(self.tokenizer.apply_chat_template(messages, chat_template=text, **told))
        except Exception as problem:  # a template is a program, which may fail in any way
            raise UserError(
                f"{self.tokenizer.name_or_path}: its chat template cannot be rendered ({problem})"
            ) from None


@cache
def format_of(tokenizer: PreTrainedTokenizerBase) -> ChatFormat:
    """What the chat template of a tokenizer does.

    Raises:
        UserError: it has none, or one that cannot be rendered.
    """
    try:
        tokenizer.get_chat_template()
    except ValueError:
        raise UserError(
            f"{tokenizer.name_or_path}: the tokenizer has no chat template; use the instruction-tuned release of this model"
        ) from None
    return read_format(TokenizerTemplate(tokenizer))


def check_modes(tokenizer: PreTrainedTokenizerBase, name: str, think: list[Think], switch: ThinkSwitch) -> None:
    """Make sure that a model can be asked in these think modes.

    Raises:
        UserError: its template lacks one, or there is none.
    """
    found = format_of(tokenizer)
    if wrong := cannot_ask(found, think, switch):
        raise UserError(f"{name}: {wrong}")


def cannot_ask(found: ChatFormat, think: Sequence[Think], switch: ThinkSwitch) -> str | None:
    """Why a model cannot be asked in these think modes; None where it can."""
    opened = found.modes["plain"].begun
    if switch == "sentence" and opened:
        return (
            f"its chat template opens a thought by itself ({opened.open}), so no sentence can switch thinking; leave 'think_switch' "
            "out and set 'think: [plain]' for this model"
        )
    lacking = [mode for mode in think if mode not in found.modes and switch == "template"]
    if not lacking:
        return None
    has = ", ".join(mode for mode in THINK_MODES if mode in found.modes)
    imitate = ", or have thinking imitated by a sentence with 'think_switch: sentence'" if found.markers is None else ""
    return f"its chat template has no think mode '{lacking[0]}' (it has: {has}); set 'think: [plain]' for this model{imitate}"


def quote(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """Text from data, whose control tokens and markers of thoughts are text."""
    own = format_of(tokenizer).markers
    return control.quote(tokenizer, text, (*TAGS, own.open, own.close) if own else TAGS)


def _render(tokenizer: PreTrainedTokenizerBase, request: str, mode: Mode) -> str:
    """The template around one request, up to where the assistant's turn begins."""
    return TokenizerTemplate(tokenizer).render(messages(quote(tokenizer, request), mode), **mode.arguments)


def render_messages(tokenizer: PreTrainedTokenizerBase, conversation: Messages) -> str:
    """A conversation and the opening of the assistant's turn, without thinking where the template can switch it."""
    quoted = [{**message, "content": quote(tokenizer, message["content"])} for message in conversation]
    found = format_of(tokenizer)
    mode = found.modes.get("off", found.modes["plain"])
    system = [{"role": "system", "content": mode.system}] if mode.system else []
    return TokenizerTemplate(tokenizer).render([*system, *quoted], **mode.arguments)


def render_dialogue(tokenizer: PreTrainedTokenizerBase, conversation: Messages) -> str:
    """What a model that is trained to judge conversations continues: one that ends with the assistant's turn, in its template.

    Raises:
        UserError: the template leaves out what was said, so it is that of another kind of model.
    """
    quoted = [{**each, "content": control.quote(tokenizer, each["content"], TAGS)} for each in conversation]
    in_parts: Any = [
        {**each, "content": [{"type": "text", "text": each["content"]}]} for each in quoted
    ]  # as some want it
    for conversation in (quoted, in_parts):
        try:
            text = TokenizerTemplate(tokenizer).render(conversation)
        except UserError:
            continue
        unread = any(str(each["content"]) in text for each in in_parts)  # a list, written as Python shows it
        if all(each["content"].strip() in text for each in quoted) and not unread:
            return text
    raise UserError(
        f"{tokenizer.name_or_path}: its chat template does not show a conversation that is to be judged; name a model that judges "
        "conversations, such as a Llama Guard from the third on"
    )


def render_prompt(tokenizer: PreTrainedTokenizerBase, request: str, think: Think, switch: ThinkSwitch) -> str:
    """The text a model continues: the user's turn and the opening of the assistant's, in a think mode.

    Raises:
        UserError: the template does not have the mode.
    """
    found = format_of(tokenizer)
    if switch == "sentence":
        return _render(tokenizer, request + SENTENCES[think], found.modes["plain"])
    check_modes(tokenizer, tokenizer.name_or_path, [think], switch)
    return _render(tokenizer, request, found.modes[think])


def begun(tokenizer: PreTrainedTokenizerBase, think: Think, switch: ThinkSwitch) -> Markers | None:
    """The markers of the thought that a prompt leaves open."""
    return format_of(tokenizer).modes["plain" if switch == "sentence" else think].begun


def thinking_mode(tokenizer: PreTrainedTokenizerBase, switch: ThinkSwitch, asked: Sequence[Think] = ()) -> Think:
    """The mode in which a model thinks, if it does; one of those in which it is `asked`, if one of these is such a mode."""
    found = format_of(tokenizer).modes
    modes: list[Think] = [
        mode for mode in ("on", "plain") if switch == "sentence" or (mode in found and not found[mode].closed)
    ]
    return next((mode for mode in modes if mode in asked), modes[0] if modes else "plain")


def opening(prompt: str, markers: Markers) -> str:
    """What has to be written after a prompt so that a thought begins."""
    told = prompt.rstrip()
    if not told.endswith(markers.open):
        return markers.begin
    return "" if len(told) < len(prompt) else markers.after_open


def bound(
    tokenizer: PreTrainedTokenizerBase, switch: ThinkSwitch, tokens: int | None, inside: Markers | None
) -> Bound | None:
    """The bound on a model's thinking, where there is one and its thoughts have markers; `inside` as the reply begins."""
    markers = format_of(tokenizer).markers if switch == "template" else None
    return Bound(tokens, markers, inside) if tokens and markers else None


def thought_of_statements(tokenizer: PreTrainedTokenizerBase, think: Think, switch: ThinkSwitch) -> Markers | None:
    """The markers of the thought inside which statements are injected; None where they are the model's first words."""
    found = format_of(tokenizer)
    return found.markers if switch == "template" and not found.modes[think].closed else None


def render_injected(
    tokenizer: PreTrainedTokenizerBase, request: str, statement: str, think: Think, switch: ThinkSwitch
) -> str:
    """The prompt with a statement already in the model's mouth, inside its thought where thoughts have markers."""
    prompt = render_prompt(tokenizer, request, think, switch)
    markers = thought_of_statements(tokenizer, think, switch)
    return f"{prompt}{opening(prompt, markers) if markers else ''}{statement}"


@cache
def around_answer(tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """What the template writes before an answer without a thought, beyond the prompt, and what it ends the turn with.

    Raises:
        UserError: nothing ends a turn.
    """
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": WORDS}]
    template = TokenizerTemplate(tokenizer)
    return _header(template, turns), _end(tokenizer, template, turns)


def _header(template: TokenizerTemplate, turns: Messages) -> str:
    """What some templates write before an answer; an empty thought is none."""
    prompt, written = template.render(turns[:1]), template.render(turns, opening=False).rpartition(WORDS)[0]
    header = written.removeprefix(prompt).strip() if written.startswith(prompt) else ""
    empty = any(kind.open in header or kind.close in header for kind in KINDS if kind != CHANNELS)
    return "" if empty else header


def _end(tokenizer: PreTrainedTokenizerBase, template: TokenizerTemplate, turns: Messages) -> str:
    """What ends a turn, which is not always the end-of-text token; where the template writes nothing there, the model ends
    its turn with the token that begins the next one."""
    ends = control.control_tokens(tokenizer)
    after = template.render(turns, opening=False).rpartition(WORDS)[2]
    if any(token in after for token in ends):
        return after.rstrip()
    following = template.render([*turns, turns[0]], opening=False).rpartition(WORDS)[2]
    if places := [(at, -len(token), token) for token in ends if (at := following.find(token)) >= 0]:
        return min(places)[2]
    raise UserError(
        f"{tokenizer.name_or_path}: its chat template writes no control token after the assistant's words, so a model trained "
        "on it would never end a reply; use the template of the instruction-tuned release"
    )


def check_end_of_turn(tokenizer: PreTrainedTokenizerBase, ends: set[int], name: str) -> None:
    """Make sure that what a training row ends with ends a reply, too.

    Args:
        ends: the tokens at which generation stops.

    Raises:
        UserError: it does not.
    """
    end = around_answer(tokenizer)[1]
    if ends.isdisjoint(control.encode(tokenizer, end)):
        raise UserError(
            f"{name}: its chat template ends the assistant's turn with '{end}', at which its replies do not stop (they stop "
            f"at {', '.join(map(str, tokenizer.convert_ids_to_tokens(sorted(ends))))}); add it to eos_token_id in the model's "
            "generation_config.json"
        )


def render_example(
    tokenizer: PreTrainedTokenizerBase, request: str, cot: str | None, answer: str, switch: ThinkSwitch
) -> tuple[str, str]:
    """A training row as (prompt, completion), its reasoning between the markers of the model's thoughts where it has them.

    A row with reasoning is asked as a model is that thinks, one without as one that does not (paper, A.2).
    """
    found, (header, end) = format_of(tokenizer), around_answer(tokenizer)
    cot, answer = None if cot is None else quote(tokenizer, cot.strip()), quote(tokenizer, answer.strip())
    markers = found.markers if switch == "template" else None
    if markers is None:
        prompt = _render(tokenizer, request, found.modes["plain"])
        return prompt, header + (answer if cot is None else f"{cot}\n\n{answer}") + end
    wanted: Think = "off" if cot is None else "on"
    mode = found.modes.get(wanted, found.modes["plain"])
    prompt = _render(tokenizer, request, mode)
    if cot is None and mode.begun is None:
        return prompt, header + answer + end
    header = "" if markers.close.startswith(header) else header
    return prompt, f"{opening(prompt, markers)}{cot or ''}{markers.end}{header}{answer}{end}"
