"""Activation caches on disk: safetensors shards, one tensor per record and layer, beside an index that says what they are.

    index.json                 positions, rows (in order), shards, and the identity of what was read
    shard00000.safetensors     "residual.0" [rows, positions, hidden], …, "spans" [rows, positions, 2] (-1 where absent)

A shard is written whole or not at all and never made twice, so a killed job goes on after its last shard. One layer of one
record is read without touching the others. The *identity* holds hashes of the checkpoint, tokenizer, chat template and
texts; a cache of anything else is refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rim.analysis.capture import Row, capture
from rim.core.errors import UserError
from rim.core.files import MARK, replacing, working_folder, write_json
from rim.core.progress import counter
from rim.settings.jobs import ModelReference

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rim.models.families import ModelView


def checkpoint_identity(model: ModelReference) -> str:
    """What a model's weights are: the hashes in its receipts, or a hub name with its revision."""
    if not model.checkpoints:
        return f"{model.base}@{model.revision}"
    hashes = [json.loads(receipt.read_text())["sha256"] for receipt in model.checkpoints]
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:16]


SHARD = 512  # rows
INDEX = "index.json"


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def identity(checkpoint: str, tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """What a cache is bound to: the checkpoint, and how its texts are made into tokens."""
    vocabulary = {"tokens": tokenizer.get_vocab(), "special": tokenizer.special_tokens_map}
    return {
        "checkpoint": checkpoint,
        "tokenizer": digest(json.loads(json.dumps(vocabulary, default=str))),
        "template": digest(tokenizer.chat_template),
    }


def write_cache(
    view: ModelView,
    rows: list[Row],
    positions: list[str],
    batch_size: int,
    bound_to: dict[str, str],
    output: Path,
    label: str,
    shard: int = SHARD,
    neurons: bool = True,
    code: str = "",
) -> None:
    """Read all rows and write the folder `output`; peak memory does not depend on their number.

    A killed run leaves its shards behind, and the next of the same `code` goes on after them.
    """
    from safetensors.torch import save_file

    bound_to = {**bound_to, "texts": digest([[row.id, row.ids] for row in rows])}
    read = [asdict(row) for row in rows]
    working = working_folder(output, digest([bound_to, read, str(view.model.dtype), positions, shard, neurons, code]))
    report = counter(label, len(rows))
    parts = [rows[first : first + shard] for first in range(0, len(rows), shard)]
    for number, part in enumerate(parts):
        path = working / f"shard{number:05d}.safetensors"
        if not path.exists():
            records = capture(view, part, positions, batch_size, neurons)
            with replacing(path) as temporary:
                save_file({**records, "spans": _spans(part, positions)}, temporary)
        report(min((number + 1) * shard, len(rows)))
    index = {
        "identity": bound_to,
        "dtype": str(view.model.dtype).removeprefix("torch."),
        "layers": len(view.blocks),
        "positions": positions,
        "rows": [row.id for row in rows],
        "shards": [len(part) for part in parts],
    }
    write_json(working / INDEX, index)
    (working / MARK).unlink()
    with replacing(output) as temporary:
        working.rename(temporary)


def _spans(rows: list[Row], positions: list[str]) -> Any:
    import torch

    return torch.tensor([[row.spans.get(name, (-1, -1)) for name in positions] for row in rows], dtype=torch.int32)


class Cache:
    """A cache opened for reading."""

    def __init__(self, folder: Path, **expected: str) -> None:
        """Open a cache and make sure it was made with what is expected.

        Raises:
            UserError: it is unreadable, or was made with another checkpoint, tokenizer or template.
        """
        self.folder = folder
        try:
            index = json.loads((folder / INDEX).read_text())
            made_with, self.layers, self.positions = index["identity"], index["layers"], index["positions"]
            self.rows, self.shards, self.dtype = index["rows"], index["shards"], index["dtype"]
        except (OSError, ValueError, KeyError):
            raise UserError(f"{folder}: is not an activation cache; delete it and run the workflow again") from None
        for name, value in expected.items():
            if made_with.get(name) != value:
                raise UserError(f"{folder}: was made with another {name}; delete it and run the workflow again")

    def read(self, record: str, layer: int | None = None) -> NDArray[Any]:
        """One record of one layer over all rows, floats as float32.

        Raises:
            UserError: a shard is missing or broken.
        """
        from safetensors import SafetensorError, safe_open

        name = record if layer is None else f"{record}.{layer}"
        framework = "numpy" if self.dtype == "float32" else "pt"  # numpy knows no bfloat16
        parts = []
        for number in range(len(self.shards)):
            path = self.folder / f"shard{number:05d}.safetensors"
            try:
                with safe_open(path, framework) as file:
                    part = file.get_tensor(name)
            except (OSError, SafetensorError) as error:
                raise UserError(
                    f"{path}: cannot be read ({error}); delete the cache and run the workflow again"
                ) from None
            parts.append(part if framework == "numpy" else (part.float() if part.is_floating_point() else part).numpy())
        return np.concatenate(parts)

    @cached_property
    def spans(self) -> NDArray[Any]:
        """[rows, positions, 2]: the tokens of each position, -1 where a row does not have it."""
        return self.read("spans")

    def at(self, position: str) -> int:
        """The place of a position among those that were read.

        Raises:
            UserError: it was not.
        """
        if position not in self.positions:
            raise UserError(
                f"{self.folder}: position '{position}' is needed and was not read; add it to mechanism.positions"
            )
        return int(self.positions.index(position))
