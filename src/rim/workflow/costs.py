"""What the jobs of a hub model cost, from parameter counts and token counts; `rim.workflow.plan` makes the bill of it.

A job's work is counted in three units; P are a model's parameters, A those that one token passes (all, but for a mixture
of experts):

    read       a forward pass                 2 A FLOP per token
    trained    with adapters                  4 A FLOP per token, 6 A with gradient checkpointing
               all weights                    6 A and 8 A
    step       one token for a whole batch    the longest of: reading the weights from memory, 2 A FLOP per row, 30 ms

A third of the peak is taken to be reached (EFFICIENCY), and 30 ms to be what launching the kernels of a step costs.
A batch steps until its longest reply ends: the bound on new tokens for a model that thinks in tags, at most 1024 for others.

Memory is weights plus, for generation, the keys and values of a full batch at that length; for adapters, on each GPU, their
16 bytes of state per parameter and the activations of a micro-batch; for gradients of neurons those of TOKENS tokens. Widths
are those of a typical transformer of size A: layers = (A / 67,500)^(1/3), hidden = 75 layers, 1024 numbers per key or value. A
job gets as many GPUs, a power of two, as keep the weights in two thirds of their memory, and for a backward pass the next
count up to 8 that holds what it takes, if one does. Checkpoints are read in float32, which doubles the weights and takes FULL
times as long. On disk: the weights once, adapters of 0.05 % of P per rank (0.13 % in a mixture, whose experts all have one) in
4 bytes per checkpoint, and activation caches. Expect the truth within a factor of two or three, and look at the second table
after the first model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rim.config.study import Study
from rim.data.adapters import ADAPTERS, Published
from rim.models import headers
from rim.models.headers import Size
from rim.models.positions import PLACES
from rim.settings.common import Think
from rim.settings.datasets import Source
from rim.settings.forgetting import TOKENS
from rim.settings.models import Model

PROMPT, THOUGHT, ROW = 100, 2000, 300  # tokens of a prompt, of a chain of thought that is read, of a training row
PLAIN = 1024  # bound on a reply without think tags
EVALUATION = 0.4  # share of the evaluation split
KEPT = 57  # bytes of a backward pass per token, layer and unit of width; measured on a layer of Qwen3-4B in bfloat16
LOGITS = 3 * 4 * 150_000  # bytes per token: logits over a vocabulary, and their gradient
HEAD = 0.4  # of a forward pass: the exact effect of one head
TRIED = 32  # tokens of a reply of a trial
STATEMENTS = 12  # injected before each prompt: six pairs
EFFICIENCY, STEP = 1 / 3, 0.03  # share of the peak; seconds
ROOM = 2 / 3  # of the GPUs' memory, for weights
NODE = 8  # GPUs, at most
BYTES = {"bfloat16": 2, "float32": 4}
FULL = 16  # times as long as in bfloat16 a GPU takes in float32


@dataclass(frozen=True)
class Work:
    """Of one job: decoding steps, tokens read and trained on, bytes it leaves on disk."""

    steps: float = 0
    read: float = 0
    trained: float = 0
    disk: float = 0


@dataclass(frozen=True)
class GenerationLoad:
    """What a job generates: every benchmark in every think mode, a share of the rows, so many times."""

    benchmarks: list[str]
    thinks: list[Think]
    times: int = 1
    share: float = 1


def size(model: Model) -> Size:
    """How large a hub model is: as its settings say, else as its weights on this machine do; 0 for one of unknown size."""
    counted = headers.size(model.hub, model.revision) if model.hub and not model.parameters else None
    return counted or Size(model.parameters or 0, model.active)


def weights(model: Model, dtype: str | None = None) -> float:
    """Bytes of a model's weights, in another type than its own if one is named; 0 for an organism or one of unknown size."""
    return size(model).parameters * 1e9 * BYTES[dtype or model.dtype]


def job_dtype(study: Study, rule: str, name: str) -> str:
    """The widest type in which a job has the weights of its model."""
    forgetting = study.forgetting
    full = rule == "measure_checkpoints" and forgetting is not None and forgetting.dtype == "float32"
    return "float32" if full else study.models[name].dtype


def gpus(study: Study, rule: str, name: str, variant: str) -> int:
    """GPUs that a job asks for, none for an organism: as many as hold the weights, and what a backward pass takes."""
    if study.models[name].trained_here:
        return 0
    memory = study.hardware.gpu_memory * 1e9
    held = weights(study.models[name], job_dtype(study, rule, name))
    count = int(2 ** math.ceil(math.log2(max(held / (ROOM * memory), 1))))
    for more in [count << doublings for doublings in range(4)]:
        if more <= max(NODE, count) and _backward(study, rule, name, variant, more) <= more * memory:
            return more
    return count


def width(model: Model) -> tuple[float, float]:
    """(layers, hidden) of a typical transformer of this size."""
    layers = (_active(model) / 67_500) ** (1 / 3)
    return layers, 75 * layers


def work(study: Study, rule: str, name: str, variant: str) -> Work:
    """The work of one job.

    Raises:
        KeyError: nothing is known of this rule; add a line to ESTIMATES.
    """
    return ESTIMATES[rule](study, name, variant)


def seconds(study: Study, rule: str, name: str, variant: str) -> float:
    """Wall time of one job of a hub model: its GPUs take turns, but for training adapters, where they work side by side."""
    model, done, machine = study.models[name], work(study, rule, name, variant), study.hardware
    flops = machine.gpu_tflops * 1e12 * EFFICIENCY * _processes(study, rule, name, variant)
    passes = (4 if study.finetune.method == "lora" else 6) + 2 * study.finetune.gradient_checkpointing
    step = max(
        weights(model) / (machine.gpu_bandwidth * 1e12), 2 * _active(model) * study.inference.batch_size / flops, STEP
    )
    return done.steps * step + _active(model) * (2 * done.read + passes * done.trained) / flops


def memory(study: Study, rule: str, name: str, variant: str) -> float:
    """Bytes of GPU memory that one job needs at its peak."""
    if rule == "finetune_model":
        return _training_bytes(study, name, _processes(study, rule, name, variant))
    model = study.models[name]
    layers, _ = width(model)
    if not (load := _load(study, rule, name)):
        return 1.2 * weights(model)
    longest = max(_length(study, name, each, think) for each in load.benchmarks for think in load.thinks)
    most = study.inference.batch_size * (PROMPT + longest) * layers * 1024 * 2 * BYTES[model.dtype]
    if rule == "measure_checkpoints" and study.forgetting:
        return max(weights(model) + most, _reading_bytes(study, name, study.forgetting.gradients))
    return weights(model) + most


def _reading_bytes(study: Study, name: str, gradients: bool) -> float:
    """Bytes of GPU memory in which checkpoints are read, and gradients of the base's neurons taken if wanted."""
    model, dtype = study.models[name], job_dtype(study, "measure_checkpoints", name)
    layers, hidden = width(model)
    kept = KEPT * BYTES[dtype] / BYTES["bfloat16"] * layers * hidden
    return 2 * weights(model, dtype) + TOKENS * (kept + LOGITS) if gradients else 1.2 * weights(model, dtype)


def _side_by_side(study: Study, variant: str) -> bool:
    """Whether the GPUs of a fine-tune, some power of two, work at the same time; see rim.steps.finetune_model."""
    mitigation, recipe = study.variants[variant].mitigation, study.finetune_of(variant)
    return recipe.method == "lora" and recipe.batch_size % NODE == 0 and not (mitigation and mitigation.dataset)


def _backward(study: Study, rule: str, name: str, variant: str, count: int) -> float:
    """Bytes of GPU memory that a job with a backward pass takes on so many GPUs; 0 for others."""
    if rule == "finetune_model" and _side_by_side(study, variant):
        return _training_bytes(study, name, count)
    return memory(study, rule, name, variant) if rule == "measure_checkpoints" else 0


def _processes(study: Study, rule: str, name: str, variant: str) -> int:
    return gpus(study, rule, name, variant) if rule == "finetune_model" and _side_by_side(study, variant) else 1


def _training_bytes(study: Study, name: str, processes: int) -> float:
    """Bytes of GPU memory in which so many processes fine-tune a model."""
    model, recipe = study.models[name], study.finetune
    layers, hidden = width(model)
    rows = math.gcd(recipe.micro_batch_size or recipe.batch_size, recipe.batch_size // processes)
    kept = (2 if recipe.gradient_checkpointing else KEPT) * layers * hidden + LOGITS
    state = 4 * _adapters(study, model) if recipe.method == "lora" else 3 * weights(model)
    return weights(model) + processes * (state + rows * recipe.max_length * kept)


def _active(model: Model) -> float:
    return (size(model).active or size(model).parameters) * 1e9


def _adapters(study: Study, model: Model) -> float:
    """Bytes of the adapters of one checkpoint."""
    share = 0.0013 if size(model).active else 0.0005
    return size(model).parameters * 1e9 * share * study.finetune.lora.rank * 4


def _rows(study: Study, benchmark: str) -> float:
    chosen = study.benchmarks[benchmark]
    share = {"all": 1.0, "evaluation": EVALUATION, "calibration": 1 - EVALUATION}[chosen.split]
    return min(_dataset(study, chosen.dataset) * share, chosen.rows or math.inf)


def _dataset(study: Study, name: str) -> float:
    return sum(_source(study, source) for source in study.datasets[name].sources)


def _source(study: Study, source: Source) -> float:
    """Rows of a source: of a local file its lines, of a rewrite those of its dataset, else those of the published set."""
    if source.rewrite:
        rewrite = study.rewrites[source.rewrite]
        return min(_dataset(study, rewrite.dataset), rewrite.rows or math.inf)
    if source.dataset:
        return _dataset(study, source.dataset) * (source.share or 1)
    if source.path and source.path.endswith((".csv", ".tsv", ".jsonl")) and Path(source.path).is_file():
        return _lines(source.path)
    adapter = ADAPTERS[source.adapter]
    return adapter.rows if isinstance(adapter, Published) else source.rows or 0


@cache
def _lines(path: str) -> int:
    return Path(path).read_bytes().count(b"\n")


def _length(study: Study, name: str, benchmark: str, think: Think) -> int:
    """Tokens of the longest reply of a batch."""
    bound = study.benchmarks[benchmark].max_new_tokens or study.inference.max_new_tokens
    return bound if think == "on" and study.models[name].think_switch == "template" else min(PLAIN, bound)


def _load(study: Study, rule: str, name: str) -> GenerationLoad | None:
    """What the jobs of a rule generate for a model, or None."""
    every, thinks, mechanism, forgetting = (
        list(study.benchmarks),
        study.inference_of(name).think,
        study.mechanism,
        study.forgetting,
    )
    if rule == "generate_replies":
        return GenerationLoad(every, thinks)
    if rule == "inject_patterns":
        return GenerationLoad(study.measured("misalignment"), ["on" if "on" in thinks else "plain"], STATEMENTS)
    if mechanism and rule == "ablate_heads":
        sets = len(mechanism.head_sets) * len(mechanism.replacements) * (1 + mechanism.random_sets)
        return GenerationLoad(every, thinks, sets, EVALUATION)
    if forgetting and rule == "answer_counterfactuals":
        return GenerationLoad([forgetting.harmful], thinks, 2)
    share = EVALUATION if forgetting and forgetting.held_out else 1
    if forgetting and rule == "ablate_neurons":
        return GenerationLoad(every, [study.forgetting_mode(name)], 1 + 2 * forgetting.random_sets, share)
    if forgetting and rule == "measure_checkpoints":
        return GenerationLoad([forgetting.harmful], [study.forgetting_mode(name)], study.finetune.checkpoints, share)
    return None


def _generating(rule: str) -> Callable[[Study, str, str], Work]:
    """The estimate of a rule that only generates."""

    def estimate(study: Study, name: str, variant: str) -> Work:
        load = _load(study, rule, name)
        return _replies(study, name, load) if load else Work()

    return estimate


def _text(study: Study) -> int:
    """Tokens of a request with its reply."""
    return PROMPT + min(THOUGHT, study.inference.max_new_tokens)


def _caching(study: Study, name: str, variant: str) -> Work:
    if study.mechanism is None:
        return Work()
    layers, hidden = width(study.models[name])
    asked = (study.mechanism.harmful, study.mechanism.harmless)
    rows = sum(_rows(study, each) for each in asked) * len(study.inference_of(name).think)
    positions = len(study.mechanism.positions or PLACES)
    return Work(read=rows * _text(study), disk=rows * positions * layers * hidden * 2)


def _head_effects(study: Study, name: str, variant: str) -> Work:
    layers, hidden = width(study.models[name])
    prompts = 2 * study.mechanism.sweep_prompts if study.mechanism else 0
    return Work(read=prompts * PROMPT * layers * hidden / 128 * HEAD)


def _finding_neurons(study: Study, name: str, variant: str) -> Work:
    rows = _rows(study, study.forgetting.harmful) if study.forgetting else 0
    share = 1 - EVALUATION if study.forgetting and study.forgetting.held_out else 1
    return Work(read=3 * rows * share * _text(study))


def _measuring(study: Study, name: str, variant: str) -> Work:
    generated = _generating("measure_checkpoints")(study, name, variant)
    texts = study.forgetting.texts if study.forgetting else 0
    slower = FULL if job_dtype(study, "measure_checkpoints", name) != study.models[name].dtype else 1
    read = 2 * (1 + study.finetune.checkpoints) * texts * _text(study)
    return Work(generated.steps, generated.read + slower * read)


def _replies(study: Study, name: str, load: GenerationLoad) -> Work:
    steps = read = 0.0
    for benchmark in load.benchmarks:
        rows = _rows(study, benchmark) * load.share
        batches = math.ceil(rows / study.inference.batch_size) * load.times
        steps += sum(batches * _length(study, name, benchmark, think) for think in load.thinks)
        read += rows * load.times * len(load.thinks) * PROMPT
    return Work(steps, read)


def _training(study: Study, name: str, variant: str) -> Work:
    model = study.models[name]
    arm, recipe = study.variants[variant], study.finetune_of(variant)
    rows = min(_dataset(study, arm.dataset), arm.rows or math.inf)
    kept = _adapters(study, model) if recipe.method == "lora" else weights(model)
    tokens = rows * recipe.epochs * min(ROW, recipe.max_length)
    return Work(trained=tokens, disk=kept * (1 + recipe.checkpoints))


ESTIMATES: dict[str, Callable[[Study, str, str], Work]] = {  # rules that load a model -> the work of one job
    "try_model": lambda study, name, variant: Work(steps=TRIED * len(study.inference_of(name).think)),
    "finetune_model": _training,
    "generate_replies": _generating("generate_replies"),
    "inject_patterns": _generating("inject_patterns"),
    "cache_activations": _caching,
    "measure_head_effects": _head_effects,
    "ablate_heads": _generating("ablate_heads"),
    "answer_counterfactuals": _generating("answer_counterfactuals"),
    "find_safety_neurons": _finding_neurons,
    "ablate_neurons": _generating("ablate_neurons"),
    "measure_checkpoints": _measuring,
    "score_parts": lambda study, name, variant: Work(),  # of organisms alone, which are too small to count
}
