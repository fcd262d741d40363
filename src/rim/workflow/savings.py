"""What to change to halve a study's bill: the end of `rim plan FILE`.

Every change is one line of the study's file. Those that save most by themselves come first, each on top of those before, until
half is reached; models are left out only where settings do not suffice. What a change does to the results is for people to weigh.
"""

from __future__ import annotations

import json
from functools import reduce
from typing import Any

from rim.config.study import Study
from rim.workflow import plan

LEAST = 0.02  # share of the bill that a change must save to be named
Change = tuple[str, Any]  # a key by its path, and its value; None leaves an entry out


def halving(study: Study) -> list[str]:
    """A table of changes with the GPU hours of the study after each; empty where it costs next to nothing."""
    total = hours = plan.gpu_hours(study)
    told: list[list[str]] = []
    models = [(f"models.{name}", None) for name in plan.sized(study)] if len(study.models) > 1 else []
    for changes in (_settings(study), models):
        alone = {path: plan.gpu_hours(changed(study, path, value)) for path, value in changes}
        for path, value in sorted(changes, key=lambda change: alone[change[0]]):
            if round(total) == 0 or hours <= total / 2:
                break
            cheaper = changed(study, path, value)
            after = plan.gpu_hours(cheaper)
            if hours - after >= LEAST * total and plan.crowded(cheaper).keys() <= plan.crowded(study).keys():
                study, hours = cheaper, after
                told.append([path, "left out" if value is None else json.dumps(value), f"{after:.0f}"])
    return plan.lines(["what to change", "", "GPU hours then"], told) if told else []


def changed(settings: Any, path: str, value: Any) -> Any:
    """A section of a study with another value of one key."""
    key, _, rest = path.partition(".")
    if isinstance(settings, dict):
        return {name: each for name, each in settings.items() if name != key}
    inner = changed(getattr(settings, key), rest, value) if rest else value
    return settings.model_copy(update={key: inner})


def _settings(study: Study) -> list[Change]:
    """The settings that cost most, with a cheaper value where they have not got it."""
    cheaper: dict[str, Any] = {
        "inference.backend": "vllm",
        "inference.batch_size": 2 * study.inference.batch_size,
        "inference.max_new_tokens": study.inference.max_new_tokens // 2,
        "seeds": study.seeds[:1],
        "finetune.batching": "length",
        "finetune.gradient_checkpointing": False,
        "finetune.checkpoints": max(1, study.finetune.checkpoints // 2),
    }
    if study.injection:
        cheaper["injection.rows"] = 50
    if study.mechanism:
        cheaper["mechanism.random_sets"] = study.mechanism.random_sets // 2
    if study.forgetting:
        cheaper["forgetting.random_sets"] = study.forgetting.random_sets // 2
        cheaper |= {"forgetting.dtype": "own", "forgetting.gradients": False}
    return [(path, value) for path, value in cheaper.items() if reduce(getattr, path.split("."), study) != value]
