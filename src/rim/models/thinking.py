"""What an engine gives back, and the bound on thinking that no engine needs to know about.

A model that thinks without end gives no answer to judge. With `inference.max_thinking_tokens`, thinking that is still open
at the bound is closed for the model ("budget forcing", Muennighoff et al. 2025, without any added words), and the model
goes on from there. It takes a second pass over the replies that are not finished by then, in any engine alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rim.core.progress import log
from rim.core.seeds import stream_seed
from rim.models import control
from rim.models.thoughts import Markers, part

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


SECOND_PASS = 1  # a stream of its own, so that it does not repeat the random numbers of the first


@dataclass(frozen=True)
class Reply:
    """What a backend gives back for one prompt: the text without its end token, and whether it ended by itself."""

    text: str
    tokens: int
    stopped: bool


@dataclass(frozen=True)
class Continuation:
    """The tokens that an engine appends, without the end token, and whether there was one."""

    tokens: list[int]
    stopped: bool

    @classmethod
    def until(cls, ends: set[int], tokens: list[int]) -> Continuation:
        """The part before the first end token, after which there may be padding."""
        length = next((n for n, token in enumerate(tokens) if token in ends), None)
        return cls(tokens[:length], length is not None)


@dataclass(frozen=True)
class Bound:
    """After how many tokens a thought is ended, the markers of the model's thoughts, and of the one in which it begins."""

    tokens: int
    markers: Markers
    begun: Markers | None = None


class Extend(Protocol):
    def __call__(self, ids: list[list[int]], max_new_tokens: int, *, seed: int) -> list[Continuation]: ...


def think_within(
    bound: Bound,
    max_new_tokens: int,
    prompts: list[str],
    tokenizer: PreTrainedTokenizerBase,
    extend: Extend,
    seed: int,
    label: str,
) -> list[Continuation]:
    """Extend rendered prompts with at most so many tokens of thinking, its end included, and `max_new_tokens` in all."""
    ids = [control.encode(tokenizer, prompt) for prompt in prompts]
    closing = control.encode(tokenizer, bound.markers.end)
    room = bound.tokens - len(closing)
    extended = extend(ids, room, seed=seed)
    unfinished = [i for i, each in enumerate(extended) if not each.stopped]
    written = {i: control.decode(tokenizer, extended[i].tokens) for i in unfinished}
    left_open = {i: part(written[i], bound.begun, bound.markers).open for i in unfinished}
    thinking = [i for i, kind in left_open.items() if kind]
    ends = {kind: control.encode(tokenizer, kind.end) for kind in left_open.values() if kind}
    begun = {i: extended[i].tokens + (ends[kind] if kind else []) for i, kind in left_open.items()}
    if not unfinished:
        return extended
    more = extend([ids[i] + begun[i] for i in unfinished], max_new_tokens - room, seed=stream_seed(seed, SECOND_PASS))
    for i, each in zip(unfinished, more, strict=True):
        tokens = begun[i] + each.tokens
        extended[i] = Continuation(tokens[:max_new_tokens], each.stopped and len(tokens) < max_new_tokens)
    log(f"{label}: ended the thinking of {len(thinking)} of {len(prompts)} replies after {bound.tokens} tokens")
    return extended
