"""What the jobs of a model generate, read and train on, in tokens; `rim.workflow.costs` turns it into hours.

A reply takes THOUGHT tokens of a model that thinks in tags (all that its benchmark allows, where that has a bound of its own), and
ANSWER of others. Training rows are padded to the longest of their micro-batch, or packed, and then counted as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rim.config import runs
from rim.config.study import Study
from rim.data.adapters import ADAPTERS, Published
from rim.models.positions import PLACES
from rim.settings.common import Think
from rim.settings.datasets import Source
from rim.workflow import speed
from rim.workflow.speed import Call

PROMPT, THOUGHT, ANSWER = 100, 2000, 300  # tokens of a prompt, of a reply with its thought, of one without
ROW = 300  # tokens of a training row
EVALUATION = 0.4  # share of the evaluation split
HEAD = 0.4  # of a forward pass: the exact effect of one head
TRIED = 32  # tokens of a reply of a trial
STATEMENTS, STATEMENT = 12, 20  # injected before each prompt: six pairs; tokens of one
FULL = 8  # times as long as in bfloat16 a GPU takes in float32: a sixteenth of the peak, of which twice the share is reached


@dataclass(frozen=True)
class Work:
    """Of one job: what it generates, tokens read and trained on, and how often it loads the weights of its model."""

    calls: tuple[Call, ...] = ()
    read: float = 0
    trained: float = 0
    loads: int = 1


def work(study: Study, rule: str, name: str, variant: str) -> Work:
    """The work of one job.

    Raises:
        KeyError: nothing is known of this rule; add a line to ESTIMATES.
    """
    return ESTIMATES[rule](study, name, variant)


def benchmark_rows(study: Study, benchmark: str) -> float:
    """Rows that a benchmark asks."""
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


def _reply(study: Study, name: str, benchmark: str, think: Think) -> tuple[int, int]:
    """Tokens of a reply to a benchmark, on average and at most."""
    own = study.benchmarks[benchmark].max_new_tokens
    bound = own or study.inference.max_new_tokens
    thinks = think == "on" and study.models[name].think_switch == "template"
    return min(bound, (own or THOUGHT) if thinks else ANSWER), bound


def _calls(
    study: Study, name: str, benchmarks: list[str], thinks: list[Think], times: float = 1, share: float = 1
) -> tuple[Call, ...]:
    """Every benchmark in every think mode, a share of its rows, so many times."""
    found = []
    for benchmark in benchmarks:
        rows = math.ceil(benchmark_rows(study, benchmark) * share)
        for think in thinks if rows else ():
            reply, bound = _reply(study, name, benchmark, think)
            found.append(Call(rows, PROMPT, reply, bound, rows * PROMPT, times))
    return tuple(found)


def _trying(study: Study, name: str, variant: str) -> Work:
    thinks = study.inference_of(name).think
    return Work((Call(1, PROMPT, TRIED, TRIED, PROMPT, len(thinks)),))


def _training(study: Study, name: str, variant: str) -> Work:
    arm, recipe = study.variants[variant], study.finetune_of(variant)
    rows = min(_dataset(study, arm.dataset), arm.rows or math.inf)
    return Work(trained=rows * recipe.epochs * min(ROW, recipe.max_length))


def _replying(study: Study, name: str, variant: str) -> Work:
    return Work(_calls(study, name, list(study.benchmarks), study.inference_of(name).think))


def _injecting(study: Study, name: str, variant: str) -> Work:
    """Each prompt once for every statement, all in one call, so that vLLM reads what they have in common once."""
    think: Think = "on" if "on" in study.inference_of(name).think else "plain"
    most = (study.injection.rows if study.injection else None) or math.inf
    found = []
    for benchmark in study.measured("misalignment"):
        if rows := min(benchmark_rows(study, benchmark), most):
            reply, bound = _reply(study, name, benchmark, think)
            read = rows * (PROMPT + STATEMENTS * STATEMENT)
            found.append(Call(rows * STATEMENTS, PROMPT + STATEMENT, reply, bound, read))
    return Work(tuple(found))


def _text(study: Study, name: str, benchmark: str, think: Think) -> int:
    """Tokens of a request with its reply."""
    return PROMPT + _reply(study, name, benchmark, think)[0]


def cached_texts(study: Study, name: str) -> list[tuple[float, int]]:
    """The texts whose activations are read, by benchmark and think mode: how many, and the tokens of one."""
    if study.mechanism is None:
        return []
    asked, thinks = (study.mechanism.harmful, study.mechanism.harmless), study.inference_of(name).think
    return [(benchmark_rows(study, each), _text(study, name, each, think)) for each in asked for think in thinks]


def positions(study: Study) -> int:
    """How many token positions of a text are kept."""
    return len((study.mechanism and study.mechanism.positions) or PLACES)


def _caching(study: Study, name: str, variant: str) -> Work:
    return Work(read=sum(rows * tokens for rows, tokens in cached_texts(study, name)))


def _head_effects(study: Study, name: str, variant: str) -> Work:
    shape = speed.shape(study.models[name])
    prompts = 2 * study.mechanism.sweep_prompts if study.mechanism else 0
    return Work(read=prompts * PROMPT * shape.layers * shape.hidden / 128 * HEAD)


def _ablating_heads(study: Study, name: str, variant: str) -> Work:
    if (chosen := study.mechanism) is None:
        return Work()
    sets = len(chosen.head_sets) * len(chosen.replacements) * (1 + chosen.random_sets)
    thinks = study.inference_of(name).think
    return Work(_calls(study, name, list(runs.ablated_benchmarks(study, chosen)), thinks, sets, EVALUATION), loads=2)


def _answering_counterfactuals(study: Study, name: str, variant: str) -> Work:
    if (chosen := study.forgetting) is None:
        return Work()
    return Work(_calls(study, name, [chosen.harmful], study.inference_of(name).think, times=2))


def _finding_neurons(study: Study, name: str, variant: str) -> Work:
    if (chosen := study.forgetting) is None:
        return Work()
    rows = benchmark_rows(study, chosen.harmful) * (1 - EVALUATION if chosen.held_out else 1)
    return Work(read=3 * rows * _text(study, name, chosen.harmful, study.forgetting_mode(name)))


def _ablating_neurons(study: Study, name: str, variant: str) -> Work:
    if (chosen := study.forgetting) is None:
        return Work()
    share = EVALUATION if chosen.held_out else 1
    thinks, sets = [study.forgetting_mode(name)], 1 + 2 * chosen.random_sets
    return Work(_calls(study, name, list(runs.ablated_benchmarks(study, chosen)), thinks, sets, share))


def _gradients(study: Study, name: str, variant: str) -> Work:
    """Refusals and, of each dataset to be learned, rows, forward and backward, which takes twice as long."""
    if (chosen := study.forgetting) is None:
        return Work()
    refusal = _text(study, name, chosen.harmful, study.forgetting_mode(name))
    tokens = chosen.texts * (refusal + len(runs.lessons(study, name)) * ROW)
    return Work(read=3 * _slower(study, name) * tokens)


def _measuring(study: Study, name: str, variant: str) -> Work:
    """Texts of both kinds, by the base and every checkpoint; then every checkpoint's replies."""
    if (chosen := study.forgetting) is None:
        return Work()
    think, checkpoints = study.forgetting_mode(name), study.finetune_of(variant).checkpoints
    share = EVALUATION if chosen.held_out else 1
    tokens = sum(_text(study, name, each, think) for each in (chosen.harmful, chosen.task)) * chosen.texts
    calls = _calls(study, name, [chosen.harmful], [think], checkpoints, share)
    return Work(calls, read=_slower(study, name) * (1 + checkpoints) * tokens, loads=1 + 2 * checkpoints)


def _slower(study: Study, name: str) -> int:
    """How much longer a GPU takes to read in the type in which checkpoints are read."""
    full = study.forgetting is not None and study.forgetting.dtype == "float32"
    return FULL if full and study.models[name].dtype != "float32" else 1


ESTIMATES: dict[str, Callable[[Study, str, str], Work]] = {  # rules that load a model -> the work of one job
    "try_model": _trying,
    "finetune_model": _training,
    "generate_replies": _replying,
    "inject_patterns": _injecting,
    "cache_activations": _caching,
    "measure_head_effects": _head_effects,
    "ablate_heads": _ablating_heads,
    "answer_counterfactuals": _answering_counterfactuals,
    "find_safety_neurons": _finding_neurons,
    "ablate_neurons": _ablating_neurons,
    "measure_gradients": _gradients,
    "measure_checkpoints": _measuring,
    "score_parts": lambda study, name, variant: Work(),  # of organisms alone, which are too small to count
}
