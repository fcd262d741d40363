"""Named token positions, found by the token ids of the tokenizer's own chat template (paper, section 3.1 and figure 3).

    <|im_start|>user\n…request…<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n        thinking off
                          |    |           |           |        |       |    |        |
                  user_last    turn_end    turn_start  assistant|       |    |        last
                                                                think_open   think_close
                                                                        inner

With thinking on, `last` is the line break after `assistant`: nothing is thought yet. The model's own chain of thought
follows as it was generated: `think_open`, `cot_first`, `cot` (a span, read as its mean), `think_close`, `answer` (the token
from which the first word of the answer is predicted). A position is a span [start, end) of tokens; most span one token.

What a template writes after the request, its *tail*, is what renderings of different requests have in common at their
end; it is compared with the ids of every prompt, so a position is never guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rim.core.errors import UserError
from rim.models import chat
from rim.settings.mechanism import Position

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


Spans = dict[str, tuple[int, int]]  # name -> [start, end)
THOUGHT_NAMES = ("think_open", "cot_first", "cot", "think_close", "answer")
NAMES: tuple[Position, ...] = (
    "user_last", "turn_end", "turn_start", "assistant", "think_open", "inner", "cot_first", "cot", "think_close", "last", "answer",
)  # fmt: skip
# Requests that end differently, since a tokenizer may merge over the boundary; an organism knows few other words.
REQUESTS = ("user", "assistant?", "user.")


class Template:
    """One tokenizer's chat template for one think mode, as token ids."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, think: str, switch: chat.ThinkSwitch) -> None:
        self.tokenizer: Any = tokenizer
        self.think, self.switch = think, switch
        renderings = [
            self.ids(chat.apply_template(tokenizer, text, think == "on" and switch == "tags")) for text in REQUESTS
        ]
        self.tail = _common_end(renderings)
        self.offsets = self._name(self.tail)  # name -> span in the tail

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def _name(self, tail: list[int]) -> Spans:
        """Name the tokens of the tail."""
        if not tail:
            return {}
        tokens = [str(token) for token in self.tokenizer.convert_ids_to_tokens(tail)]
        named = {"turn_end": (0, 1), "last": (len(tail) - 1, len(tail))}
        role = next((i for i, token in enumerate(tokens) if "assistant" in token), None)
        if role is not None:
            named["assistant"] = (role, role + 1)
            if role > 1 and tokens[role - 1] in self.tokenizer.added_tokens_encoder:
                named["turn_start"] = (role - 1, role)
        if self.switch == "tags" and self.think == "off":
            opened, closed = tokens.index(chat.OPEN), tokens.index(chat.CLOSE)
            named |= {
                "think_open": (opened, opened + 1),
                "inner": (opened + 1, closed),
                "think_close": (closed, closed + 1),
            }
        return named

    def prompt(self, rendered: str) -> tuple[list[int], Spans]:
        """Token ids of a rendered prompt and its named positions, the first token being the attention sink.

        Raises:
            UserError: the prompt does not end as the template does.
        """
        ids = self.ids(rendered)
        start = len(ids) - len(self.tail)
        if ids[start:] != self.tail or start < 2:
            raise UserError(
                f"tokenizer '{self.tokenizer.name_or_path}': a prompt does not end as its chat template ends prompts (expected "
                f"{self.tokenizer.convert_ids_to_tokens(self.tail)}, found "
                f"{self.tokenizer.convert_ids_to_tokens(ids[max(0, start) :])}), so token positions cannot be named; it was cut "
                "off or rendered with another template: delete this model's replies and run the workflow again"
            )
        spans = {name: (start + first, start + end) for name, (first, end) in self.offsets.items()}
        return ids, {"sink": (0, 1), "user_last": (start - 1, start), **spans}

    def thought(self, rendered: str, reasoning: str | None, closed: bool) -> tuple[list[int], Spans]:
        """A think-on prompt followed by the reasoning it led to; `closed` when the thinking came to its end."""
        ids, spans = self.prompt(rendered)
        if self.switch != "tags" or self.think != "on" or reasoning is None:
            return ids, spans
        end = f"\n{chat.CLOSE}\n\n" if closed else ""
        first = len(ids)
        ids = ids + self.ids(f"{chat.OPEN}\n{reasoning}{end}")
        close = ids.index(self.ids(chat.CLOSE)[0], first) if closed else len(ids)
        spans |= {"think_open": (first, first + 1)}
        if close > first + 2:  # after the tag and its line break
            spans |= {"cot_first": (first + 2, first + 3), "cot": (first + 2, close)}
        if closed:
            spans |= {"think_close": (close, close + 1), "answer": (len(ids) - 1, len(ids))}
        return ids, spans


def templates(tokenizer: PreTrainedTokenizerBase, switch: chat.ThinkSwitch, think: list[str]) -> dict[str, Template]:
    """The template of each think mode."""
    return {mode: Template(tokenizer, mode, switch) for mode in think}


def available(found: dict[str, Template]) -> list[str]:
    """The positions that these templates have, in reading order; those of a chain of thought where tags open one."""
    names = {"user_last"} | {name for template in found.values() for name in template.offsets}
    if any(template.switch == "tags" and mode == "on" for mode, template in found.items()):
        names |= set(THOUGHT_NAMES)
    return [name for name in NAMES if name in names]


def chosen(found: dict[str, Template], wanted: Sequence[str] | None) -> list[str]:
    """The positions to read: those asked for, or all there are.

    Raises:
        UserError: the template lacks one that was asked for.
    """
    have = available(found)
    for name in wanted or []:
        if name not in have:
            place = next(iter(found.values())).tokenizer.name_or_path
            raise UserError(
                f"mechanism.positions: the chat template of '{place}' has no position '{name}'; it has {', '.join(have)}"
            )
    return [name for name in have if wanted is None or name in wanted]


def _common_end(rows: list[list[int]]) -> list[int]:
    length = 0
    while length < min(map(len, rows)) and len({row[-1 - length] for row in rows}) == 1:
        length += 1
    return rows[0][len(rows[0]) - length :]
