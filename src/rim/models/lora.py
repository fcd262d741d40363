"""Low-rank adapters as peft saves them: what they were trained on, and whether an engine can serve them unmerged.

An unmerged adapter leaves the weights of its base alone and adds scale * B A x to what a layer gives, so that one loaded
base serves all checkpoints of a fine-tune. Merging adds scale * B A to the weight instead: the same function, rounded
differently, and bit for bit what the transformers backend runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rim.core.errors import UserError

CONFIG = "adapter_config.json"
UNMERGED_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # the sizes that vLLM has room for


@dataclass(frozen=True)
class Adapter:
    """A folder with an adapter."""

    folder: str
    config: dict[str, Any]

    @property
    def base(self) -> str:
        return str(self.config["base_model_name_or_path"])

    @property
    def fuses_experts(self) -> bool:
        """Whether it adapts the fused experts of a mixture, which vLLM cannot leave unmerged everywhere."""
        return bool(self.config.get("target_parameters"))

    def check_servable(self) -> None:
        """Make sure that vLLM can serve it beside the weights.

        Raises:
            UserError: it has parts besides its two matrices, or too large a rank.
        """
        parts = {
            "trains biases": self.config.get("bias", "none") != "none" or self.config.get("lora_bias"),
            "uses DoRA": self.config.get("use_dora"),
            "holds whole modules": self.config.get("modules_to_save"),
            f"is of rank {self.rank}": self.rank > UNMERGED_RANKS[-1],
        }
        if found := [part for part, present in parts.items() if present]:
            raise UserError(
                f"{self.folder}: this adapter {' and '.join(found)}, which vLLM does not serve unmerged; set inference.vllm.merge_adapters to true"
            )

    @property
    def rank(self) -> int:
        ranks: list[int] = [self.config["r"], *(self.config.get("rank_pattern") or {}).values()]
        return max(ranks)

    @property
    def max_lora_rank(self) -> int:
        """The smallest rank that vLLM can make room for and that it fits into."""
        return next(rank for rank in UNMERGED_RANKS if rank >= self.rank)


def read_adapter(location: str) -> Adapter | None:
    """The adapter in a folder, or None for an ordinary model.

    Raises:
        UserError: its configuration cannot be read.
    """
    path = Path(location, CONFIG)
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_text())
        return Adapter(location, {"r": config["r"], "base_model_name_or_path": "", **config})
    except (OSError, ValueError, KeyError):
        raise UserError(f"{path}: is not the configuration of a low-rank adapter; make the checkpoint again") from None


def check_base(location: str, base: str) -> None:
    """Make sure that what a folder holds, if it is an adapter, was trained on this base.

    Raises:
        UserError: it was trained on another.
    """
    adapter = read_adapter(location)
    if (
        adapter is not None and Path(adapter.base).resolve() != Path(base).resolve()
    ):  # a hub name is no path, but as good
        raise UserError(
            f"{location}: this adapter was trained on '{adapter.base}' and not on '{base}'; fine-tune '{base}', or name the model that it was trained on"
        )
