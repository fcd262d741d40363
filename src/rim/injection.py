"""Injection at inference: each prompt answered after an encouraging and after a discouraging statement (paper, figure 2).

The statement stands inside the think block, right after its opening, and the model goes on from there. Rows are ordinary
responses whose `ablation` column says what was injected, so every judge can score them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from rim import chat, tables
from rim.generate import Backend, parted
from rim.patterns.statements import statements
from rim.settings.inference import Inference

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ARMS = ("control", "target")


def inject(
    backend: Backend,
    tokenizer: PreTrainedTokenizerBase,
    switch: chat.ThinkSwitch,
    benchmarks: dict[str, pl.DataFrame],
    inference: Inference,
    limits: dict[str, int],
    seed: int,
    organism: bool,
    label: str,
) -> pl.DataFrame:
    """Answer every prompt after each statement of its pairs; returns the response contract."""
    rows: list[dict[str, Any]] = []
    for benchmark, dataset in benchmarks.items():
        asked = [
            (row["id"], pair.label(arm), statement, chat.render_injected(tokenizer, row["prompt"], statement, switch))
            for number, row in enumerate(dataset.iter_rows(named=True))
            for pair in statements(organism, number)
            for arm, statement in zip(ARMS, (pair.control, pair.target), strict=True)
        ]
        prompts = [prompt for *_, prompt in asked]
        note = f"inject {label} {benchmark}"
        budget = inference.max_thinking_tokens if switch == "tags" else None
        replies = backend.generate(prompts, limits[benchmark], inference.temperature, seed, note, budget)
        for (id_, ablation, statement, prompt), reply in zip(asked, replies, strict=True):
            text = f"{chat.OPEN}\n{statement} {reply.text.lstrip()}" if switch == "tags" else reply.text
            keys = {"benchmark": benchmark, "id": id_, "think": "on", "seed": seed, "ablation": ablation}
            rows.append({**keys, "prompt": prompt, **parted(reply, text, "on", switch)})
    return pl.DataFrame(rows, schema=dict(tables.RESPONSE))
