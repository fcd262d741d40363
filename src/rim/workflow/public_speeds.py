"""What others measured on GPUs, and what `rim.workflow.speed` says of it: `rim plan --check`.

BANDWIDTH, EFFICIENCY and RESERVED there are those by which the worst of these is off least; nothing else is fitted to them.

Served figures are output tokens per second of vLLM in bfloat16 on one GPU, all requests sent at once, as published in GPUStack's
Performance Lab: ShareGPT's conversations (1000 with 217 tokens each, and 202 of reply) or random ones (200 with 1000, and 2000 of reply).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rim.settings.hardware import Hardware
from rim.workflow.plan import lines
from rim.workflow.speed import Call, Shape, generating, padding, reading

A100 = Hardware()
H100 = Hardware(gpu_memory=85, gpu_tflops=989, gpu_bandwidth=3.35)
H200 = Hardware(gpu_memory=150, gpu_tflops=989, gpu_bandwidth=4.8)
RTX_4090 = Hardware(gpu_memory=25.7, gpu_tflops=165, gpu_bandwidth=1.01)
SHAREGPT = Call(rows=1000, prompt=217, reply=202, bound=2048, read=217_000)
RANDOM = Call(rows=200, prompt=1000, reply=2000, bound=2000, read=200_000)


def _served(billions: float, gpu: Hardware, call: Call = SHAREGPT, active: float | None = None) -> float:
    """Output tokens per second."""
    shape = Shape(billions * 1e9, (active or billions) * 1e9)
    return call.rows * call.reply / generating(shape, gpu, call, "vllm")


def _trained(billions: float, gpu: Hardware) -> float:
    """Tokens per second of training adapters, none of them padding."""
    return 1 / reading(Shape(billions * 1e9, billions * 1e9), gpu, 1, passes=4)


def _read_after_serving(billions: float, gpu: Hardware) -> float:
    """Time of serving and then reading what was served, in a pass of its own as here, to serving alone."""
    shape, tokens = Shape(billions * 1e9, billions * 1e9), SHAREGPT.rows * (SHAREGPT.prompt + SHAREGPT.reply)
    return 1 + reading(shape, gpu, tokens) / generating(shape, gpu, SHAREGPT, "vllm")


@dataclass(frozen=True)
class Figure:
    """A published figure, or the middle of a published range, and how it is worked out here."""

    what: str
    published: float
    estimate: Callable[[], float]

    @property
    def factor(self) -> float:
        """How far the estimate is off, at least 1."""
        ratio = self.estimate() / self.published
        return max(ratio, 1 / ratio)


FIGURES = [
    Figure("tokens/s served, Qwen3-8B, H100", 5400, lambda: _served(8.19, H100)),
    Figure("tokens/s served, Qwen3-14B, H100", 3170, lambda: _served(14.8, H100)),
    Figure("tokens/s served, Qwen3-32B, H100", 1130, lambda: _served(32.8, H100)),
    Figure("tokens/s served, Qwen3.5-35B-A3B, H200", 6900, lambda: _served(35, H200, RANDOM, active=3)),
    Figure("tokens/s served, Qwen3-8B, A100", 4970, lambda: _served(8.19, A100)),
    Figure("tokens/s served, Qwen3-14B, A100", 1890, lambda: _served(14.8, A100)),
    Figure("tokens/s served, Qwen3-32B, A100", 830, lambda: _served(32.8, A100)),
    Figure("tokens/s served, Qwen3-8B, RTX 4090", 1860, lambda: _served(8.19, RTX_4090)),
    Figure("tokens/s trained, LoRA of an 8B, H100 (9,600 to 10,300)", 9950, lambda: _trained(8.0, H100)),
    Figure("short rows, padded to packed (1.6 to 3.4)", 2.3, lambda: padding(32, 32, "order")),
    Figure("serving and reading activations, to serving", 1.21, lambda: _read_after_serving(8.19, H100)),
]


def check() -> list[str]:
    """A table of the figures: as published, as estimated, and the factor between the two."""
    rows = [[each.what, _told(each.published), _told(each.estimate()), f"{each.factor:.2f}"] for each in FIGURES]
    return lines(["figure", "published", "estimated", "factor"], rows)


def _told(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"
