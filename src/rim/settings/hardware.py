"""Settings of the machine: what GPUs there are. They size jobs and their bill, and never decide what runs again."""

from __future__ import annotations

from pydantic import Field

from rim.settings.common import Settings


class Hardware(Settings):
    """One GPU of the kind that jobs get; the defaults are those of an A100 with 80 GiB."""

    gpu_memory: float = Field(
        85, gt=0, description="Memory of a GPU, in GB of 1e9 bytes; larger models ask for several."
    )
    gpu_tflops: float = Field(312, gt=0, description="Peak of its bfloat16 matrix products, in TFLOP/s.")
    gpu_bandwidth: float = Field(2.0, gt=0, description="Bandwidth of its memory, in TB/s.")
    price: float | None = Field(None, ge=0, description="Price of a GPU for an hour; with it the bill says money too.")
