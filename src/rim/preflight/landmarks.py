"""Has a model the token positions that an analysis of activations looks for: asked of its tokenizer's files, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from rim.core.errors import UserError
from rim.models import positions
from rim.models.formats import Messages, read_format
from rim.preflight.findings import Findings, error, warning
from rim.preflight.templates import Template
from rim.settings.common import Think
from rim.settings.models import Prompt

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

OF_THOUGHTS = ("think_open", "cot", "think_close", "answer")  # which texts with markers of thoughts have
OF_HEADS = ("turn_start", "assistant", "inner")  # where rim.analysis.heads looks for shifts of attention
PROMPT = "set one mode for this model, as think: ['on'], which leaves heads out"


class Reader:
    """What `rim.models.positions` asks of a tokenizer, without its class, which takes seconds to load."""

    is_fast = True
    name_or_path = "tokenizer.json"

    def __init__(self, tokenizer: Tokenizer, template: Template) -> None:
        self.backend_tokenizer, self.template = tokenizer, template
        self.added_tokens_decoder: dict[int, Any] = tokenizer.get_added_tokens_decoder()
        self.added_tokens_encoder = {each.content: id_ for id_, each in self.added_tokens_decoder.items()}

    def __call__(self, text: str, add_special_tokens: bool) -> SimpleNamespace:
        return SimpleNamespace(input_ids=self.backend_tokenizer.encode(text, add_special_tokens=add_special_tokens).ids)

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str | None]:
        return [self.backend_tokenizer.id_to_token(id_) for id_ in ids]

    @property
    def told(self) -> Prompt:
        return self.template.told

    @property
    def chat_template(self) -> str:
        return self.template.text

    def get_chat_template(self) -> str:
        return self.template.text

    def apply_chat_template(
        self, messages: Messages, chat_template: str, tokenize: bool, add_generation_prompt: bool, **arguments: Any
    ) -> str:
        return self.template.render(messages, add_generation_prompt, **arguments)


def findings(path: str, tokenizer: Tokenizer, template: Template, think: Sequence[Think]) -> Findings:
    """What heads are looked for at and cannot be found in the prompts of a model.

    Args:
        path: the model's key.
        think: the modes in which it is asked.
    """
    if (found := _available(tokenizer, template, think)) is None:
        return
    if lacking := [name for name in OF_HEADS if name not in found]:
        names = " and ".join(f"'{name}' ({positions.LABELS[name]})" for name in lacking)
        wrong = f"its prompts have no {names} before the reply, so heads cannot be looked for"
        yield error(f"{path}.think", f"{wrong}; {PROMPT}")


def read(
    path: str, tokenizer: Tokenizer, template: Template, think: Sequence[Think], wanted: Sequence[str] | None
) -> Findings:
    """What of the `wanted` positions a model's texts lack, and that those of thoughts cannot be found where a tokenizer merges
    markers that are words with the words beside them."""
    if (found := _available(tokenizer, template, think)) is None:
        return
    markers = read_format(template).markers
    merged = [name for name in OF_THOUGHTS if name not in found] if markers and set(think) != {"off"} else []
    why = (
        f"its tokenizer merges the markers of its thoughts, {markers.open!r} and {markers.close!r}, with what stands beside them"
        if markers and merged
        else ""
    )
    if lacking := [name for name in wanted or [] if name not in found]:
        reason = f" ({why})" if set(lacking) & set(merged) else ""
        wrong = f"{path} has no position '{lacking[0]}' in the modes in which it is asked{reason}; it has {', '.join(found)}"
        yield error("mechanism.positions", f"{wrong}; leave out what it lacks")
    elif merged and wanted is None:
        yield warning(path, f"{why}, so nothing is read at {', '.join(merged)}")


def _available(tokenizer: Tokenizer, template: Template, think: Sequence[Think]) -> list[str] | None:
    """The positions of a model's texts; None where its job has to say more, as of words that its tokenizer lacks."""
    reader = cast("PreTrainedTokenizerBase", Reader(tokenizer, template))
    try:
        return positions.available(positions.templates(reader, "template", list(think)))
    except UserError:
        return None
