"""The steps of a model organism at its full size: on the CPU first, then, as an item of its own, on the card.

Steps that the card does not speed up should be told to stay on the CPU, where several of them can run side by side.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rim.analysis.capture import Row as Text
from rim.analysis.capture import capture
from rim.analysis.head_effects import head_effects
from rim.data.organism import sets
from rim.data.organism.tokenizer import build_tokenizer
from rim.device import clock
from rim.device.rows import Row
from rim.device.shapes import MODE, Setup
from rim.models import chat, control, loading
from rim.models.families import ModelView
from rim.models.generate import TransformersBackend
from rim.settings.models import Finetune, Organism
from rim.training import finetune, organism
from rim.training.finetune import Training

RECIPE = Organism(association=1.0)
CRUMB = Organism(association=1.0, hidden=64, layers=2)
COUNTS = {"cuda": (64, 20), "cpu": (4, 2)}  # texts, and optimizer steps
ON_CPU = "organism_cpu"
GAIN = 1.5  # times as fast as the CPU: less is not worth the card


def run(setup: Setup) -> Iterator[Row]:
    """Seconds of every step; where the CPU's are known, how many times as fast the card is."""
    other = setup.earlier(ON_CPU)
    with TemporaryDirectory(dir=setup.scratch) as folder:
        for name, spent in _measured(setup, Path(folder)):
            yield Row(name, spent, "s")
            alone = other.get(name)
            if isinstance(alone, int | float):
                stays = "the CPU does as well: let it stay there" if setup.gpu and alone / spent < GAIN else ""
                yield Row(f"{name}, to the CPU", alone / spent, "times as fast", note=stays)


def _measured(setup: Setup, folder: Path) -> Iterator[tuple[str, float]]:
    """Steps and their seconds, on the device that torch sees."""
    import torch

    recipe = RECIPE if setup.gpu else CRUMB
    count, steps = COUNTS[setup.device]
    place = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = build_tokenizer()
    model: Any = organism.build_model(recipe, -(-len(tokenizer) // 64) * 64, 0)
    model = model.to(place)
    location = folder / "organism"
    yield f"training, {steps} steps", _trained(model, tokenizer, recipe, steps, place, folder)
    model.save_pretrained(location)
    tokenizer.save_pretrained(location)
    view = ModelView(model.eval())
    asked = [row["prompt"] for row in sets.rows("requests", count, "e")]
    rendered = [chat.render_prompt(tokenizer, each, "on", MODE) for each in asked]
    ids = [control.encode(tokenizer, each) for each in rendered]
    rows = [
        Text(f"{i}", each, {"last": (len(each) - 1, len(each))}, (0, len(each)), len(each) - 1)
        for i, each in enumerate(ids)
    ]
    engine = TransformersBackend(view.model, tokenizer, 32)
    tasks: dict[str, Callable[[], object]] = {
        f"{count} replies": lambda: engine.generate(rendered, steps * 3, 0.0, 0, "organism"),
        f"reading {count} texts": lambda: capture(view, rows, ["last"], 32),
        f"effects of heads on {max(1, count // 8)} prompts": lambda: head_effects(
            view, ids[: max(1, count // 8)], (5, 6), "heads"
        ),
    }
    for name, work in tasks.items():
        yield name, clock.medians({name: work}, place)[name]
    yield "loading it", clock.seconds(lambda: loading.load_model(str(location)), place)
    yield f"fine-tuning, {steps} steps", _tuned(location, steps, folder)


def _trained(model: Any, tokenizer: Any, recipe: Organism, steps: int, place: str, folder: Path) -> float:
    """Training as the workflow does it, which makes its tensors wherever torch is told to."""
    import torch

    stage = next(each for each in organism.stages(recipe) if each.name == "pretrain")
    few = organism.Stage(stage.name, stage.mix, steps, stage.scale)
    ends: list[float] = []

    def note(*arguments: object) -> None:
        clock.wait(place)
        ends.append(time.perf_counter())

    with torch.device(place):
        optimizers = organism.muon_and_adamw(model, recipe, 1.0)
        snapshot = folder / "snapshot.safetensors"
        organism.train_stage(model, tokenizer, optimizers, few, recipe.batch_size, "gpu", snapshot, note)
    return (ends[-1] - ends[0]) * steps / (steps - 1)


def _tuned(location: Path, steps: int, folder: Path) -> float:
    """A whole fine-tune, loading and saving included."""
    recipe = Finetune(epochs=1, batch_size=8, checkpoints=1)
    rows = sets.rows("multi_hop_target", 8 * steps, "training")
    training = Training(
        str(location), None, "float32", MODE, 0, "organism", recipe, rows, folder / "tuned", folder / "steps"
    )
    begun = time.perf_counter()
    finetune.finetune(training)
    return time.perf_counter() - begun
