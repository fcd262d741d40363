"""How fast GPUs generate, read and train: a roofline, from what a GPU has and how large a model is.

Whatever runs takes the longer of two times: to carry bytes from the GPU's memory (BANDWIDTH of what it can carry is reached) and to
multiply (EFFICIENCY of its peak). With P parameters, of which A are active per token, and B rows in a step of generation:

    bytes      weights, of a mixture those that B tokens pick, P (1 - (1 - A/P)^B); keys and values of B rows, at their mean length
    products   2 A FLOP per token that is read or generated, 4 or 6 that is trained on, 2 more with gradient checkpointing
    launch     a step is never shorter than what it takes to launch its kernels (LAUNCH)

vLLM has as many rows in a step as its memory has room for, up to ROWS, and takes up a new one wherever one ends; the GPUs of a job
work at the same time. transformers has a batch, padded to its longest row, copies keys and values in every step, and its GPUs
take turns. Replies are taken to end at every token with the same chance, so that of n the longest is ln n + .58 times as long as the mean.

Layers and width, which set the size of keys, values and activations, are those of a typical transformer of size A: it has
145,000 layers^3 parameters, is 110 layers wide, and keeps 1024 numbers per key or value.
`rim.workflow.public_speeds` compares all of this with figures that others published.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rim.models import headers
from rim.models.headers import Size
from rim.settings.hardware import Hardware
from rim.settings.models import Model

BANDWIDTH, EFFICIENCY = 0.6, 0.4  # shares that are reached
LAUNCH = {"transformers": 0.03, "vllm": 0.015}  # seconds; vLLM runs without CUDA graphs here
ROWS = 256  # vLLM's own bound on what is answered at the same time
RESERVED = 0.06  # of the memory, which vLLM keeps for the activations of a step
CARRIED = {"transformers": 3, "vllm": 1}  # times that keys and values pass through memory in a step
BYTES = {"bfloat16": 2, "float32": 4}
PADDING = 0.19  # of the tokens, more with every doubling of a batch of training rows; at 4 and 32, 1.39 and 1.94 were measured
CLOSE = 1.1  # computed for each token of rows that are packed or go by length, as tests/benchmark_training.py counts


@dataclass(frozen=True)
class Shape:
    """A model's parameters, in all and those that one token passes, and the bytes of a number."""

    parameters: float
    active: float
    bytes: int = 2

    @property
    def layers(self) -> float:
        return math.cbrt(self.active / 145_000)

    @property
    def hidden(self) -> float:
        return 110 * self.layers

    @property
    def weights(self) -> float:
        """Bytes of the weights."""
        return self.parameters * self.bytes

    @property
    def cache(self) -> float:
        """Bytes of the keys and values of one token."""
        return self.layers * 1024 * 2 * self.bytes

    def read_by(self, rows: float) -> float:
        """Bytes of the weights that one token of each row passes."""
        return self.weights * (1 - math.pow(1 - self.active / self.parameters, rows))


def size(model: Model) -> Size:
    """How large a hub model is: as its settings say, else as its weights on this machine do; 0 for one of unknown size."""
    counted = headers.size(model.hub, model.revision) if model.hub and not model.parameters else None
    return counted or Size(model.parameters or 0, model.active)


def shape(model: Model, dtype: str | None = None) -> Shape:
    """The shape of a model, in another type than its own if one is named."""
    found = size(model)
    return Shape(found.parameters * 1e9, (found.active or found.parameters) * 1e9, BYTES[dtype or model.dtype])


@dataclass(frozen=True)
class Call:
    """Prompts that are answered together, so many times: their number and tokens, and those of a reply.

    `bound` cuts replies, and `read` are the prompts' tokens that differ from what an engine has read already.
    """

    rows: float
    prompt: float
    reply: float
    bound: int
    read: float
    times: float = 1

    def longest(self, rows: float) -> float:
        """Tokens of the longest of so many replies."""
        return min(self.bound, self.reply * max(1, math.log(rows) + 0.58))


def reading(shape: Shape, gpu: Hardware, tokens: float, passes: float = 2) -> float:
    """Seconds to read tokens in large batches, or to train on them, by the FLOP per token and parameter."""
    return passes * shape.active * tokens / (gpu.gpu_tflops * 1e12 * EFFICIENCY)


def generating(
    shape: Shape, gpu: Hardware, call: Call, engine: str, batch_size: int = 1, gpus: int = 1, share: float = 0.9
) -> float:
    """Seconds to answer a call, prompts included: in batches of transformers, or on some GPUs of which vLLM takes a share."""
    if engine == "vllm":
        most = rows_at_once(shape, gpu, call, gpus, share)
        steps = max(call.rows * call.reply / most, call.longest(call.rows))
        rows, length = call.rows * call.reply / steps, call.prompt + call.reply / 2
        once = steps * _step(shape, gpu, engine, rows, length, gpus) + reading(shape, gpu, call.read) / gpus
    else:
        rows = min(batch_size, call.rows)
        longest = call.longest(rows)
        batches = math.ceil(call.rows / batch_size)
        once = batches * longest * _step(shape, gpu, engine, rows, call.prompt + longest / 2)
        once += reading(shape, gpu, call.rows * call.prompt)
    return call.times * once


def rows_at_once(shape: Shape, gpu: Hardware, call: Call, gpus: int, share: float) -> float:
    """Rows that vLLM has in a step, where it takes a share of the memory."""
    room = (share - RESERVED) * gpu.gpu_memory * 1e9 * gpus - shape.weights
    return max(1, min(call.rows, ROWS, room / (shape.cache * (call.prompt + call.reply / 2))))


def padding(rows: int, step: int, batching: str) -> float:
    """Tokens that so many training rows at a time, of a step of so many, are padded or packed to, as a multiple of their own."""
    return CLOSE if batching == "packed" or (batching == "length" and rows < step) else 1 + PADDING * math.log2(rows)


def _step(shape: Shape, gpu: Hardware, engine: str, rows: float, length: float, gpus: int = 1) -> float:
    """Seconds to generate a token of every row; only GPUs that work at the same time are counted."""
    carried = shape.read_by(rows) + CARRIED[engine] * rows * length * shape.cache
    bandwidth = gpu.gpu_bandwidth * 1e12 * BANDWIDTH
    return max(LAUNCH[engine], carried / bandwidth / gpus, reading(shape, gpu, rows) / gpus)
