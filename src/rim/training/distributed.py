"""Training adapters on several GPUs: a process for each, with a share of the weights and of the rows of every batch.

The weights, which stay as they are, are sharded as they are read (FSDP2, by transformers): no process holds or reads more
than its share and the block at work. The adapters are small and whole in every process, and their gradients are averaged,
so that what is learned is what one process would have learned, up to rounding (but for models that draw at random while
they train, as Phi-3.5-MoE does).
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rim.core import progress
from rim.core.errors import UserError
from rim.models import loading

if TYPE_CHECKING:
    from transformers import PreTrainedModel


Result = TypeVar("Result")
_processes = 1


def run_distributed(processes: int, function: Callable[[], Result]) -> Result:
    """What the first of several processes returns that all call a function; with one, simply call it here.

    The function must be one that pickle can name, or a partial of such a one.

    Raises:
        UserError: the one that any of them raised. When one ends before its time, the others are stopped.
    """
    if processes == 1:
        return function()
    from multiprocessing import get_context

    from torch.distributed import TCPStore  # type: ignore[attr-defined]
    from torch.multiprocessing.spawn import ProcessExitedException, spawn

    meeting = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # at any free port
    results = get_context("spawn").SimpleQueue()
    try:
        spawn(_process, (processes, meeting.port, progress.logs(), results, function), nprocs=processes)
    except ProcessExitedException:
        if results.empty():
            raise
    result: Result | UserError = results.get()
    if isinstance(result, UserError):
        raise result
    return result


def _process(rank: int, processes: int, port: int, logs: list[Path], results: Any, function: Callable[[], Any]) -> None:
    global _processes
    _processes = processes
    os.environ |= {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": f"{processes}"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    warnings.simplefilter("ignore", FutureWarning)
    progress.configure(logs, aloud=rank == 0)
    try:
        result = function()
    except UserError as error:
        results.put(error)
        sys.exit(1)
    if rank == 0:
        results.put(result)


def world_size() -> int:
    """How many processes do together what this one does."""
    return _processes


def load(location: str, dtype: str, revision: str | None) -> PreTrainedModel:
    """A causal language model, or of several processes this one's share: it runs as if it were whole when all run it.

    Raises:
        UserError: the model cannot be found or read.
    """
    if _processes == 1:
        return loading.load_model(location, dtype, revision)
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.distributed.configuration_utils import DistributedConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    with loading.explained(location):
        model: Any = AutoModelForCausalLM.from_pretrained(
            location,
            revision=revision,
            dtype=getattr(torch, dtype),
            distributed_config=DistributedConfig(fsdp_size=_processes),
        )
    share: PreTrainedModel = model.eval()
    return share


@contextmanager
def main_process_first() -> Iterator[None]:
    """Let the others do what follows when the first process, the one that writes files, has done it."""
    import torch.distributed as distributed

    among_others = distributed.is_initialized()
    first = not among_others or distributed.get_rank() == 0
    if not first:
        distributed.barrier()
    yield
    if among_others and first:
        distributed.barrier()
