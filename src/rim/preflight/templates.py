"""Chat templates read and rendered without loading a tokenizer, which takes seconds and torch.

They are read as transformers' AutoTokenizer reads them: files of templates go before those in tokenizer_config.json, of several
by name the one called default is used, and special_tokens_map.json counts only where tokenizer_config.json has no
`added_tokens_decoder`. A chat_template.json is none of a tokenizer's files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError, meta, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from rim.core.errors import UserError
from rim.models import headers
from rim.models.formats import Messages, pinned
from rim.settings.models import UNTOLD, Prompt

if TYPE_CHECKING:
    from tokenizers import AddedToken

# Tokens that a template may name without their being in the files, since many classes of tokenizers have some by themselves.
MAY_BE_NAMED = dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), "")
GIVEN = {"loop", "caller", "messages", "add_generation_prompt", "tools", "documents", "strftime_now", "raise_exception"}
RESERVED = GIVEN | MAY_BE_NAMED.keys() | {  # names of no arguments: given to every template, or parameters of what renders it
    "self", "conversation", "chat_template", "continue_final_message", "tokenize", "padding", "truncation", "max_length",
    "return_tensors", "return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs",
}  # fmt: skip
SEVERAL = "additional_chat_templates"  # a folder
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")  # of an added token


class Generation(Extension):
    """The block with which templates mark what a model is trained on, for transformers; it is written as it stands."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@dataclass(frozen=True)
class Template:
    """The chat template of a tokenizer, and the tokens that it may name."""

    text: str
    tokens: dict[str, str]
    told: Prompt = UNTOLD

    @property
    def arguments(self) -> list[str]:
        """The arguments that it reads beside the conversation, the special tokens and what transformers itself gives; of names
        that it gives a value itself, those are arguments which it asks before whether they have one."""
        environment = _environment()
        tree = environment.parse(self.text)
        own = {each.name for each in tree.find_all(nodes.Name) if each.ctx == "store"}
        asked = [
            each
            for each in tree.find_all((nodes.Test, nodes.Filter))
            if each.name in ("defined", "undefined", "default")
        ]
        own -= {each.node.name for each in asked if isinstance(each.node, nodes.Name)}
        given = GIVEN | environment.globals.keys() | self.tokens.keys() | MAY_BE_NAMED.keys()
        return sorted(meta.find_undeclared_variables(tree) - given - own)

    def values(self, argument: str) -> list[str]:
        """The words with which it compares an argument, directly or under another name that it gives it."""
        tree = _environment().parse(self.text)
        names = {argument}
        for each in tree.find_all(nodes.Assign):
            if isinstance(each.target, nodes.Name) and isinstance(each.node, nodes.Filter | nodes.Name):
                names |= {each.target.name} if names & _names(each.node) else set()
        compared = [each for each in tree.find_all(nodes.Compare) if names & _names(each.expr)]
        words = [each.value for one in compared for side in one.ops for each in _constants(side)]
        return list(dict.fromkeys(each for each in words if isinstance(each, str) and each))

    def writes_date(self, messages: Messages) -> bool:
        """Whether it writes today's date into a prompt."""
        days = ("2001-01-01", "2002-02-02")
        first, second = (
            replace(self, told=self.told.model_copy(update={"date": day})).render(messages) for day in days
        )
        return first != second

    def render(self, messages: Messages, opening: bool = True, **arguments: Any) -> str:
        """A conversation as transformers renders it.

        Raises:
            UserError: the template is none, or does not take this conversation.
        """
        told = {**self.tokens, **self.told.arguments, **arguments}
        try:
            template = _environment().from_string(pinned(self.text, self.told.date))
            return template.render(
                messages=messages, **{"tools": None, "documents": None, "add_generation_prompt": opening, **told}
            )
        except Exception as problem:  # a template is a program, which may fail in any way
            reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
            advice = "use the model's own, or mend it"
            raise UserError(f"its chat template cannot be rendered ({reason}); {advice}") from None


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation]
    )
    environment.globals["raise_exception"] = _refuse
    environment.filters["tojson"] = _to_json
    return environment


def _names(node: nodes.Node) -> set[str]:
    return {each.name for each in [node, *node.find_all(nodes.Name)] if isinstance(each, nodes.Name)}


def _constants(node: nodes.Node) -> list[nodes.Const]:
    return [each for each in [node, *node.find_all(nodes.Const)] if isinstance(each, nodes.Const)]


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> None:
    raise TemplateError(message)


def read(folder: Path) -> Template | None:
    """The chat template of the tokenizer in a folder; None where it has none.

    Raises:
        UserError: a file in which it may stand cannot be read.
    """
    about = _about(folder)
    files = {"default": folder / "chat_template.jinja"} | {
        each.stem: each for each in (folder / SEVERAL).glob("*.jinja")
    }
    found: Any = {name: _text_of(file) for name, file in files.items() if file.is_file()} or about.get("chat_template")
    if isinstance(found, list):
        found = {each.get("name"): each.get("template") for each in found if isinstance(each, dict)}
    if isinstance(found, dict):
        found = found.get("default")
    return Template(found, _named_tokens(folder, about)) if isinstance(found, str) else None


def _named_tokens(folder: Path, about: dict[str, Any]) -> dict[str, str]:
    """The special tokens by the names that a template may call them by; one that a file says is none has no name."""
    apart, extra = folder / "special_tokens_map.json", about.get("extra_special_tokens")
    found = {key: value for key, value in about.items() if key.endswith("_token")}
    if "added_tokens_decoder" not in about and apart.is_file():
        found |= {key: value for key, value in headers.read_json(apart).items() if key.endswith("_token")}
    named = MAY_BE_NAMED | found | (extra if isinstance(extra, dict) else {})
    if found.get("pad_token") is None:
        named["pad_token"] = named["eos_token"]  # as it is loaded here
    return {key: _text(value) for key, value in named.items() if isinstance(value, str | dict)}


def added_tokens(folder: Path) -> dict[int, AddedToken]:
    """Tokens that tokenizer_config.json adds to those of the tokenizer, by their ids.

    Raises:
        UserError: it cannot be read.
    """
    from tokenizers import AddedToken

    added = _about(folder).get("added_tokens_decoder")
    told = added.items() if isinstance(added, dict) else ()
    return {
        int(id_): AddedToken(each["content"], **{flag: bool(each[flag]) for flag in FLAGS if flag in each})
        for id_, each in told
        if id_.isdecimal() and isinstance(each, dict) and isinstance(each.get("content"), str) and each["content"]
    }


def _about(folder: Path) -> dict[str, Any]:
    file = folder / "tokenizer_config.json"
    return headers.read_json(file) if file.is_file() else {}


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as problem:
        raise UserError(f"{file}: cannot be read ({problem.strerror}); copy the model again") from None
    except ValueError:
        raise headers.broken(file, "is not text in UTF-8") from None


def _text(token: Any) -> str:
    """A special token, which may be written down with how it is found."""
    return str(token.get("content", "")) if isinstance(token, dict) else str(token)
