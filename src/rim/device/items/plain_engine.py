"""vLLM by itself, with its own defaults, CUDA graphs among them: what our engine is compared with."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from importlib.util import find_spec

from rim.device import clock
from rim.device.rows import Row, Skipped
from rim.device.shapes import Setup, checkpoint, prompts
from rim.models import control, loading
from rim.models.vllm import ENVIRONMENT


def run(setup: Setup) -> Iterator[Row]:
    """Tokens per second at each number of sequences; every reply has the same length."""
    if find_spec("vllm") is None:
        raise Skipped("vLLM is not installed here (workflow/docs/engines.md says how)")
    location, scale = checkpoint(setup), setup.scale
    os.environ |= {**ENVIRONMENT, "VLLM_ENABLE_V1_MULTIPROCESSING": "1"}  # a process of its own, as without us
    from vllm import LLM, SamplingParams

    tokenizer = loading.load_tokenizer(str(location))
    begun = time.perf_counter()
    engine = LLM(
        model=str(location),
        dtype=scale.dtype,
        skip_tokenizer_init=True,
        generation_config="vllm",
        gpu_memory_utilization=scale.memory,
        max_model_len=-1,  # as long as memory allows
        seed=0,
    )
    yield Row("start", time.perf_counter() - begun, "s")
    sampling = SamplingParams(max_tokens=scale.reply, temperature=0.0, ignore_eos=True, detokenize=False)
    for count in scale.sequences:
        ids = [control.encode(tokenizer, each) for each in prompts(tokenizer, count, scale.prompt)]
        asked = [{"prompt_token_ids": each} for each in ids]

        def answer(asked: list[dict[str, list[int]]] = asked) -> None:
            engine.reset_prefix_cache()
            engine.generate(asked, sampling, use_tqdm=False)

        spent = clock.medians({"answer": answer}, "cpu")["answer"]  # the engine waits for its GPU
        yield Row(generation(count), count * scale.reply / spent, "tokens/s")


def generation(count: int) -> str:
    """What the row of so many sequences is called, here and of our engine."""
    return f"{count} sequences"
