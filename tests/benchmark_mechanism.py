"""Measure what workflow/docs/performance.md says about reading activations: `make benchmark-mechanism`, with the extra `peers` installed.

Process-CPU time of one thread, in ratios, each the median of five rounds in which the ways take turns in rotating order, so
that a busy machine disturbs all alike. Models are random Qwen3s: tiny has the organisms' shape, mid about 30 million
parameters. Every way runs the same prompts of 64 to 128 tokens in batches of 32 and ends with the numbers in memory.
"""

import argparse
import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from rim.analysis.ablation import ablated_heads
from rim.analysis.capture import Row, capture
from rim.analysis.head_effects import head_effects
from rim.models.families import ModelView

ROUNDS, BATCH, VOCABULARY = 5, 32, 355
SHAPES = {
    "tiny": {"hidden_size": 128, "num_hidden_layers": 4, "intermediate_size": 384, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32},
    "mid": {"hidden_size": 512, "num_hidden_layers": 8, "intermediate_size": 1536, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 64},
}  # fmt: skip
POSITIONS = ["user_last", "turn_end", "turn_start", "assistant", "think_open", "inner", "think_close", "last"]


def build(shape: str) -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    return Qwen3ForCausalLM(Qwen3Config(vocab_size=VOCABULARY, tie_word_embeddings=True, **SHAPES[shape])).eval()


def prompts(count: int) -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [rng.integers(5, VOCABULARY, rng.integers(64, 129)).tolist() for _ in range(count)]


def batches(ids: list[list[int]], ordered: bool) -> list[dict[str, torch.Tensor]]:
    """Right-padded batches; sorted by length, or in the order in which the prompts came."""
    rows = sorted(ids, key=len) if ordered else ids
    made = []
    for first in range(0, len(rows), BATCH):
        part = rows[first : first + BATCH]
        length = max(map(len, part))
        padded = torch.tensor([row + [0] * (length - len(row)) for row in part])
        mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in part])
        made.append({"input_ids": padded, "attention_mask": mask})
    return made


def compare(ways: dict[str, Callable[[], Any]]) -> dict[str, tuple[float, float]]:
    """The median and the least CPU seconds of each way over the rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    with torch.inference_mode():
        for name in names:
            ways[name]()  # warm up
        for turn in range(ROUNDS):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                gc.collect()
                begun = time.process_time()
                ways[name]()
                seconds[name].append(time.process_time() - begun)
    return {name: (statistics.median(times), min(times)) for name, times in seconds.items()}


def ratio(times: dict[str, tuple[float, float]], name: str, to: str) -> str:
    """The ratio of medians, and of the least times, which a busy machine disturbs less."""
    return f"{times[name][0] / times[to][0]:.2f} ({times[name][1] / times[to][1]:.2f})"


def reading(shape: str, count: int) -> None:
    """Ratios of caching to a bare forward pass over the same batches."""
    model, ids = build(shape), prompts(count)
    view = ModelView(model)
    rows = [
        Row(str(i), row, {name: (len(row) - 8 + j, len(row) - 7 + j) for j, name in enumerate(POSITIONS)}, (0, len(row)), len(row) - 1)
        for i, row in enumerate(ids)
    ]  # fmt: skip
    ordered, unordered = batches(ids, True), batches(ids, False)
    kept: dict[str, int] = {}

    def bare(parts: list[dict[str, torch.Tensor]]) -> None:
        for part in parts:  # causal attention never sees padding on the right, so no mask is needed
            model.model(input_ids=part["input_ids"], use_cache=False)

    def ours() -> None:
        records = capture(view, rows, POSITIONS, BATCH)
        kept["rim"] = sum(value.nbytes for value in records.values())

    def hugging_face() -> None:
        size = 0
        for part in ordered:
            size += sum(
                state.nbytes for state in model.model(**part, use_cache=False, output_hidden_states=True).hidden_states
            )
        kept["Hugging Face output_hidden_states"] = size

    ways: dict[str, Callable[[], Any]] = {
        "bare, sorted": lambda: bare(ordered),
        "bare, unsorted": lambda: bare(unordered),
        "rim": ours,
        "Hugging Face output_hidden_states": hugging_face,
    }
    ways |= peers(shape, ordered, kept)
    times = compare(ways)
    for name in times:
        size = f"{kept[name] / 1e6 * BATCH / count:.2f}" if name in kept else ""
        print(
            f"| {name} | {ratio(times, name, 'bare, sorted')} | {ratio(times, name, 'bare, unsorted')} | {size} |",
            flush=True,
        )


def peers(shape: str, parts: list[dict[str, torch.Tensor]], kept: dict[str, int]) -> dict[str, Callable[[], Any]]:
    """The same residuals, neurons and attention rows through TransformerLens and nnsight, where they are installed."""
    ways: dict[str, Callable[[], Any]] = {}
    try:
        bridge = lens(shape)
        wanted = ("hook_out", "mlp.out.hook_in", "attn.hook_pattern")

        def filtered() -> None:
            size = 0
            for part in parts:
                names = lambda name: name.endswith(wanted) and name.count(".") in (2, 3, 4)  # noqa: E731
                cache = bridge.run_with_cache(
                    part["input_ids"], attention_mask=part["attention_mask"], names_filter=names
                )[1]
                size += sum(value.nbytes for value in cache.values())
            kept["TransformerLens, names_filter"] = size

        ways["TransformerLens, names_filter"] = filtered
    except ImportError:
        print("TransformerLens is not installed", file=sys.stderr)
    try:
        import nnsight

        wrapped = nnsight.NNsight(build(shape).model)

        def saved() -> None:
            size = 0
            for part in parts:
                with wrapped.trace(**part, use_cache=False):
                    found = nnsight.save([])
                    for layer in wrapped.layers:
                        found.append(layer.mlp.down_proj.input)
                        found.append(layer.output)
                size += sum(value.nbytes for value in found)
            kept["nnsight, save"] = size

        ways["nnsight, save"] = saved
    except ImportError:
        print("nnsight is not installed", file=sys.stderr)
    return ways


def lens(shape: str) -> Any:
    import tempfile

    from transformer_lens.model_bridge import TransformerBridge

    from rim.data.organism.tokenizer import build_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        build(shape).save_pretrained(folder)
        build_tokenizer().save_pretrained(folder)
        return TransformerBridge.boot_transformers(folder, device="cpu", dtype=torch.float32)


def sweeping(shape: str) -> None:
    """Ratios of the exact head sweep to one full forward pass per head."""
    model = build(shape)
    view = ModelView(model)
    ids = [row[:64] for row in prompts(BATCH)]
    batch, heads = (
        torch.tensor(ids),
        [(layer, head) for layer in range(len(view.blocks)) for head in range(view.heads)],
    )

    def each() -> None:
        for head in heads:
            with ablated_heads(view, [head]):
                model(input_ids=batch, use_cache=False, logits_to_keep=1)

    ways: dict[str, Callable[[], Any]] = {
        "one forward pass per head": each,
        "rim": lambda: head_effects(view, ids, (5, 9), "sweep"),
    }
    try:
        bridge = lens(shape)

        def looped() -> None:
            for layer, head in heads:
                columns = view.columns(head)

                def zero(values: torch.Tensor, hook: Any, columns: slice = columns) -> torch.Tensor:
                    flat = values.flatten(2) if values.ndim == 4 else values
                    flat[..., columns] = 0
                    return flat.view_as(values)

                bridge.run_with_hooks(batch, fwd_hooks=[(f"blocks.{layer}.attn.o.hook_in", zero)])

        ways["TransformerLens, run_with_hooks per head"] = looped
    except ImportError:
        pass
    times = compare(ways)
    for name in times:
        print(f"| {name} | {ratio(times, name, 'one forward pass per head')} |", flush=True)


def memory(count: int) -> None:
    """Print the peak memory of caching `count` prompts into shards."""
    import tempfile
    from pathlib import Path

    from rim.analysis.cache import write_cache

    view = ModelView(build("tiny"))
    rows = [
        Row(str(i), ids, {"last": (len(ids) - 1, len(ids))}, (0, len(ids)), len(ids) - 1)
        for i, ids in enumerate(prompts(count))
    ]
    with tempfile.TemporaryDirectory() as folder:
        write_cache(view, rows, ["last"], BATCH, {}, Path(folder, "cache"), f"cache {count}")
    status = Path("/proc/self/status").read_text()  # not getrusage, whose peak begins with that of the parent process
    print(f"| {count} | {int(status.split('VmHWM:')[1].split()[0]) / 1024:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--memory", type=int, help="only cache this many prompts and print the peak memory")
    options = parser.parse_args()
    shapes = options.shapes
    torch.set_num_threads(1)
    if options.memory:
        return memory(options.memory)
    for shape in shapes:
        print(
            f"\n| reading, {shape} | to a bare pass | to a bare unsorted pass | kept per {BATCH} prompts, MB |\n|---|---|---|---|"
        )
        reading(shape, 256 if shape == "tiny" else 64)
    for shape in shapes:
        print(f"\n| every head's effect, {shape} | to one pass per head |\n|---|---|")
        sweeping(shape)
    print("\n| prompts cached | peak memory, MB |\n|---|---|", flush=True)
    for count in (512, 2048, 8192):  # a process each, since a peak never falls
        subprocess.run([sys.executable, __file__, "--memory", str(count)], check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
