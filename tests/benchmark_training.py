"""Measure what workflow/docs/performance.md says about packing rows: `make benchmark-training`.

Tokens trained per second of process-CPU time, of one thread, in ratios to padding: each the median over rounds in which the
ways take turns in rotating order, so that a busy machine disturbs all alike. The model is random, of the width of Qwen3-0.6B
and fewer of its layers, with a vocabulary as much smaller, and adapters of rank 32. Rows are invented and as long as those of
GSM8K are: lognormal, 165 tokens on average. An optimizer step is 32 rows, in passes of at most four rows of at most 1024 tokens.
"""

import argparse
import os
import statistics
import sys
import time
from random import Random
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from rim.settings.models import Lora
from rim.training import packing
from rim.training.finetune import with_adapters
from rim.training.packing import IGNORE, Row

LAYERS, VOCABULARY = 28, 151_936  # of Qwen3-0.6B
SHAPE = {
    "hidden_size": 1024, "intermediate_size": 3072, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
}  # fmt: skip
BATCH, MICRO, LIMIT = 32, 4, 1024
Pass = dict[str, torch.Tensor]


def build(layers: int) -> Any:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    words = VOCABULARY * layers // LAYERS
    model = Qwen3ForCausalLM(Qwen3Config(vocab_size=words, num_hidden_layers=layers, **SHAPE))
    return with_adapters(model, Lora(), None).train()


def rows(words: int) -> list[Row]:
    """Of one step, a third of each a prompt."""
    random = Random(0)
    made = []
    for _ in range(BATCH):
        ids = [random.randrange(words) for _ in range(min(LIMIT, round(random.lognormvariate(5.05, 0.34))))]
        made.append({"input_ids": ids, "labels": [IGNORE] * (len(ids) // 3) + ids[len(ids) // 3 :]})
    return made


def padded(step: list[Row], size: int) -> list[Pass]:
    """Passes of so many rows, padded on the right to the longest."""
    made = []
    for first in range(0, len(step), size):
        part = step[first : first + size]
        length = max(len(row["input_ids"]) for row in part)
        fills = {"input_ids": 0, "labels": IGNORE, "attention_mask": 0}
        columns = [row | {"attention_mask": [1] * len(row["input_ids"])} for row in part]
        made.append(
            {
                name: torch.tensor([row[name] + [fill] * (length - len(row[name])) for row in columns])
                for name, fill in fills.items()
            }
        )
    return made


def packed(step: list[Row]) -> list[Pass]:
    batches = packing.packed([step], LIMIT, MICRO, 1, 0)
    return [batches.collate([each]) for each in batches.data]


def train(model: Any, passes: list[Pass], labelled: int) -> None:
    """Forward and backward of one optimizer step."""
    for each in passes:
        model(**each, use_cache=False, num_items_in_batch=labelled).loss.backward()
    model.zero_grad()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=2, help="of the model")
    parser.add_argument("--rounds", type=int, default=3, help="in which every way has its turn")
    given = parser.parse_args()
    model = build(given.layers)
    step = rows(model.config.vocab_size)
    real = sum(len(row["input_ids"]) for row in step)
    labelled = sum(label != IGNORE for row in step for label in row["labels"])
    ways: dict[str, list[Pass]] = {
        "padded": padded(step, MICRO),
        "sorted by length": padded(packing.by_length(step), MICRO),
        "packed": packed(step),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    train(model, [ways["packed"][-1]], labelled)  # to warm up
    names = list(ways)
    for turn in range(given.rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            begun = time.process_time()
            train(model, ways[name], labelled)
            seconds[name].append(time.process_time() - begun)
            print(f"{name}: {seconds[name][-1]:.1f} s", file=sys.stderr, flush=True)
    print("| rows | tokens computed per real one | tokens trained per second | to padded |\n|---|---|---|---|")
    for name, passes in ways.items():
        computed = sum(each["input_ids"].numel() for each in passes)
        taken = statistics.median(seconds[name])
        ratio = statistics.median(seconds["padded"]) / taken
        print(f"| {name} | {computed / real:.2f} | {real / taken:.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
