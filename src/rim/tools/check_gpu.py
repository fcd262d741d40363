"""Check that the GPU computes what the CPU computes, and measure how fast it is.

A small model is run on the GPU and on the CPU: activations and greedy replies must agree in float32, activations in
bfloat16 up to its rounding, and an ablation of heads must change what hooks change and be taken back bitwise. Then a model
of the shape of Qwen3-4B with random weights reads, generates and is fine-tuned in bfloat16. Nothing is downloaded.

Without a GPU it says so, compares the CPU with itself and measures it with a model of an organism's size. The exit status
is 1 when something is not as on the CPU.

With --full it measures all that this workflow does with a GPU, in under 40 minutes: analyses, fine-tuning, vLLM, a mixture,
faults, beside what `rim plan` foretells. Run it again to go on: what is finished is kept. Without a GPU the same runs on
crumbs, in some minutes. The exit status is 1 when something failed or misses its target.

    rim check-gpu
    rim check-gpu --full
"""

from __future__ import annotations

import warnings
from argparse import ArgumentParser, Namespace
from pathlib import Path

OUT, MINUTES = Path("data/check-gpu"), 40.0


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--full", action="store_true", help="measure everything, and write a page of tables")
    parser.add_argument("--out", type=Path, help=f"folder of what --full writes, and goes on from ({OUT})")
    parser.add_argument("--minutes", type=float, help=f"time that --full may take ({MINUTES:g})")


def run(arguments: Namespace) -> int:
    from rim.core.errors import UserError

    if arguments.full:
        return _full(arguments.out or OUT, MINUTES if arguments.minutes is None else arguments.minutes)
    if arguments.out or arguments.minutes is not None:
        raise UserError("--out and --minutes belong to --full; add it, or leave them out")
    return _short()


def _full(folder: Path, minutes: float) -> int:
    from rim.core.errors import UserError
    from rim.device import page, program

    if not minutes > 0:
        raise UserError(f"--minutes: {minutes:g} is no time; give more than 0")
    outcomes = program.run(folder, minutes, lambda line: print(line, flush=True))
    print(f"The tables are in {folder / page.PAGE}, all numbers in {folder / page.DATA}")
    if left := [each.name for each in outcomes if each.state == "out of time"]:
        print(f"Not finished for lack of time: {', '.join(left)}; run it again to go on")
    missed = any(row.holds is False for each in outcomes for row in each.rows)
    return 1 if missed or any(each.state in ("failed", "too slow") for each in outcomes) else 0


def _short() -> int:
    import torch
    from transformers.utils import logging

    from rim.workflow import device_check
    from rim.workflow.plan import lines

    logging.set_verbosity_error()
    warnings.simplefilter("ignore", FutureWarning)  # of libraries to each other
    gpu = torch.cuda.is_available()
    print(_machine(gpu), flush=True)
    checks = device_check.agreement("cuda" if gpu else "cpu")
    rows = [[each.name, "holds" if each.holds else "FAILS", f"{each.error:.2g}", f"{each.bound:g}"] for each in checks]
    print("", *lines(["against the CPU in float32", "", "error", "at most"], rows), sep="\n", flush=True)
    shape, dtype = (device_check.QWEN3_4B, "bfloat16") if gpu else (device_check.SMALL, "float32")
    name = f"the shape of Qwen3-4B, {dtype}" if gpu else f"an organism's size, {dtype}"
    table = device_check.speed(shape, dtype, "cuda" if gpu else "cpu")
    print("", *lines([name, "tokens/s", "TFLOP/s", "peak GB"], table), sep="\n")
    return 0 if all(each.holds for each in checks) else 1


def _machine(gpu: bool) -> str:
    """What is measured, in a line."""
    import torch

    if not gpu:
        return f"No GPU: the CPU is measured, with {torch.get_num_threads()} threads; torch {torch.__version__}"
    about = torch.cuda.get_device_properties(0)
    return f"{about.name}, {about.total_memory / 1e9:.0f} GB; torch {torch.__version__}"
