"""Measure every checkpoint of one fine-tune against its base, and let each answer the harmful evaluation requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from rim.analysis import baselines, texts
from rim.analysis import checkpoints as analysis_checkpoints
from rim.core import contracts, tables
from rim.core.progress import log
from rim.core.receipts import verified, write_receipt
from rim.models import chat, loading
from rim.models.engines import iter_checkpoint_backends, move_off_gpu
from rim.models.families import ModelView
from rim.models.generate import Backend, TransformersBackend, answer
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
    harmful, task = (tables.read(verified(path), contracts.DATASET) for path in datasets)
    asked = tables.read(verified(responses), contracts.RESPONSE)
    every = texts.base_replies(asked, wanted.harmful, wanted.think, harmful).filter(pl.col("split") == "evaluation")
    safety_replies, task_replies = (
        texts.nonempty_replies(every),
        texts.nonempty_replies(texts.base_replies(asked, wanted.task, wanted.think, task)),
    )
    prompts = {wanted.harmful: harmful.filter(pl.col("id").is_in(every["id"].to_list()))}
    base, tokenizer = loading.open_model(settings, checkpoints)
    on_safety, on_task = (
        texts.forced_texts(tokenizer, tables.first_by_id(table, wanted.texts), wanted.pool)
        for table in (safety_replies, task_replies)
    )
    before = analysis_checkpoints.snapshot(base, on_safety, on_task, wanted)
    sets = analysis_checkpoints.neuron_sets(
        tables.read(neurons, contracts.NEURONS),
        [values.shape[1] for values in before.safety],
        analysis_checkpoints.expert_widths(base, wanted.tensor),
    )
    measured: list[dict[str, Any]] = []
    switch: chat.ThinkSwitch = settings["think"]
    if wanted.gradients and wanted.tensor == "neurons":
        rows = tables.read(verified(trained), contracts.DATASET)
        rows = tables.first_by_id(rows.head(settings["rows"]) if settings["rows"] else rows, wanted.texts)
        refusals = tables.first_by_id(safety_replies.filter(texts.refuses()), wanted.texts)
        found = baselines.gradient_rows(
            base,
            [(row.ids, row.query) for row in texts.forced_texts(tokenizer, refusals, wanted.pool)],
            texts.training_texts(tokenizer, rows, switch),
            sets,
            wanted.batch_size,
        )
        measured += [{"step": 0, **row} for row in found]
    move_off_gpu(base)  # which holds one model at a time
    once = inference.model_copy(update={"think": [wanted.think]})
    limits = {wanted.harmful: settings["max_new_tokens"]}
    answers = []

    def ask(backend: Backend, name: str) -> None:
        label = f"compute_ras {settings['label']} {name}"
        answers.append(answer(backend, tokenizer, switch, prompts, once, limits, settings["seed"], label, name))
        log(f"{label}: done")

    folders = sorted(path for path in verified(steps).iterdir() if path.is_dir())
    for folder in folders:
        tuned = ModelView(loading.load_model(str(folder), settings["dtype"]))
        baselines.check_architecture(base.model, tuned.model, str(folder))
        after = analysis_checkpoints.snapshot(tuned, on_safety, on_task, wanted)
        step = int(folder.name.removeprefix("step"))
        metrics = [
            *analysis_checkpoints.ras_rows(before, after, sets),
            *analysis_checkpoints.baseline_rows(before, after, base, tuned),
        ]
        measured += [{"step": step, **row} for row in metrics]
        if inference.backend == "transformers":
            ask(TransformersBackend(tuned.model, tokenizer, inference.batch_size), folder.name)
        move_off_gpu(tuned)
        del tuned, after  # before the next is loaded
    if inference.backend == "vllm":
        for name, backend in iter_checkpoint_backends(folders, settings, inference, tokenizer):
            ask(backend, name)
    table = pl.DataFrame(measured, schema=dict(contracts.CHECKPOINTS))
    tables.write(table, contracts.CHECKPOINTS, output)
    tables.write(pl.concat(answers), contracts.RESPONSE, replies)
    write_receipt(replies, settings=settings)
