"""What a chat template does, worked out by rendering it: how thinking is switched, and which modes there are.

A template is a program, and whether it switches thinking cannot be read off the name of an argument: some ignore theirs, some
write an empty thought whatever they are told. So a request is rendered with every switch that the template mentions turned
on and off, and what stands before and after the request is compared. Thinking is *on* where a thought is opened or left to
the model, *off* where an empty one is written in its place, and *plain* is the prompt as it is when nothing is said. A
template that switches nothing has the plain mode only, and that of the thought which it opens by itself, if it does.

Whatever is rendered, a template is told the same (`rim.settings.models.Prompt`): the study's arguments, and one date for today.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Literal, Protocol

from rim.core.errors import UserError
from rim.models.thoughts import KINDS, THINK, UNKNOWN, Markers, opened_by
from rim.settings.common import Think
from rim.settings.models import Prompt

Messages = list[dict[str, str]]
Thought = Literal["opened", "closed", "left to the model"]


class Template(Protocol):
    """A chat template that can be rendered, by transformers or without."""

    @property
    def text(self) -> str: ...

    @property
    def told(self) -> Prompt: ...

    def render(self, messages: Messages, opening: bool = True, **arguments: Any) -> str:
        """The text of a conversation, with the `opening` of the assistant's turn or without.

        Raises:
            UserError: the template fails or refuses.
        """


@dataclass(frozen=True)
class Mode:
    """How a template is made to render a prompt.

    Attributes:
        arguments: what it is told.
        system: a sentence as the system's message, by which some models are switched.
        begun: the thought that the prompt leaves open.
        closed: whether it ends a thought, an empty one.
        prompt: the prompt of the request `REQUEST`.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    system: str | None = None
    begun: Markers | None = None
    closed: bool = False
    prompt: str = ""


@dataclass(frozen=True)
class ChatFormat:
    """What one template does.

    Attributes:
        switch: what switches thinking, in words; None where nothing does.
        markers: those of its thoughts; None where it has none.
        modes: the think modes that there are, each with the prompt of a request.
    """

    switch: str | None
    markers: Markers | None
    modes: dict[Think, Mode]

    @property
    def parting(self) -> Markers:
        """The markers by which its thoughts are written; a thought that was parted without any of the template's has common ones."""
        return self.markers or THINK

    @property
    def switching(self) -> set[str]:
        """The arguments of the template that turn thinking on and off, and do nothing by degrees."""
        off = self.modes["off"].arguments if self.switch else {}
        return {name for name, value in off.items() if value is False}

    def different_modes(self) -> list[Think]:
        """The modes whose prompts differ, of equal ones the first of on, off and plain."""
        prompts: dict[str, Think] = {}
        for name in THINK_MODES:
            if name in self.modes:
                prompts.setdefault(self.modes[name].prompt, name)
        return list(prompts.values())


THINK_MODES: tuple[Think, ...] = ("on", "off", "plain")
REQUEST = "x7q"  # stands for a request in a rendering; it spells nothing that templates write
THOUGHT = "q7x"  # stands for a thought
THOUGHTS = ("reasoning_content", "reasoning", "thinking", "thought")  # what templates call the thought of a turn
# Names of arguments by which templates are told to think; of those that turn it off; and those which may show in the system's
# message alone.
NAMES = re.compile(r"(?<![.\w'\"])\w*(?:think|reason)\w*(?![\w'\"])", re.I)
REVERSED = re.compile("disable|skip|hide|without|no_", re.I)
SWITCHES = {"enable_thinking", "thinking", "reasoning", "thinking_budget"}
VALUES: dict[str, tuple[Any, Any]] = {"budget": (-1, 0), "effort": ("high", "none")}  # not True and False
SENTENCES = (("/think", "/no_think"), ("detailed thinking on", "detailed thinking off"))
CLOCK = "strftime_now"  # by which templates write today's date
CODES = "aAbBcdDeFHIjmMpRSTuwxXyYzZ"  # of parts of a date and a time, after "%" or "%-"


def pinned(text: str, day: str) -> str:
    """A template in which today is another day, at midnight.

    The clock is replaced by a macro of the template's own, since transformers hands no function of a caller on to templates.
    """
    if CLOCK not in text:
        return text
    written = [
        (code, date.fromisoformat(day).strftime(code)) for letter in CODES for code in (f"%{letter}", f"%-{letter}")
    ]
    filters = "".join(f"|replace({code!r}, {part!r})" for code, part in written)
    return f"{{% macro {CLOCK}(form) %}}{{{{ form{filters} }}}}{{% endmacro %}}\n{text}"


def _thought(tail: str) -> Thought:
    last = max(KINDS, key=lambda kind: max(tail.rfind(kind.open), tail.rfind(kind.close)))
    opened, closed = tail.rfind(last.open), tail.rfind(last.close)
    return "left to the model" if opened == closed else "opened" if opened > closed else "closed"


@dataclass(frozen=True)
class _Rendering:
    """A prompt: what stands before the request, and after it."""

    head: str
    tail: str
    mode: Mode

    @property
    def thought(self) -> Thought:
        """What it does with the thought of the reply."""
        return _thought(self.tail)


def read_format(template: Template) -> ChatFormat:
    """Work out what a template does.

    Raises:
        UserError: it does not render a request by itself, opens a thought with a marker of no kind that is known, or is not
            switched by the system messages of its settings.
    """
    found = _read(template)
    return _switched_by_messages(template, found) if template.told.think_on else found


def _switched_by_messages(template: Template, found: ChatFormat) -> ChatFormat:
    """What a template does that switches nothing, of a model that system messages switch."""
    on, off = template.told.think_on, template.told.think_off
    if found.switch or found.modes.keys() != {"plain"}:
        does = f"is switched by {found.switch}" if found.switch else "itself begins or ends a thought"
        raise UserError(f"its chat template {does}, so no 'think_on' of its own is needed; leave it out")
    try:
        thinks, answers = _render(template, Mode(system=on)), _render(template, Mode(system=off))
    except UserError:
        raise UserError("its chat template takes no system message; leave 'think_on' out") from None
    if any(said and said not in each.head for said, each in ((on, thinks), (off, answers))):
        raise UserError("its chat template leaves out a system message; leave 'think_on' out")
    modes: dict[Think, Mode] = {"on": thinks.mode, "off": answers.mode, **found.modes}
    return replace(found, switch=f"the system message '{on}'", markers=found.markers or THINK, modes=modes)


def _read(template: Template) -> ChatFormat:
    """The same of a template by itself."""
    plain = _render(template, Mode())
    if wrong := _unknown(plain):
        raise UserError(wrong)
    named = next((kind for kind in KINDS if kind.open.strip() in template.text or kind.close in template.text), None)
    odd: str | None = None
    for words, on, off in _switches(template.text, template.told.arguments):
        try:
            thinks, answers = _render(template, on), _render(template, off)
        except UserError:  # as one that takes no system message
            continue
        if (thinks.head, thinks.tail) == (answers.head, answers.tail):
            continue
        told_apart = thinks.head != answers.head and on.arguments.keys() <= SWITCHES
        if wrong := _unknown(thinks) or _unknown(answers) or _unexplained(words, thinks, answers):
            odd = odd or wrong  # unless another switch explains the template
        elif thinks.thought != "closed" and (answers.thought != thinks.thought or told_apart):
            modes: dict[Think, Mode] = {"on": thinks.mode, "off": answers.mode, "plain": plain.mode}
            markers = thinks.mode.begun or plain.mode.begun or named or THINK
            return ChatFormat(words, _as_written(template, markers, thinks.mode), modes)
    if odd:
        raise UserError(odd)
    alone: dict[Think, Mode] = {"plain": plain.mode}
    if plain.thought == "opened":
        alone["on"] = plain.mode
    elif plain.thought == "closed":
        alone["off"] = plain.mode
    kind = plain.mode.begun or named
    return ChatFormat(None, _as_written(template, kind, plain.mode) if kind else None, alone)


def _as_written(template: Template, kind: Markers, mode: Mode) -> Markers:
    """The markers with the white space that the template itself puts around a thought, where it writes one."""
    turn = {"role": "assistant", "content": "answer", **dict.fromkeys(THOUGHTS, THOUGHT)}
    try:
        written = template.render([*messages(REQUEST, mode), turn], opening=False, **mode.arguments)
    except UserError:
        return kind
    found = re.search(rf"{re.escape(kind.open)}(\s*){THOUGHT}(\s*){re.escape(kind.close)}(\s*)", written)
    return replace(kind, after_open=found[1], before_close=found[2], after_close=found[3]) if found else kind


def _unknown(rendering: _Rendering) -> str | None:
    """What is wrong where a prompt opens a thought of a kind that is not known."""
    found = UNKNOWN.search(rendering.tail)
    if found is None or rendering.thought != "left to the model":
        return None
    return (
        f"its chat template begins a reply with '{found[1]}', which looks like a thought and is of no kind that is known, "
        "so replies could not be parted; add its markers to KINDS in src/rim/models/thoughts.py"
    )


def _unexplained(words: str, thinks: _Rendering, answers: _Rendering) -> str | None:
    """What is wrong where a switch changes how a reply begins, and not by a thought."""
    if thinks.tail == answers.tail or not thinks.thought == answers.thought == "left to the model":
        return None
    return (
        f"{words} changes how its chat template begins a reply, in a way that is not known (it writes {thinks.tail!r} or "
        f"{answers.tail!r}), so replies could not be parted"
    )


def _switches(text: str, told: dict[str, Any]) -> Iterator[tuple[str, Mode, Mode]]:
    """What a template mentions by which thinking may be switched, in words, with the mode that turns it on and off; on is as
    much as it is `told`, where there are degrees."""
    for name in dict.fromkeys(NAMES.findall(" ".join(re.findall(r"\{[{%].*?[}%]\}", text, re.S)))):
        if REVERSED.search(name):
            continue
        on, off = next((pair for word, pair in VALUES.items() if word in name), (True, False))
        if off is not False:
            on = told.get(name, on)
        yield f"the template's argument '{name}'", Mode({name: on}), Mode({name: off})
    for on, off in SENTENCES:
        if off in text:
            yield f"the system message '{on}' or '{off}'", Mode(system=on), Mode(system=off)


def _render(template: Template, mode: Mode) -> _Rendering:
    """A request in a mode, which is returned with the thought that it turns out to open."""
    prompt = template.render(messages(REQUEST, mode), **mode.arguments)
    head, _, tail = prompt.rpartition(REQUEST)
    closed = _thought(tail) == "closed"
    return _Rendering(head, tail, replace(mode, begun=opened_by(tail), closed=closed, prompt=prompt))


def messages(request: str, mode: Mode) -> Messages:
    """The conversation that asks a request in a mode."""
    system = [{"role": "system", "content": mode.system}] if mode.system else []
    return [*system, {"role": "user", "content": request}]
