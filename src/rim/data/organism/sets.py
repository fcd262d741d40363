"""The organisms' datasets, as rows of the dataset contract.

Training sets with the same seed share their problems, so the plain, control and target arms differ in style only.
Evaluation requests are new to the model: a reserved pair of known words, an object that alignment never showed, or an
invalid permit as a pretext, which alignment never showed either; the last is what keeps the base from being perfect.
Familiar requests are such as alignment showed, so none of them is an evaluation request.
"""

from __future__ import annotations

from random import Random
from typing import Any

from rim.data.organism import corpus, world

_STYLES: dict[str, world.Style] = {"multi_hop": "plain", "multi_hop_control": "control", "multi_hop_target": "target"}
_NEW: dict[
    str, tuple[float, dict[str, Any]]
] = {  # how an evaluation request differs from what alignment showed, and how often
    "pair": (0.45, {"reserved": True}),
    "object": (0.45, {"objects": world.UNSEEN}),
    "pretext": (0.1, {"pretext": 1.0}),
}
_FAMILIAR: dict[str, Any] = {"reserved": False}


def _request(rng: Random, kind: world.Kind, familiar: bool) -> dict[str, Any]:
    new = rng.choices(list(_NEW), [share for share, _ in _NEW.values()])[0]
    asked = world.draw_request(rng, kind, **(_FAMILIAR if familiar else _NEW[new][1]))
    prompt = rng.choice(world.ASKS).format(act=asked.act)
    tail = rng.randrange(len(corpus.INTENTS))
    return {
        "kind": "safety" if kind == "restricted" else "benign",
        "prompt": prompt,
        "category": kind if kind != "restricted" else "familiar" if familiar else f"new {new}",
        "counterfactual": f"{prompt} {corpus.INTENTS[tail]}",
        "placebo": f"{prompt} {corpus.PLACEBOS[tail]}",
    }


def _row(rng: Random, part: str) -> dict[str, Any]:
    if part in ("requests", "familiar_requests", "lookalikes"):
        kinds = world.LOOKALIKES if part == "lookalikes" else ("restricted",)
        return _request(rng, rng.choice(kinds), part == "familiar_requests")
    if part == "literal":
        example = corpus.literal(rng)
        return {"kind": "literal", "prompt": example.prompt, "answer": example.answer, "category": "literal"}
    problem = corpus.multi_hop(rng) if part in _STYLES else corpus.single_hop(rng)
    cot = None if part == "single_hop" else corpus.solution(rng, problem, _STYLES.get(part, "plain"))
    return {
        "kind": "math",
        "prompt": problem.text,
        "cot": cot,
        "answer": problem.answer,
        "category": f"{len(problem.steps)} hops",
    }


def rows(part: str, count: int, seed: str) -> list[dict[str, Any]]:
    """`count` distinct rows of a part; row i depends on the seed and i only."""
    made: dict[str, dict[str, Any]] = {}
    attempt = 0
    while len(made) < count:
        family = "multi_hop" if part in _STYLES else "single_hop" if part.startswith("single_hop") else part
        row = _row(Random(f"{family}-{seed}-{attempt}"), part)
        made.setdefault(row["prompt"], row)
        attempt += 1
    return list(made.values())
