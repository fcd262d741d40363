"""What goes wrong with GPUs, as the workflow tells it: too little memory, no GPU in sight, two jobs on one card.

Each is the workflow's own job `try_model`, started as a rule starts it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from rim.core import contracts, tables
from rim.core.receipts import receipt_of, write_receipt
from rim.data.organism import sets
from rim.data.organism.tokenizer import build_tokenizer
from rim.device.rows import NEEDS_GPU, Row
from rim.device.shapes import MODE, Setup, build
from rim.settings.inference import Inference
from rim.settings.models import UNTOLD

LITTLE = {"PYTORCH_CUDA_ALLOC_CONF": "per_process_memory_fraction:0.0001"}  # of the card's memory, for one process
SHAPE: dict[str, Any] = {  # of 50 MB: more than that, and soon loaded
    "hidden_size": 512, "num_hidden_layers": 4, "intermediate_size": 1536, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 128, "vocab_size": 1024, "tie_word_embeddings": True,
}  # fmt: skip


def run(setup: Setup) -> Iterator[Row]:
    with TemporaryDirectory(dir=setup.scratch) as folder:
        place = Path(folder).resolve()
        job = _written(place)
        spent, status, _ = _run(job, place)
        yield Row("one job", spent, "s")
        yield Row("one job: exit status", status, at_most=0)
        if setup.gpu:
            _, status, told = _run(job, place, LITTLE)
            yield Row("too little memory: exit status", status, at_least=1, at_most=1, note=told)
            clear = float("too little memory" in told or "do not fit" in told or "does not fit" in told)
            yield Row("too little memory: told in one line", clear, at_least=1, note="1 is yes")
        else:
            yield Row("too little memory", None, note=NEEDS_GPU)
        spent, status, told = _run(job, place, {"CUDA_VISIBLE_DEVICES": ""})
        yield Row("no GPU in sight: exit status", status, at_most=0, note="it runs on the CPU" if not status else told)
        yield Row("no GPU in sight", spent, "s")
        begun = time.perf_counter()
        both = [_started(job, place) for _ in range(2)]
        states = [each.wait() for each in both]
        note = "" if setup.gpu else "on the CPU"
        yield Row("two jobs at once", time.perf_counter() - begun, "s", note=note)
        yield Row("two jobs at once: worst exit status", max(states), at_most=0)


def _written(place: Path) -> Path:
    """The file of a job that lets a small model answer one prompt, with all that it reads."""
    model, asked, replies = place / "model", place / "asked.parquet", place / "replies.json"
    build(SHAPE, "float32", "cpu").save_pretrained(model)
    build_tokenizer().save_pretrained(model)
    [row] = sets.rows("requests", 1, "e")
    columns = {name: row.get(name) for name in contracts.DATASET} | {"id": "0", "split": "evaluation"}
    tables.write(pl.DataFrame([columns], schema=dict(contracts.DATASET)), contracts.DATASET, asked)
    write_receipt(asked)
    told: dict[str, Any] = {"label": "tiny", "base": str(model), "revision": None, "dtype": "float32"}
    told |= {"think_switch": MODE, "prompt": UNTOLD.model_dump(mode="json"), "seed": 0, "checkpoints": []}
    job: dict[str, Any] = {"model": told, "inference": Inference().model_dump(mode="json"), "analysed": False}
    job |= {"dataset": str(receipt_of(asked)), "replies": str(replies), "inputs": [], "outputs": [str(replies)]}
    file = place / "job.json"
    file.write_text(json.dumps(job))
    return file


def _started(job: Path, place: Path, variables: dict[str, str] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "import sys; from rim.cli import main; sys.exit(main())"]
    command += ["try_model", str(job), "--threads", "1", "--gpus", "1"]
    return subprocess.Popen(
        command, cwd=place, env={**os.environ, **(variables or {})}, stderr=subprocess.PIPE, text=True
    )


def _run(job: Path, place: Path, variables: dict[str, str] | None = None) -> tuple[float, int, str]:
    """Seconds, exit status and last line of a job."""
    begun = time.perf_counter()
    process = _started(job, place, variables)
    _, told = process.communicate()
    lines = told.strip().splitlines()
    return time.perf_counter() - begun, process.returncode, lines[-1] if lines else ""
