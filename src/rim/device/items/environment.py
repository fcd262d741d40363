"""The machine and its software, and what the card does at most."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rim.device import cards, clock
from rim.device.rows import Row

PACKAGES = ("torch", "transformers", "peft", "accelerate", "vllm")
MACHINE = (
    "device",
    "processor",
    "GPUs",
    "driver",
    "CUDA",
    "Python",
    *PACKAGES,
)  # with another of these, all is measured anew
PRODUCT = {"cuda": (8192, "bfloat16"), "cpu": (512, "float32")}  # rows of a square matrix, and its type
COPIED = {"cuda": 1 << 32, "cpu": 1 << 24}  # bytes


def run(device: str) -> Iterator[Row]:
    """Rows with words, and the last with numbers: memory, peak and bandwidth, which the bill goes by."""
    import psutil
    import torch

    gpu = device == "cuda"
    card = torch.cuda.get_device_properties(0) if gpu else None
    yield Row("device", device)
    yield Row("processor", card.name if card else _processor())
    yield Row("GPUs", f"{torch.cuda.device_count()}")
    yield Row("driver", _driver())
    yield Row("CUDA", str(torch.version.cuda))
    yield Row("Python", platform.python_version())
    for package in PACKAGES:
        yield Row(package, _version(package))
    yield Row("cores", os.cpu_count())
    yield Row("main memory", psutil.virtual_memory().total / 1e9, "GB")
    yield Row("memory", (card.total_memory if card else psutil.virtual_memory().total) / 1e9, "GB")
    known = cards.peaks(card.name) if card else None
    products, copies = _products(device), _copies(device)
    yield Row("products of large matrices", products, "TFLOP/s", note=f"{PRODUCT[device][1]}, measured")
    yield Row("copying", copies, "TB/s", note="bytes read and written, measured")
    source = "data sheet" if known else "as measured, since this device is in no table"
    peak, bandwidth = known or (products, copies)
    yield Row("peak", peak, "TFLOP/s", note=source)
    yield Row("bandwidth", bandwidth, "TB/s", note=source)


def _processor() -> str:
    """The name of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _driver() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        told = []
    return told[0] if told else "none"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _products(device: str) -> float:
    """TFLOP/s of a product of two large random matrices."""
    import torch

    rows, dtype = PRODUCT[device]
    first, second = (torch.randn(rows, rows, device=device).to(getattr(torch, dtype)) for _ in range(2))
    spent = clock.medians({"product": lambda: [first @ second for _ in range(10)]}, device)["product"]
    return 10 * 2 * rows**3 / spent / 1e12


def _copies(device: str) -> float:
    """TB/s of copying within the device's memory."""
    import torch

    source = torch.zeros(COPIED[device], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    spent = clock.medians({"copy": lambda: target.copy_(source)}, device)["copy"]
    return 2 * COPIED[device] / spent / 1e12
