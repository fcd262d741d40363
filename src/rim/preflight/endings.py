"""Does a model end its replies where the rows end that it would be trained on: seen from its small files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from rim.core.errors import UserError
from rim.models import chat, headers
from rim.models.formats import Messages
from rim.preflight.templates import Template

if TYPE_CHECKING:
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class Known:
    """What `rim.models.chat` asks of a tokenizer about the ends of turns, answered from its added tokens alone."""

    template: Template
    added_tokens_decoder: dict[int, AddedToken]
    name_or_path = "tokenizer_config.json"

    def get_chat_template(self) -> str:
        return self.template.text

    def __call__(self, text: str, add_special_tokens: bool) -> SimpleNamespace:
        ids = {each.content: id_ for id_, each in self.added_tokens_decoder.items()}
        longest = sorted(ids, key=len, reverse=True)
        return SimpleNamespace(input_ids=[ids[token] for token in re.findall("|".join(map(re.escape, longest)), text)])

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [self.added_tokens_decoder[id_].content if id_ in self.added_tokens_decoder else str(id_) for id_ in ids]

    def apply_chat_template(
        self, messages: Messages, chat_template: str, tokenize: bool, add_generation_prompt: bool, **arguments: Any
    ) -> str:
        return self.template.render(messages, add_generation_prompt, **arguments)


def read_ends(folder: Path) -> set[int] | None:
    """The tokens at which a model says that its replies stop; None where it leaves that to its class.

    Raises:
        UserError: a file in which they may stand cannot be read.
    """
    for name in ("generation_config.json", "config.json"):
        if (folder / name).is_file():
            listed = headers.read_json(folder / name).get("eos_token_id")
            ends = {each for each in (listed if isinstance(listed, list) else [listed]) if isinstance(each, int)}
            return ends if ends or name == "generation_config.json" else None
    return None


def never_ends(template: Template, tokens: dict[int, AddedToken], ends: set[int] | None) -> str | None:
    """Why a model cannot be trained on rows that end as its template ends a turn; None where it can, or nothing tells."""
    own = template.tokens.get("eos_token")
    stops = {id_ for id_, each in tokens.items() if own and each.content == own}
    if not tokens or not stops or ends is None:
        return None
    try:
        tokenizer = cast("PreTrainedTokenizerBase", Known(template, tokens))
        chat.check_end_of_turn(tokenizer, ends | stops, "")
    except UserError as problem:
        return str(problem).partition(": ")[2]
    return None
