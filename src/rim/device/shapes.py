"""The sizes at which the program runs, those of real models on a GPU and crumbs on a CPU, and models of random weights."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rim.analysis.capture import Row as Text
from rim.core.files import replacing
from rim.data.organism import world
from rim.data.organism.tokenizer import build_tokenizer
from rim.device import clock, rows
from rim.device.rows import MODELS, SCRATCH, Skipped, Value
from rim.models import chat, loading
from rim.settings.hardware import Hardware
from rim.settings.models import Lora
from rim.training.finetune import with_adapters
from rim.workflow.costs import ROOM
from rim.workflow.device_check import POSITIONS, QWEN3_4B
from rim.workflow.speed import BYTES

QWEN3_8B: dict[str, Any] = {
    "hidden_size": 4096, "num_hidden_layers": 36, "intermediate_size": 12_288, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936, "tie_word_embeddings": False,
}  # fmt: skip
QWEN3_30B_A3B: dict[str, Any] = {
    "hidden_size": 2048, "num_hidden_layers": 48, "intermediate_size": 6144, "num_attention_heads": 32,
    "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 151_936, "tie_word_embeddings": False,
    "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768, "norm_topk_prob": True,
}  # fmt: skip
CRUMB: dict[str, Any] = {
    "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 96, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 32, "vocab_size": 1024, "tie_word_embeddings": True,
}  # fmt: skip
CRUMBS: dict[str, Any] = {
    **CRUMB, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": True,
}  # fmt: skip


@dataclass(frozen=True)
class Scale:
    """How large everything is on one kind of device; tokens, unless a line says else."""

    dtype: str
    models: dict[str, dict[str, Any]]
    lengths: tuple[int, ...]  # of the texts that are read
    read: int  # of one batch of these
    sweep: tuple[int, int]  # prompts, and tokens of one, for the effects of heads
    sequences: tuple[int, ...]  # prompts that are answered at a time
    prompt: int
    reply: int
    memory: float  # share of the memory that vLLM takes
    steps: int  # optimizer steps
    row: tuple[int, int]  # shortest and longest of the rows that are trained on
    batch_size: int  # rows of an optimizer step
    micro_batch_size: int  # rows of a forward pass


SCALES = {
    "cuda": Scale(
        dtype="bfloat16",
        models={"4b": {**QWEN3_4B, "tie_word_embeddings": True}, "8b": QWEN3_8B, "mixture": QWEN3_30B_A3B},
        lengths=(128, 1024, 8192),
        read=16_384,
        sweep=(8, 100),
        sequences=(64, 256, 1024),
        prompt=128,
        reply=256,
        memory=0.9,
        steps=6,
        row=(150, 450),
        batch_size=32,
        micro_batch_size=4,
    ),
    "cpu": Scale(
        dtype="float32",
        models={"4b": CRUMB, "8b": CRUMB, "mixture": CRUMBS},
        lengths=(32, 64, 128),
        read=256,
        sweep=(2, 16),
        sequences=(2, 4),
        prompt=16,
        reply=8,
        memory=0.1,
        steps=3,
        row=(15, 45),
        batch_size=4,
        micro_batch_size=2,
    ),
}
MODE: chat.ThinkSwitch = "template"


@dataclass(frozen=True)
class Setup:
    """Where and on what an item runs: "cuda" or "cpu", the program's folder, and what the device can do at most."""

    device: str
    folder: Path
    hardware: Hardware
    shape: str = ""  # the model of the item, a key of `Scale.models`

    @property
    def gpu(self) -> bool:
        return self.device == "cuda"

    @property
    def scale(self) -> Scale:
        return SCALES[self.device]

    @property
    def model(self) -> dict[str, Any]:
        return self.scale.models[self.shape]

    @property
    def scratch(self) -> Path:
        """A folder that is emptied when the item has ended."""
        found = self.folder / SCRATCH
        found.mkdir(parents=True, exist_ok=True)
        return found

    def earlier(self, item: str) -> dict[str, Value]:
        """What another item measured; nothing where it was not run."""
        found = rows.read(self.folder, item)
        return found.values() if found else {}

    def target(self, value: float) -> float | None:
        """A target that counts on a GPU only."""
        return value if self.gpu else None


def build(shape: dict[str, Any], dtype: str, device: str) -> Any:
    """A Qwen3, dense or a mixture, with random weights that were made on the device."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3MoeConfig

    config: Any = (Qwen3MoeConfig if "num_experts" in shape else Qwen3Config)(
        **shape, max_position_embeddings=32_768, bos_token_id=None, eos_token_id=2, pad_token_id=0
    )
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).eval()


def size(shape: dict[str, Any]) -> tuple[int, int]:
    """Parameters of a shape, in all and those that a token passes."""
    model = build(shape, "bfloat16", "meta")
    count = sum(each.numel() for each in model.parameters())
    if "num_experts" not in shape:
        return count, count
    experts = sum(each.numel() for name, each in model.named_parameters() if ".experts." in name)
    return count, round(count - experts * (1 - shape["num_experts_per_tok"] / shape["num_experts"]))


def checkpoint(setup: Setup) -> Path:
    """The item's model on disk with the organisms' tokenizer, as a folder that every loader takes; written by who asks first.

    Raises:
        Skipped: the GPU or the disk is too small.
    """
    folder = setup.folder / MODELS / setup.shape
    if folder.exists():
        return folder
    weights = size(setup.model)[0] * BYTES[setup.scale.dtype]
    if weights > ROOM["vllm"] * setup.hardware.gpu_memory * 1e9:
        raise Skipped(f"its weights take {weights / 1e9:.0f} GB, too much for {setup.hardware.gpu_memory:.0f} GB")
    free = shutil.disk_usage(setup.folder).free
    if 1.1 * weights > free:
        raise Skipped(f"its weights take {weights / 1e9:.0f} GB of disk, and {free / 1e9:.0f} are free")
    with replacing(folder) as temporary:
        model = build(setup.model, setup.scale.dtype, setup.device)
        model.save_pretrained(temporary)
        build_tokenizer("always").save_pretrained(temporary)
    del model
    clock.free(setup.device)
    return folder


def adapter(setup: Setup, location: Path) -> Path:
    """A new adapter of the published recipe on a checkpoint, on disk."""
    folder = location.with_name(f"{location.name}-adapter")
    if folder.exists():
        return folder
    with replacing(folder) as temporary:
        model = with_adapters(loading.load_model(str(location), setup.scale.dtype), Lora(), None)
        model.save_pretrained(temporary)
        loading.load_tokenizer(str(location)).save_pretrained(temporary)
    del model
    clock.free(setup.device)
    return folder


def texts(count: int, tokens: int, vocabulary: int) -> list[Text]:
    """Random texts of equal length, to be read at three positions."""
    rng = np.random.default_rng(0)
    spans = dict(zip(POSITIONS, ((0, 1), (2, 6), (tokens - 1, tokens)), strict=True))
    ids = rng.integers(5, vocabulary, (count, tokens)).tolist()
    return [Text(f"text{i}", each, spans, (0, tokens), tokens - 1) for i, each in enumerate(ids)]


def words(count: int, rng: np.random.Generator) -> str:
    """As many words that the organisms' tokenizer has as one token each: numbers."""
    return " ".join(map(str, rng.integers(0, world.MAX_NUMBER + 1, count)))


def prompts(tokenizer: Any, count: int, tokens: int) -> list[str]:
    """Rendered prompts of about so many tokens, no two alike, that begin a thought."""
    rng = np.random.default_rng(1)
    asked = (words(max(1, tokens - 8), rng) for _ in range(count))
    return [chat.render_prompt(tokenizer, each, "plain", MODE) for each in asked]
