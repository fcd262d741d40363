"""What the jobs of a hub model cost: engine, GPUs, memory, hours, disk; `rim.workflow.plan` makes the bill of it.

`rim.workflow.workload` says what a job does, in tokens, `rim.workflow.speed` how long a GPU takes for that. On top come the
weights, read from disk each time they are loaded, and the start of vLLM.

vLLM generates where the study says so, but not where it would edit a model that takes several GPUs (`rim.models.engines`), and takes
its share of all memory there is. transformers needs the weights and the keys and values of a full batch at its longest. Adapters
need, on each GPU, their 16 bytes of state per parameter and the activations of a micro-batch, gradients of neurons those of TOKENS
tokens. A job gets as many GPUs, a power of two, as keep the weights in ROOM of their memory, and for a backward pass the next count
up to 8 that holds what it takes, if one does. Checkpoints are read in float32, which doubles the weights. On disk: the weights
once, adapters of 0.05 % of the parameters per rank (0.13 % in a mixture, whose experts all have one) in 4 bytes per checkpoint, and
activation caches. Expect the truth within a factor of two or three, and look at the second table after the first model.
"""

from __future__ import annotations

import math

from rim.config.study import Study
from rim.settings.forgetting import TOKENS
from rim.settings.models import Model
from rim.workflow import speed, workload

KEPT = 57  # bytes of a backward pass per token, layer and unit of width; measured on a layer of Qwen3-4B in bfloat16
LOGITS = 3 * 4 * 150_000  # bytes per token: logits over a vocabulary, and their gradient
LOADED, STARTED = 2e9, 60  # bytes of weights per second from disk; seconds that vLLM takes to start
ROOM = {"transformers": 2 / 3, "vllm": 0.8}  # of the GPUs' memory, for weights
EDITING = ("ablate_heads", "ablate_neurons")  # rules that edit weights
COMPARING = ("measure_gradients", "measure_checkpoints")  # rules that may have the weights in float32
NODE = 8  # GPUs, at most
UNKNOWN = 16e9  # bytes of a hub model of unknown size
LIBRARIES = {"transformers": 2e9, "vllm": 8e9}  # bytes of main memory; of vLLM a guess


def weights(model: Model, dtype: str | None = None) -> float:
    """Bytes of a model's weights, in another type than its own if one is named; 0 for an organism or one of unknown size."""
    return speed.shape(model, dtype).weights


def job_dtype(study: Study, rule: str, name: str) -> str:
    """The widest type in which a job has the weights of its model."""
    forgetting = study.forgetting
    full = rule in COMPARING and forgetting is not None and forgetting.dtype == "float32"
    return "float32" if full else study.models[name].dtype


def engine(study: Study, rule: str, name: str, variant: str) -> str | None:
    """What generates in a job, None where nothing does."""
    if not workload.work(study, rule, name, variant).calls:
        return None
    wanted = study.inference_of(name).backend
    edited = rule in EDITING and _holding(study, rule, name, ROOM[wanted]) > 1
    return "transformers" if edited else wanted


def gpus(study: Study, rule: str, name: str, variant: str) -> int:
    """GPUs that a job asks for, none for an organism: as many as hold the weights, and what a backward pass takes."""
    if study.models[name].trained_here:
        return 0
    reads = rule == "measure_checkpoints"  # through transformers, before its checkpoints answer
    by = (None if reads else engine(study, rule, name, variant)) or "transformers"
    count = _holding(study, rule, name, ROOM[by])
    for more in [count << doublings for doublings in range(4)]:
        if more <= max(NODE, count) and _backward(study, rule, name, variant, more) <= more * _gpu_bytes(study):
            return more
    return count


def _holding(study: Study, rule: str, name: str, room: float) -> int:
    """GPUs, a power of two, that have the weights in a share of their memory."""
    held = weights(study.models[name], job_dtype(study, rule, name))
    return int(2 ** math.ceil(math.log2(max(held / (room * _gpu_bytes(study)), 1))))


def _gpu_bytes(study: Study) -> float:
    return study.hardware.gpu_memory * 1e9


def seconds(study: Study, rule: str, name: str, variant: str) -> float:
    """Wall time of one job of a hub model, 0 for one of unknown size.

    GPUs work at the same time under vLLM and where they train adapters, and else take turns.
    """
    model, gpu = study.models[name], study.hardware
    shape, done, by = speed.shape(model), workload.work(study, rule, name, variant), engine(study, rule, name, variant)
    if not shape.parameters:
        return 0
    served = gpus(study, rule, name, variant) if by == "vllm" else 1
    batch_of, share = study.inference.batch_of, study.inference.vllm.memory
    spent = sum(
        speed.generating(shape, gpu, each, by, batch_of(each.bound), served, share) for each in done.calls if by
    )
    spent += speed.reading(shape, gpu, done.read) + done.loads * shape.weights / LOADED + STARTED * (by == "vllm")
    if done.trained:
        processes = _processes(study, rule, name, variant)
        together = _micro_batch(study, processes)
        tokens = done.trained * speed.padding(together, study.finetune.batch_size, study.finetune.batching) / processes
        passes = (4 if study.finetune.method == "lora" else 6) + 2 * study.finetune.gradient_checkpointing
        spent += speed.reading(shape, gpu, tokens, passes)
    return spent


def memory(study: Study, rule: str, name: str, variant: str) -> float:
    """Bytes of GPU memory that one job needs at its peak."""
    if rule == "finetune_model":
        return _training_bytes(study, name, _processes(study, rule, name, variant))
    if rule == "measure_gradients":
        return _gradient_bytes(study, name)
    read = 1.2 * weights(study.models[name], job_dtype(study, rule, name))
    return max(read, _generating_bytes(study, rule, name, variant))


def host_memory(study: Study, rule: str, name: str, variant: str) -> float:
    """Bytes of main memory that a job needs: libraries, and room for a second copy of the weights, which pass through it."""
    if study.models[name].trained_here:
        return LIBRARIES["transformers"]
    libraries = LIBRARIES[engine(study, rule, name, variant) or "transformers"]
    return libraries + 2.2 * (weights(study.models[name], job_dtype(study, rule, name)) or UNKNOWN)


def disk(study: Study, rule: str, name: str, variant: str) -> float:
    """Bytes that a job leaves on disk."""
    shape = speed.shape(study.models[name])
    if rule == "finetune_model":
        recipe = study.finetune_of(variant)
        kept = _adapters(study, study.models[name]) if recipe.method == "lora" else shape.weights
        return kept * (1 + recipe.checkpoints)
    if rule == "cache_activations":
        texts = sum(rows for rows, _ in workload.cached_texts(study, name))
        return texts * workload.positions(study) * shape.layers * shape.hidden * 2
    return 0


def _generating_bytes(study: Study, rule: str, name: str, variant: str) -> float:
    """Bytes of GPU memory in which a job generates; of vLLM what it takes, or more where the longest reply needs more."""
    shape, calls = speed.shape(study.models[name]), workload.work(study, rule, name, variant).calls
    if engine(study, rule, name, variant) == "vllm":
        share = study.inference.vllm.memory
        longest = max(call.prompt + call.bound for call in calls)
        taken = share * _gpu_bytes(study) * gpus(study, rule, name, variant)
        return max(taken, (shape.weights + longest * shape.cache) * share / (share - speed.RESERVED))
    held = (min(study.inference.batch_of(call.bound), call.rows) * (call.prompt + call.bound) for call in calls)
    return shape.weights + max(held, default=0) * shape.cache


def _gradient_bytes(study: Study, name: str) -> float:
    """Bytes of GPU memory in which gradients of neurons are taken."""
    shape = speed.shape(study.models[name], job_dtype(study, "measure_gradients", name))
    kept = KEPT * shape.bytes / 2 * shape.layers * shape.hidden
    return 2 * shape.weights + TOKENS * (kept + LOGITS)


def _side_by_side(study: Study, variant: str) -> bool:
    """Whether the GPUs of a fine-tune, some power of two, work at the same time; see rim.steps.finetune_model."""
    mitigation, recipe = study.variants[variant].mitigation, study.finetune_of(variant)
    return recipe.method == "lora" and recipe.batch_size % NODE == 0 and not (mitigation and mitigation.dataset)


def _backward(study: Study, rule: str, name: str, variant: str, count: int) -> float:
    """Bytes of GPU memory that a job with a backward pass takes on so many GPUs; 0 for others."""
    if rule == "finetune_model" and _side_by_side(study, variant):
        return _training_bytes(study, name, count)
    return _gradient_bytes(study, name) if rule == "measure_gradients" else 0


def _processes(study: Study, rule: str, name: str, variant: str) -> int:
    return gpus(study, rule, name, variant) if rule == "finetune_model" and _side_by_side(study, variant) else 1


def _micro_batch(study: Study, processes: int) -> int:
    """Rows of a forward pass of one of so many processes."""
    recipe = study.finetune
    return math.gcd(recipe.micro_batch_size or recipe.batch_size, recipe.batch_size // processes)


def _training_bytes(study: Study, name: str, processes: int) -> float:
    """Bytes of GPU memory in which so many processes fine-tune a model."""
    recipe, shape = study.finetune, speed.shape(study.models[name])
    kept = (2 if recipe.gradient_checkpointing else KEPT) * shape.layers * shape.hidden + LOGITS
    state = 4 * _adapters(study, study.models[name]) if recipe.method == "lora" else 3 * shape.weights
    return shape.weights + processes * (state + _micro_batch(study, processes) * recipe.max_length * kept)


def _adapters(study: Study, model: Model) -> float:
    """Bytes of the adapters of one checkpoint."""
    shape = speed.shape(model)
    share = 0.0013 if shape.active < shape.parameters else 0.0005
    return shape.parameters * share * study.finetune.lora.rank * 4
