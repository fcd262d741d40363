"""Generate with vLLM: continuous batching over a paged cache, many times the throughput of one padded batch after another.

The prompts that vLLM gets are the token ids of `rim.models.generate`, never messages for its own templates (`LLM.chat`), whose
copy of a template, special tokens and defaults could differ from ours: both backends see the same tokens by construction,
and a prompt with a statement already in the model's mouth needs no special case. The engine runs in this process, eagerly,
so that edits of its weights (`rim.models.vllm_weights`) take effect at once. Cached prefixes serve one call only: after an edit they
would be those of another model.
"""

from __future__ import annotations

import gc
import io
import os
from functools import partial
from importlib.util import find_spec
from random import Random
from typing import TYPE_CHECKING, Any

from rim.core.errors import UserError
from rim.core.progress import counter
from rim.models import lora
from rim.models.families import UNSERVED
from rim.models.generate import Backend, end_tokens
from rim.models.thinking import Continuation, Reply
from rim.models.vllm_weights import VllmModelView
from rim.settings.inference import Vllm

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import GenerationConfig, PreTrainedTokenizerBase


ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in this process, where its weights can be edited
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",  # it would report its use to its makers
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # as many threads as the job was given
}


def check_installed() -> None:
    """Make sure that vLLM is there.

    Raises:
        UserError: it is not.
    """
    if find_spec("vllm") is None:
        raise UserError(
            "inference.backend: vllm is not installed in this environment; install it as workflow/docs/engines.md says, run with --sdm conda, or set the backend to transformers"
        )


class VllmBackend(Backend):
    """One vLLM engine with one model, and at most one adapter beside it."""

    def __init__(
        self,
        location: str,
        revision: str | None,
        dtype: str,
        tokenizer: PreTrainedTokenizerBase,
        settings: Vllm,
        rank: int | None = None,
        editable: bool = False,
    ) -> None:
        """Start the engine.

        Args:
            rank: room for adapters of at most this rank; None for no adapter.
            editable: keep weights in the plain form that ablations edit.
        """
        check_installed()
        self.tokenizer: Any = tokenizer
        self.name = location
        self.ends = end_tokens(_generation_config(location, revision), tokenizer)
        self.adapter: Any = None
        self.llm = _start(location, revision, dtype, settings, rank, editable)

    @property
    def view(self) -> VllmModelView:
        model = self.llm.apply_model(lambda model: model)[0]
        return VllmModelView(model, self.llm.model_config.hf_text_config, self.name)

    def activate_adapter(self, adapter: lora.Adapter, number: int) -> None:
        """Answer with an adapter from now on; each has a number of its own, from 1."""
        from vllm.lora.request import LoRARequest

        self.adapter = LoRARequest(lora_name=adapter.folder, lora_int_id=number, lora_path=adapter.folder)

    def close(self) -> None:
        """Stop the engine and free its memory."""
        from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

        self.llm.llm_engine.engine_core.shutdown()
        del self.llm
        gc.collect()
        cleanup_dist_env_and_memory()

    def generate(self, *arguments: Any, **options: Any) -> list[Reply]:
        self.llm.reset_prefix_cache()
        return super().generate(*arguments, **options)

    def extend(
        self, ids: list[list[int]], max_new_tokens: int, temperature: float, seed: int, label: str
    ) -> list[Continuation]:
        from vllm import SamplingParams

        self._check_room(max(map(len, ids)), max_new_tokens)
        sampled = partial(
            SamplingParams,
            max_tokens=max_new_tokens,
            temperature=temperature,
            stop_token_ids=sorted(self.ends),
            detokenize=False,
        )
        seeds = Random(seed)  # one seed for all prompts would give all of them the same random numbers
        outputs = self.llm.generate(
            [{"prompt_token_ids": each} for each in ids],
            [sampled(seed=seeds.getrandbits(32)) for _ in ids] if temperature else sampled(),
            use_tqdm=_reporting(counter(label, len(ids))),
            lora_request=self.adapter,
        )
        return [Continuation.until(self.ends, list(output.outputs[0].token_ids)) for output in outputs]

    def _check_room(self, longest: int, max_new_tokens: int) -> None:
        """Raise where a reply would end because of memory; one that ends with the model's positions is incomplete."""
        config = self.llm.model_config
        positions = getattr(config.hf_text_config, "max_position_embeddings", config.max_model_len)
        if longest + max_new_tokens > config.max_model_len < positions:
            raise UserError(
                f"model '{self.name}': prompts and replies take up to {longest + max_new_tokens} tokens, and the memory that vLLM may take has room for {config.max_model_len}; raise inference.vllm.memory or lower inference.max_new_tokens"
            )
        if longest >= config.max_model_len:
            raise UserError(
                f"model '{self.name}': a prompt of {longest} tokens leaves no room for a reply within its {config.max_model_len} positions; leave it out of the benchmark"
            )


def _generation_config(location: str, revision: str | None) -> GenerationConfig:
    from transformers import AutoConfig, GenerationConfig

    try:
        return GenerationConfig.from_pretrained(location, revision=revision or "main")
    except OSError:
        return GenerationConfig.from_model_config(AutoConfig.from_pretrained(location, revision=revision))


def _memory() -> tuple[str, int, int]:
    """What the engine's memory is called, and how many bytes of it are free, of how many."""
    import torch

    if torch.cuda.is_available():
        return "GPU memory", *torch.cuda.mem_get_info()
    import psutil

    known = psutil.virtual_memory()
    return "memory", known.available, known.total


def _start(location: str, revision: str | None, dtype: str, settings: Vllm, rank: int | None, editable: bool) -> Any:
    """The engine.

    Raises:
        UserError: there is too little memory, or vLLM refuses the model.
    """
    os.environ |= ENVIRONMENT
    import torch
    from transformers import AutoConfig
    from vllm import LLM

    what, free, total = _memory()
    asked = (
        f"model '{location}': vLLM was to take {settings.memory:.0%} of {total / 2**30:.1f} GiB of {what} (inference.vllm.memory), of "
        f"which {free / 2**30:.1f} GiB are free"
    )
    if settings.memory * total > free:
        raise UserError(f"{asked}; set it to {int(100 * free / total) / 100} or less, or end what uses the rest")
    model_type = AutoConfig.from_pretrained(location, revision=revision).model_type
    if model_type in UNSERVED:
        raise UserError(
            f"model '{location}': vLLM {UNSERVED[model_type]} with the family '{model_type}'; give this model 'backend: transformers'"
        )
    options: dict[str, Any] = {"enable_lora": True, "max_loras": 1, "max_lora_rank": rank} if rank else {}
    if editable:
        options |= _unpacked()
    try:
        return LLM(
            model=location,
            revision=revision,
            dtype=dtype,
            skip_tokenizer_init=True,
            generation_config="vllm",  # the model's own sampling settings would count otherwise
            max_model_len=-1,  # as long as memory allows, and no longer than the model's positions
            gpu_memory_utilization=settings.memory,
            tensor_parallel_size=max(1, torch.cuda.device_count()),
            enable_prefix_caching=True,
            enforce_eager=True,
            seed=0,
            **options,
        )
    except (torch.OutOfMemoryError, ValueError, RuntimeError, NotImplementedError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if isinstance(error, torch.OutOfMemoryError) or "memory" in reason.lower():
            raise UserError(f"{asked}, which is too little ({reason}); raise it or use a larger device") from None
        raise UserError(
            f"model '{location}': vLLM cannot serve it ({reason}); give this model 'backend: transformers'"
        ) from None


def _unpacked() -> dict[str, Any]:
    """Options that keep weights as they are in the checkpoint, rather than repacked for faster kernels."""
    import torch

    if torch.cuda.is_available():
        return {"moe_backend": "triton"}
    from vllm import _custom_ops

    _custom_ops._supports_onednn = False  # there is no option for it; without oneDNN, linear layers keep their weight
    return {}


def _reporting(report: Callable[[int], None]) -> Callable[..., Any]:
    """A progress bar, which vLLM asks for, that draws nothing and reports instead."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        def update(self, n: float | None = 1) -> bool | None:
            shown: bool | None = super().update(n)
            report(int(self.n))
            return shown

    return partial(Bar, file=io.StringIO())
