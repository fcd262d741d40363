"""Measure every checkpoint of one fine-tune against its base, and let each answer the harmful evaluation requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from rim import chat, drift, forced, forgetting, forgetting_tables, gradients, mechanism, models, tables
from rim.backends import each_served, leave_gpu
from rim.families import Anatomy
from rim.generate import Backend, TransformersBackend, answer
from rim.progress import say
from rim.provenance import verified, write_receipt
from rim.settings.forgetting import Forgetting
from rim.settings.inference import Inference


def run(
    settings: dict[str, Any],
    neurons: Path,
    responses: Path,
    datasets: list[Path],
    trained: Path,
    checkpoints: list[Path],
    steps: Path,
    output: Path,
    replies: Path,
) -> None:
    """All but `neurons` and the outputs are receipts; `datasets` are those of harmful requests and of
    the task, `trained` the one that the fine-tune was trained on."""
    wanted, inference = Forgetting(**settings["forgetting"]), Inference(**settings["inference"])
    harmful, task = (tables.read(verified(path), tables.DATASET) for path in datasets)
    asked = tables.read(verified(responses), tables.RESPONSE)
    every = forced.base_replies(asked, wanted.harmful, wanted.think, harmful).filter(pl.col("split") == "evaluation")
    safety_replies, task_replies = (
        forced.said(every),
        forced.said(forced.base_replies(asked, wanted.task, wanted.think, task)),
    )
    prompts = {wanted.harmful: harmful.filter(pl.col("id").is_in(every["id"].to_list()))}
    base, tokenizer = mechanism.open_model(settings, checkpoints)
    on_safety, on_task = (
        forced.texts(tokenizer, tables.some(table, wanted.texts), wanted.pool)
        for table in (safety_replies, task_replies)
    )
    before = forgetting.snapshot(base, on_safety, on_task, wanted)
    sets = forgetting.neuron_sets(
        tables.read(neurons, forgetting_tables.NEURONS),
        [values.shape[1] for values in before.safety],
        forgetting.expert_widths(base, wanted.tensor),
    )
    measured: list[dict[str, Any]] = []
    switch: chat.ThinkSwitch = settings["think"]
    if wanted.gradients and wanted.tensor == "neurons":
        rows = tables.read(verified(trained), tables.DATASET)
        rows = tables.some(rows.head(settings["rows"]) if settings["rows"] else rows, wanted.texts)
        refusals = tables.some(safety_replies.filter(forced.refuses()), wanted.texts)
        found = gradients.gradient_rows(
            base,
            [(row.ids, row.query) for row in forced.texts(tokenizer, refusals, wanted.pool)],
            forced.training_texts(tokenizer, rows, switch),
            sets,
            wanted.batch_size,
        )
        measured += [{"step": 0, **row} for row in found]
    leave_gpu(base)  # which holds one model at a time
    once = inference.model_copy(update={"think": [wanted.think]})
    limits = {wanted.harmful: settings["max_new_tokens"]}
    answers = []

    def ask(backend: Backend, name: str) -> None:
        label = f"compute_ras {settings['label']} {name}"
        answers.append(answer(backend, tokenizer, switch, prompts, once, limits, settings["seed"], label, name))
        say(f"{label}: done")

    folders = sorted(path for path in verified(steps).iterdir() if path.is_dir())
    for folder in folders:
        tuned = Anatomy(models.load_model(str(folder), settings["dtype"]))
        drift.check_architecture(base.model, tuned.model, str(folder))
        after = forgetting.snapshot(tuned, on_safety, on_task, wanted)
        step = int(folder.name.removeprefix("step"))
        metrics = [
            *forgetting.ras_rows(before, after, sets),
            *forgetting.baseline_rows(before, after, base, tuned),
        ]
        measured += [{"step": step, **row} for row in metrics]
        if inference.backend == "transformers":
            ask(TransformersBackend(tuned.model, tokenizer, inference.batch_size), folder.name)
        leave_gpu(tuned)
        del tuned, after  # before the next is loaded
    if inference.backend == "vllm":
        for name, backend in each_served(folders, settings, inference, tokenizer):
            ask(backend, name)
    table = pl.DataFrame(measured, schema=dict(forgetting_tables.CHECKPOINTS))
    tables.write(table, forgetting_tables.CHECKPOINTS, output)
    tables.write(pl.concat(answers), tables.RESPONSE, replies)
    write_receipt(replies, settings=settings)
