"""Let one variant of one model answer the evaluation requests with sets of heads ablated, and score its probes again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from rim.analysis import ablation, texts
from rim.analysis import cache as analysis_cache
from rim.analysis.cache import Cache, identity
from rim.core import contracts, tables
from rim.core.errors import UserError
from rim.core.files import write_json
from rim.core.progress import log
from rim.core.receipts import verified, write_receipt
from rim.models import chat, loading, positions
from rim.models.engines import open_backend
from rim.models.generate import answer, asked_rows
from rim.settings.inference import Benchmark, Inference
from rim.settings.mechanism import Mechanism


def run(
    settings: dict[str, Any],
    cache: Path,
    responses: Path,
    judgements: Path,
    heads: Path,
    effects: Path,
    directions: Path,
    datasets: list[Path],
    checkpoints: list[Path],
    output: Path,
    scores: Path,
    sets: Path,
) -> None:
    """`cache`, `responses`, `directions`, `datasets` and `checkpoints` are receipts."""
    from safetensors.numpy import load_file

    wanted, inference = Mechanism(**settings["mechanism"]), Inference(**settings["inference"])
    benchmarks = {name: Benchmark(**chosen) for name, chosen in settings["benchmarks"].items()}
    loaded = {
        name: tables.read(verified(path), contracts.DATASET) for name, path in zip(benchmarks, datasets, strict=True)
    }
    prompts = {
        name: asked_rows(name, benchmark, loaded[name]).filter(pl.col("split") == "evaluation")
        for name, benchmark in benchmarks.items()
    }
    for name, asked in prompts.items():
        if asked.is_empty():
            raise UserError(
                f"benchmarks.{name}: has no rows in the evaluation split, on which heads are ablated; ask all rows"
            )
    limits = {name: chosen.max_new_tokens or inference.max_new_tokens for name, chosen in benchmarks.items()}
    splits = {name: loaded[name] for name in (wanted.harmful, wanted.harmless)}
    groups = texts.groups(tables.read(judgements, contracts.JUDGEMENT), splits, wanted.harmful)
    anatomy, tokenizer = loading.open_model(settings, checkpoints)
    bound = identity(analysis_cache.checkpoint_identity(settings["base"], settings["revision"], checkpoints), tokenizer)
    opened = Cache(verified(cache), **bound)
    means = ablation.mean_inputs(opened, groups)
    plan = ablation.plan(tables.read(heads, contracts.HEADS), tables.read(effects, contracts.EFFECTS), wanted)
    tested = groups.filter((pl.col("split") == "evaluation") & (pl.col("think") == "off"))
    replies = tables.read(verified(responses), contracts.RESPONSE).join(
        tested, on=texts.KEYS, how="semi", maintain_order="left"
    )
    rows = texts.probe_texts(replies, positions.templates(tokenizer, settings["think"], ["off"]))
    vectors = load_file(verified(directions))
    scored = []
    for name, chosen in plan.items():
        with ablation.ablated_heads(anatomy, chosen, means if ":mean:" in name else None):
            scored += ablation.probe_scores(anatomy, name, rows, groups, vectors, wanted.batch_size)
    backend, _ = open_backend(settings, checkpoints, inference, loaded=anatomy, editable=True)
    edited = backend.anatomy
    switch: chat.ThinkSwitch = settings["think"]
    answers = []
    for name, chosen in plan.items():
        label = f"ablate {settings['label']} {name}"
        with ablation.ablated_heads(edited, chosen, means if ":mean:" in name else None):
            answers.append(
                answer(backend, tokenizer, switch, prompts, inference, limits, settings["seed"], label, name)
            )
        log(f"{label}: done")
    empty = pl.DataFrame(schema=dict(contracts.RESPONSE))
    tables.write(pl.concat([empty, *answers]), contracts.RESPONSE, output)
    write_receipt(output, settings=settings)
    tables.write(pl.DataFrame(scored, schema=dict(contracts.SCORES)), contracts.SCORES, scores)
    write_json(sets, plan)
