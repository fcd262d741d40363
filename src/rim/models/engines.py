"""Which engine answers: transformers or vLLM, opened once per job for one model.

Where weights are to be edited and a job has several GPUs, over which vLLM would split every head, transformers answers in its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rim.core.progress import log
from rim.models import chat, loading, lora
from rim.models.generate import Backend, TransformersBackend
from rim.models.thinking import Continuation
from rim.models.vllm import VllmBackend, check_installed
from rim.settings.inference import Inference
from rim.settings.jobs import ModelReference

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from rim.models.families import ModelView


class BatchedBackend(TransformersBackend):
    """transformers as a study says: in smaller batches where replies may be longer."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, inference: Inference) -> None:
        super().__init__(model, tokenizer, inference.batch_size)
        self.inference = inference

    def extend(self, ids: list[list[int]], max_new_tokens: int, *rest: Any, **options: Any) -> list[Continuation]:
        self.batch_size = self.inference.batch_of(max_new_tokens)
        return super().extend(ids, max_new_tokens, *rest, **options)


def open_backend(
    model: ModelReference,
    inference: Inference,
    loaded: ModelView | None = None,
    editable: bool = False,
) -> tuple[Backend, PreTrainedTokenizerBase]:
    """The engine of a job with its model, checked against its receipts, and the model's tokenizer.

    Args:
        loaded: the model where the job has it open already; vLLM, which cannot use it, takes its place on the GPU.
        editable: the weights will be edited, so adapters are merged into them.
    """
    import torch

    gpus = torch.cuda.device_count()
    served = inference.backend == "vllm" and not (editable and gpus > 1)
    if served:
        check_installed()
    location, revision = loading.resolve_model(model)
    tokenizer = loading.load_tokenizer(location, revision, model.prompt)
    chat.check_modes(tokenizer, location, inference.think, model.think_switch)
    if not served:
        if inference.backend == "vllm":
            log(f"{model.label}: transformers answers; vLLM splits weights over {gpus} GPUs, where it cannot ablate")
        network = loading.load_model(location, model.dtype, revision) if loaded is None else loaded.model
        return BatchedBackend(network, tokenizer, inference), tokenizer
    if loaded is not None:
        move_off_gpu(loaded)
    return _serve(location, revision, model.dtype, tokenizer, inference, editable), tokenizer


def iter_checkpoint_backends(
    folders: list[Path], dtype: str, inference: Inference, tokenizer: PreTrainedTokenizerBase
) -> Iterator[tuple[str, Backend]]:
    """The name of each checkpoint of one fine-tune with an engine that has it; adapters share one of vLLM's."""
    from rim.models.families import ModelView

    if inference.backend == "transformers":
        for folder in folders:
            view = ModelView(loading.load_model(str(folder), dtype))
            yield folder.name, BatchedBackend(view.model, tokenizer, inference)
            move_off_gpu(view)
        return
    served: VllmBackend | None = None
    for number, folder in enumerate(folders, start=1):
        adapter = lora.read_adapter(str(folder))
        if served is not None and served.adapter is not None and adapter is not None:
            served.activate_adapter(adapter, number)
        else:
            if served is not None:
                served.close()
            served = _serve(str(folder), None, dtype, tokenizer, inference)
        yield folder.name, served


def move_off_gpu(view: ModelView) -> None:
    """Move a model off the GPUs, for what comes next."""
    import torch
    from accelerate.hooks import remove_hook_from_submodules

    remove_hook_from_submodules(view.model)  # which would bring inputs to the GPUs
    view.model.to("cpu")
    torch.cuda.empty_cache()


def _serve(
    location: str,
    revision: str | None,
    dtype: str,
    tokenizer: PreTrainedTokenizerBase,
    inference: Inference,
    editable: bool = False,
) -> VllmBackend:
    """A vLLM engine: with the base of an adapter and the adapter beside it, or with plain weights."""
    adapter = lora.read_adapter(location)
    if adapter is None or editable or inference.vllm.merge_adapters or adapter.fuses_experts:
        if adapter is not None:
            log(f"{location}: its adapter is merged into the weights for vLLM")
        with nullcontext(location) if adapter is None else loading.merged(location, dtype) as folder:
            return VllmBackend(folder, revision, dtype, tokenizer, inference.vllm, editable=editable)
    adapter.check_servable()
    base = VllmBackend(
        adapter.base, adapter.config.get("revision"), dtype, tokenizer, inference.vllm, adapter.max_lora_rank
    )
    base.activate_adapter(adapter, 1)
    return base
