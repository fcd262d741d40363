"""What GPUs can do at most, by their vendors' data sheets: dense bfloat16 products, and the bandwidth of their memory."""

from __future__ import annotations

import re

from rim.settings.hardware import Hardware

PEAKS = {  # what a card is called, in words of its name -> TFLOP/s, TB/s; the first that fits counts
    "B200": (2250, 8.0),
    "H200": (989, 4.8),
    "H100 PCIe": (756, 2.0),
    "H100 NVL": (835, 3.9),
    "H100": (989, 3.35),
    "A100-SXM4-40GB": (312, 1.555),
    "A100-PCIE-40GB": (312, 1.555),
    "A100": (312, 2.0),
    "L40S": (362, 0.864),
    "L40": (181, 0.864),
    "L4": (121, 0.3),
    "A40": (150, 0.696),
    "A10": (125, 0.6),
    "RTX 6000 Ada": (364, 0.96),
    "RTX A6000": (155, 0.768),
    "RTX 4090": (165, 1.01),
    "RTX 3090": (71, 0.936),
}


def peaks(name: str) -> tuple[float, float] | None:
    """TFLOP/s and TB/s of a card by its name, None of one that is not known here."""
    return next((known for words, known in PEAKS.items() if re.search(rf"\b{re.escape(words)}\b", name)), None)


def hardware(memory: float, tflops: float, bandwidth: float) -> Hardware:
    """A card as the bill wants it: GB, TFLOP/s, TB/s."""
    return Hardware(gpu_memory=memory, gpu_tflops=tflops, gpu_bandwidth=bandwidth)
