"""What another processor makes of the same model: its kernels, which sum in another order, stand in for it."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from rim.core import contracts, tables
from rim.core.precision import DIGITS
from rim.core.receipts import write_receipt
from tests.conftest import ROOT
from tests.unit.steps.test_forgetting_steps import Run
from tests.unit.training.test_finetune import train

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("organism")]
OTHER = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41"}
READ = """\
import sys
from pathlib import Path
import torch
from tests.unit.steps.test_processors import read
read(*map(Path, sys.argv[1:]))
print(torch.backends.cpu.get_cpu_capability())
"""


def read(folder: Path, base: Path, steps: Path) -> None:
    """Find neurons, and measure the checkpoints of a fine-tune."""
    run = Run(folder, base)
    run.find()
    run.measure(steps, folder)


def test_tables_are_those_of_another_processor_but_for_a_last_digit(tiny_model: Path, tmp_path: Path) -> None:
    train(tiny_model, tmp_path / "tuned")
    write_receipt(tmp_path / "tuned.steps")
    kernels = []
    for name, variables in (("native", {}), ("other", OTHER)):
        places = (tmp_path / name, tiny_model, tmp_path / "tuned.steps.receipt.json")
        done = subprocess.run(
            [sys.executable, "-c", READ, *map(str, places)],
            cwd=ROOT, env={**os.environ, **variables}, check=True, capture_output=True, text=True,
        )  # fmt: skip
        kernels.append(done.stdout.strip())
    if kernels[0] == kernels[1]:
        pytest.skip(f"this processor has {kernels[0]} kernels only")

    def both(file: str, contract: contracts.Contract) -> list[pl.DataFrame]:
        return [tables.read(tmp_path / name / file, contract) for name in ("native", "other")]

    for file, contract in (
        ("neurons.parquet", contracts.NEURONS),
        ("curve.parquet", contracts.CURVE),
        ("replies.parquet", contracts.RESPONSE),
    ):
        native, other = both(file, contract)
        assert native.equals(other), file
    native, other = both("metrics.parquet", contracts.CHECKPOINTS)
    numbers = ("estimate", "ci_low", "ci_high")
    assert native.drop(numbers).equals(other.drop(numbers))
    first, second = (
        pl.concat(table[name].fill_nan(None).rename("x") for name in numbers).drop_nulls() for table in (native, other)
    )
    assert first.len() == second.len() > 150
    apart = (first - second).abs() / second.abs()
    assert apart.filter(second == 0).is_nan().all()  # nothing stays nothing
    assert apart.fill_nan(0).max() < 1.01 * 10.0 ** (1 - DIGITS)  # one in the last digit
    assert (apart.fill_nan(0) > 0).mean() < 0.05
