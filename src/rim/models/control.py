"""Text into tokens and back, where text of others that spells a control token stays text.

A tokenizer makes a control token, such as `<|im_end|>` or `<think>`, of every place that spells one, whoever wrote it: a request
could end its own turn, or think in the model's place. So what comes from data is *quoted* before a chat template gets it:
MARK, a character for private use, stands after the first character of whatever spells a control token in it, which is
then none for the template and for whoever looks for think tags. Marks stay where texts are kept, so that they are read
the same again.

Text without marks is encoded by the tokenizer itself. Text with marks is encoded without them by a copy of the tokenizer
whose control tokens are spelled like nothing that anybody writes, as are those that stand in the text unmarked. Normalization,
merges over the template's boundaries and the spaces that some tokenizers put first are thus those of the original. Tokens
added for words or white space (GPT-NeoX has some for indentation) control nothing and stay what they are.
"""

from __future__ import annotations

import json
import re
import secrets
from functools import cache
from typing import TYPE_CHECKING, Any

from rim.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase


MARK = "\U000f5afe"  # of a private use area; one that stands in the text itself is doubled


@cache
def control_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """What spells a control token, with its id: all special tokens, and added ones that are not words or white space."""
    return {
        each.content: id_
        for id_, each in tokenizer.added_tokens_decoder.items()
        if len(each.content) > 1 and (each.special or re.search(r"[^\w\s]", each.content))
    }


@cache
def _spelled(tokenizer: PreTrainedTokenizerBase, also: tuple[str, ...] = ()) -> re.Pattern[str]:
    texts = sorted({*control_tokens(tokenizer), *also}, key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, texts)) or r"(?!)")


@cache
def _normalizes(tokenizer: Any) -> bool:
    """Whether a control token is found in text of another spelling too, such as another case or width."""
    added = tokenizer.added_tokens_decoder
    changes = tokenizer.is_fast and tokenizer.backend_tokenizer.normalizer is not None
    return changes and any(added[id_].normalized for id_ in control_tokens(tokenizer).values())


def quote(tokenizer: PreTrainedTokenizerBase, text: str, also: tuple[str, ...] = ()) -> str:
    """Text of others, with marks in whatever spells a control token or one of the texts in `also`."""
    quoted, before = text.replace(MARK, 2 * MARK), ""
    if _normalizes(tokenizer) and set(_encode_plain(tokenizer, text)) & set(control_tokens(tokenizer).values()):
        return re.sub(rf"(?<=[^\s{MARK}])(?=[^\s{MARK}])", MARK, quoted)
    while quoted != before:  # what is marked may have hidden another that begins inside it
        before = quoted
        quoted = _spelled(tokenizer, also).sub(lambda found: found[0][0] + MARK + found[0][1:], before)
    return quoted


def unquote(text: str) -> str:
    """Quoted text as it was."""
    return re.sub(f"{MARK}({MARK}?)", r"\1", text)


def quoted_among(texts: Sequence[str]) -> int:
    """How many of these texts have something in them that spells a control token and is none."""
    return sum(any(len(marks) % 2 for marks in re.findall(f"{MARK}+", text)) for text in texts)


def by_itself(tokenizer: Any, text: str) -> str:
    """A text as a tokenizer reads one that stands alone: behind the control token that it puts first, and the space that some
    (Metaspace, `first`) put before the first word of a text but not behind that token."""
    own = list(tokenizer("a").input_ids)
    first = str(tokenizer.bos_token) if tokenizer.bos_token is not None and own[0] == tokenizer.bos_token_id else ""
    if text.startswith(first):
        return text
    spaced = own != _encode_plain(tokenizer, f"{first}a") and own == _encode_plain(tokenizer, f"{first} a")
    return first + " " * (spaced and not text.startswith(" ") and not _spelled(tokenizer).match(text)) + text


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The token ids of a text, to which no token is added; what is marked is read as text.

    Raises:
        UserError: an organism does not know a word, or this kind of tokenizer cannot read marked text.
    """
    try:
        return _encode_marked(tokenizer, text) if MARK in text else _encode_plain(tokenizer, text)
    except Exception as error:  # tokenizers raises nothing more special
        if "Missing [UNK]" not in str(error):
            raise
    plain = unquote(text)
    raise UserError(
        f"tokenizer '{tokenizer.name_or_path}': does not know '{_unknown_word(tokenizer, text)}' in "
        f"{plain if len(plain) < 200 else plain[:200] + '…'!r}; an organism knows the words of its own world only: ask it "
        "datasets of the adapter 'organism', or ask another model"
    )


def _encode_plain(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def _encode_marked(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    copy, spellings = _respelled(tokenizer)
    respelled = unquote(_spelled(tokenizer).sub(lambda found: spellings[found[0]], text))
    return list(copy.encode(respelled, add_special_tokens=False).ids)


@cache
def _respelled(tokenizer: Any) -> tuple[Tokenizer, dict[str, str]]:
    """A copy whose control tokens have other spellings and the same ids, and these spellings.

    Raises:
        UserError: this kind of tokenizer cannot be copied so.
    """
    from tokenizers import Tokenizer

    described = json.loads(tokenizer.backend_tokenizer.to_str()) if tokenizer.is_fast else {"model": {}}
    model = described["model"]
    if not isinstance(model.get("vocab"), dict):
        raise UserError(
            f"tokenizer '{tokenizer.name_or_path}': cannot read as text what spells a control token, "
            "having no tokenizer.json of type BPE, WordPiece or WordLevel; leave such rows out, or use another model"
        )
    secret = secrets.token_hex(8)  # so that nobody can write it; no id depends on it
    spellings = {text: f"{secret}.{id_}." for text, id_ in control_tokens(tokenizer).items()}
    for token in described["added_tokens"]:
        model["vocab"].pop(token["content"], None)
        token["content"] = spellings.get(token["content"], token["content"])
        model["vocab"][token["content"]] = token["id"]  # so that it is added under this id
    if "merges" in model:
        model["merges"] = [pair for pair in model["merges"] if not {*pair, "".join(pair)} & spellings.keys()]
    if "unk_token" in model:
        model["unk_token"] = spellings.get(model["unk_token"], model["unk_token"])
    # a post-processor may name control tokens, and adds nothing here
    unused = dict.fromkeys(("post_processor", "truncation", "padding"))
    return Tokenizer.from_str(json.dumps(described | unused)), spellings


def _unknown_word(tokenizer: Any, text: str) -> str:
    """The first word of a quoted text that a tokenizer with a closed vocabulary lacks."""
    backend = tokenizer.backend_tokenizer
    parts = _spelled(tokenizer).split(text)
    words = [word for part in parts for word, _ in backend.pre_tokenizer.pre_tokenize_str(unquote(part))]
    return str(next(word for word in words if backend.token_to_id(word) is None))


def decode(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    """The text of what a model wrote, with marks in whatever only spells a control token."""
    codes = control_tokens(tokenizer).values()
    text = str(tokenizer.decode(ids, skip_special_tokens=False))
    if MARK not in text and len(_spelled(tokenizer).findall(text)) == sum(id_ in codes for id_ in ids):
        return text
    written, first = "", 0
    for at in [*(at for at, id_ in enumerate(ids) if id_ in codes), len(ids)]:
        written += quote(tokenizer, str(tokenizer.decode(ids[first:at]))) + str(tokenizer.decode(ids[at : at + 1]))
        first = at + 1
    return written
