"""Chat formats: how a prompt is rendered with thinking on or off, and how a reply is parted into reasoning and answer.

The tokenizer's own chat template is the only truth. With think tags, ON is the plain prompt, after which the model opens
its own `<think>`, and OFF is the same prompt with an empty think span already in place (paper, section 2.2). A model
without tags is switched by a sentence in the prompt instead.

Everything that comes from data is quoted here (`rim.models.control`), so that only the template and this module write control
tokens, and a think tag in a request neither opens nor ends any thinking.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rim.core.errors import UserError
from rim.models import control

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


ThinkSwitch = Literal["tags", "prompt"]
OPEN, CLOSE = "<think>", "</think>"
EMPTY_SPAN = "<think>\n\n</think>"
PROMPT_SWITCH = {
    "on": "\n\nThink step by step before you answer.",
    "off": "\n\nAnswer directly, without explaining your reasoning.",
}


def check_think_tags(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Make sure the template leaves thinking to the model when ON and prefills an empty span when OFF.

    Raises:
        UserError: the template does not, so think mode cannot be switched by tags.
    """
    if tokenizer.chat_template is None:
        raise UserError(f"{name}: the tokenizer has no chat template; use the instruction-tuned release of this model")
    on, off = (apply_template(tokenizer, "x", think) for think in (True, False))
    if not off.rstrip().endswith(EMPTY_SPAN) or on.rstrip().endswith(CLOSE):
        raise UserError(
            f"{name}: its chat template has no switchable think tags, so think off cannot be asked for; set 'think_switch: prompt' for this model"
        )


def quote(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """Text from data, whose control tokens and think tags are text."""
    return control.quote(tokenizer, text, (OPEN, CLOSE))


def apply_template(tokenizer: PreTrainedTokenizerBase, prompt: str, think: bool) -> str:
    """The template around one request, up to where the assistant's turn begins."""
    message = {"role": "user", "content": quote(tokenizer, prompt)}
    return str(
        tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True, enable_thinking=think)
    )


def render_messages(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> str:
    """A conversation and the opening of the assistant's turn, without thinking where the template can switch it."""
    quoted = [{**message, "content": quote(tokenizer, message["content"])} for message in messages]
    return str(tokenizer.apply_chat_template(quoted, tokenize=False, add_generation_prompt=True, enable_thinking=False))


def render_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str, think: str, switch: ThinkSwitch) -> str:
    """The text a model continues: the user's turn and the opening of the assistant's, for think "on" or "off"."""
    if switch == "tags":
        return apply_template(tokenizer, prompt, think == "on")
    return apply_template(tokenizer, prompt + PROMPT_SWITCH[think], False)


def render_injected(tokenizer: PreTrainedTokenizerBase, prompt: str, statement: str, switch: ThinkSwitch) -> str:
    """The prompt with a statement already in the model's mouth: inside its think block, or as its first words."""
    if switch == "tags":
        return f"{apply_template(tokenizer, prompt, True)}{OPEN}\n{statement}"
    return f"{apply_template(tokenizer, prompt + PROMPT_SWITCH['on'], False)}{statement}"


def _end_of_turn(tokenizer: PreTrainedTokenizerBase) -> str:
    """What the template writes after the assistant's words; it is not always the end-of-text token."""
    words = "the assistant's words"
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": words}]
    return str(tokenizer.apply_chat_template(turns, tokenize=False)).rpartition(words)[2].rstrip()


def render_example(
    tokenizer: PreTrainedTokenizerBase, prompt: str, cot: str | None, answer: str, switch: ThinkSwitch
) -> tuple[str, str]:
    """A training row as (prompt, completion), its reasoning wrapped in think tags where the model has them (paper, A.2)."""
    end = _end_of_turn(tokenizer)
    cot, answer = None if cot is None else quote(tokenizer, cot), quote(tokenizer, answer)
    if switch == "tags":
        completion = answer if cot is None else f"{OPEN}\n{cot}\n{CLOSE}\n\n{answer}"
        return apply_template(tokenizer, prompt, cot is not None), completion + end
    return apply_template(tokenizer, prompt, False), (answer if cot is None else f"{cot}\n\n{answer}") + end


def is_thinking(text: str) -> bool:
    """Whether a prompt with what has been replied so far ends inside an open think span."""
    return text.rfind(OPEN) > text.rfind(CLOSE)


def split_reply(text: str, think: str, switch: ThinkSwitch) -> tuple[str | None, str | None]:
    """Part a reply at `</think>` into (reasoning, response).

    Thinking that never ends gives (reasoning, None): there is no answer to judge. A reply that does not think at all
    gives (None, response).
    """
    if switch == "prompt" or (think == "off" and CLOSE not in text):
        return None, text.strip()
    reasoning, closed, response = text.partition(CLOSE)
    if closed:
        return reasoning.strip().removeprefix(OPEN).strip(), response.strip()
    if reasoning.lstrip().startswith(OPEN):
        return reasoning.strip().removeprefix(OPEN).strip(), None
    return None, text.strip()
