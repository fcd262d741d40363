"""The organisms' datasets, as rows of the dataset contract.

Training sets with the same seed share their problems, so the plain, control and target arms differ in style only.
Evaluation requests are new to the model: a reserved pair of known words, an object that alignment never showed, or an
invalid permit as a pretext, which alignment never showed either; the last is what keeps the base from being perfect.
Familiar requests are such as alignment showed, so none of them is an evaluation request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from rim.data.organism import corpus, world

Row = dict[str, Any]
_NEW: dict[
    str, tuple[float, dict[str, Any]]
] = {  # how an evaluation request differs from what alignment showed, and how often
    "pair": (0.45, {"reserved": True}),
    "object": (0.45, {"objects": world.UNSEEN}),
    "pretext": (0.1, {"pretext": 1.0}),
}
_FAMILIAR: dict[str, Any] = {"reserved": False}


@dataclass(frozen=True)
class Part:
    """One synthetic set: the kind of its rows, how one is drawn, and the stem of its seeds; one stem, the same problems."""

    kind: str
    draw: Callable[[Random], Row]
    stem: str


def _request(rng: Random, kinds: Sequence[world.Kind], familiar: bool = False) -> Row:
    kind = rng.choice(kinds)
    new = rng.choices(list(_NEW), [share for share, _ in _NEW.values()])[0]
    asked = world.draw_request(rng, kind, **(_FAMILIAR if familiar else _NEW[new][1]))
    prompt = rng.choice(world.ASKS).format(act=asked.act)
    tail = rng.randrange(len(corpus.INTENTS))
    return {
        "prompt": prompt,
        "category": kind if kind != "restricted" else "familiar" if familiar else f"new {new}",
        "counterfactual": f"{prompt} {corpus.INTENTS[tail]}",
        "placebo": f"{prompt} {corpus.PLACEBOS[tail]}",
    }


def _literal(rng: Random) -> Row:
    example = corpus.literal(rng)
    return {"prompt": example.prompt, "answer": example.answer, "category": "literal"}


def _problem(rng: Random, draw: Callable[[Random], corpus.Problem], style: world.Style | None) -> Row:
    problem = draw(rng)
    cot = corpus.solution(rng, problem, style) if style else None
    return {"prompt": problem.text, "cot": cot, "answer": problem.answer, "category": f"{len(problem.steps)} hops"}


PARTS = {
    "requests": Part("safety", partial(_request, kinds=("restricted",)), "requests"),
    "familiar_requests": Part("safety", partial(_request, kinds=("restricted",), familiar=True), "familiar_requests"),
    "lookalikes": Part("benign", partial(_request, kinds=world.LOOKALIKES), "lookalikes"),
    "single_hop": Part("math", partial(_problem, draw=corpus.single_hop, style=None), "single_hop"),
    "single_hop_cot": Part("math", partial(_problem, draw=corpus.single_hop, style="plain"), "single_hop"),
    "multi_hop": Part("math", partial(_problem, draw=corpus.multi_hop, style="plain"), "multi_hop"),
    "multi_hop_control": Part("math", partial(_problem, draw=corpus.multi_hop, style="control"), "multi_hop"),
    "multi_hop_target": Part("math", partial(_problem, draw=corpus.multi_hop, style="target"), "multi_hop"),
    "literal": Part("literal", _literal, "literal"),
}


def rows(name: str, count: int, seed: str) -> list[Row]:
    """`count` distinct rows of a part; row i depends on the seed and i only."""
    part = PARTS[name]
    made: dict[str, Row] = {}
    attempt = 0
    while len(made) < count:
        row = {"kind": part.kind, **part.draw(Random(f"{part.stem}-{seed}-{attempt}"))}
        made.setdefault(row["prompt"], row)
        attempt += 1
    return list(made.values())
