"""Load models and tokenizers: a hub name, an ordinary folder, or a folder of adapters (merged into their base)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rim.core.errors import UserError
from rim.core.receipts import verified
from rim.models import hub
from rim.models.lora import check_base
from rim.settings.jobs import ModelReference
from rim.settings.models import UNTOLD, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from rim.models.families import ModelView


FUSED = {  # what some families call the projections that others keep apart, or transformers 5 those of all experts
    "q_proj": "qkv_proj",
    "k_proj": "qkv_proj",
    "v_proj": "qkv_proj",
    "gate_proj": "gate_up_proj",
    "up_proj": "gate_up_proj",
}


def resolve_model(model: ModelReference) -> tuple[str, str | None]:
    """Where a job loads its model from, and which revision: the last of its checkpoints, each checked, or the hub.

    Raises:
        UserError: a checkpoint or a local model folder is not what was recorded, or an adapter is one of another base.
    """
    base, revision = model.base, model.revision
    for receipt in model.checkpoints:  # the organism or the manifest of a download, then the variant
        artifact = verified(receipt)
        if artifact.is_dir():
            check_base(str(artifact), base)
            base, revision = str(artifact), None
        else:
            manifest = json.loads(artifact.read_text())
            hub.check_content(manifest)
            base, revision = manifest["hub"], manifest["commit"]
    return base, revision


def load_tokenizer(location: str, revision: str | None = None, prompt: Prompt = UNTOLD) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, padding on the left, with what its chat template is told in every rendering."""
    from transformers import AutoTokenizer

    with explained(location):
        tokenizer = AutoTokenizer.from_pretrained(location, revision=revision, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.told = prompt
    return tokenizer


def load_model(
    location: str, dtype: str = "float32", revision: str | None = None, device: str | None = None
) -> PreTrainedModel:
    """A causal language model in evaluation mode, on the GPU when there is one and no other device is asked for.

    Where a job has several GPUs, the blocks are spread over them in order, and accelerate carries what passes between them.

    Raises:
        UserError: the model cannot be found or read, or several GPUs together cannot hold it.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    adapter = Path(location, "adapter_config.json")
    spread = device is None and torch.cuda.device_count() > 1
    options: dict[str, Any] = {"dtype": getattr(torch, dtype), "device_map": "balanced" if spread else None}
    with explained(location):
        if adapter.is_file():
            from peft import PeftConfig, PeftModel

            base = PeftConfig.from_pretrained(location)
            model: Any = AutoModelForCausalLM.from_pretrained(
                base.base_model_name_or_path, revision=base.revision, **options
            )
            model = PeftModel.from_pretrained(model, location).merge_and_unload()
        else:
            model = AutoModelForCausalLM.from_pretrained(location, revision=revision, **options)
    places = set(
        getattr(model, "hf_device_map", {"": model.device.type}).values()
    )  # it has none when there is one place
    if spread and places & {"cpu", "disk"}:
        raise UserError(
            f"model '{location}': does not fit into the memory of {torch.cuda.device_count()} GPUs; correct its 'parameters' "
            "and hardware.gpu_memory, by which jobs ask for GPUs"
        )
    if not spread:
        model = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    placed: PreTrainedModel = model.eval()
    return placed


def open_model(model: ModelReference) -> tuple[ModelView, PreTrainedTokenizerBase]:
    """The model a job works on, seen through its family's adapter, and its tokenizer."""
    from rim.models.families import ModelView

    location, revision = resolve_model(model)
    return ModelView(load_model(location, model.dtype, revision)), load_tokenizer(location, revision, model.prompt)


@contextmanager
def merged(location: str, dtype: str) -> Iterator[str]:
    """A temporary folder with the adapter of `location` merged into its base, for as long as an engine is loading it."""
    with TemporaryDirectory(prefix="rim-merged-") as folder:
        load_model(location, dtype, device="cpu").save_pretrained(folder)
        yield folder


@contextmanager
def explained(location: str) -> Iterator[None]:
    """Turn the loaders' errors into one line that names the model."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        advice = "check the name and the network, or log in with `hf auth login` if it is gated"
        raise UserError(f"model '{location}': cannot be loaded ({reason}); {advice}") from None


def adapter_targets(model: PreTrainedModel, names: list[str]) -> tuple[list[str], list[str]]:
    """Sort the modules to adapt into (linear modules, fused expert parameters), as peft wants them.

    A projection that the model has in one with others stands for all of these.

    Raises:
        UserError: a name that the model has neither as a linear module nor as a fused expert parameter.
    """
    import torch

    linear = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    fused = {
        name.rsplit(".", 1)[-1]
        for name, parameter in model.named_parameters()
        if ".experts." in name and parameter.ndim == 3
    }
    modules, parameters = [], []
    for name in names:
        fused_name = FUSED.get(name, name)
        found = name if name in linear else fused_name
        if found not in linear and fused_name not in fused:
            raise UserError(
                f"finetune.lora.target_modules: the model has no module '{name}'; its linear modules are {', '.join(sorted(linear))}"
            )
        if found in linear and found not in modules:
            modules.append(found)
        if fused_name in fused and f"experts.{fused_name}" not in parameters:
            parameters.append(f"experts.{fused_name}")
    return modules, parameters
