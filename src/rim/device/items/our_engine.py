"""Our engine beside vLLM by itself: plain, with thinking bounded, with heads ablated, with an adapter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

from rim.analysis.ablation import ablated_heads, ablated_neurons
from rim.device import bill, clock
from rim.device.items.plain_engine import generation
from rim.device.rows import Row, Skipped
from rim.device.shapes import MODE, Setup, adapter, checkpoint, prompts
from rim.models import chat, loading, lora
from rim.models.vllm import VllmBackend
from rim.settings.inference import Vllm

NO_LESS = 0.9  # of vLLM's own speed
Work = Callable[[], Any]


def run(setup: Setup) -> Iterator[Row]:
    if find_spec("vllm") is None:
        raise Skipped("vLLM is not installed here (workflow/docs/engines.md says how)")
    mixture = "num_experts" in setup.model
    location = checkpoint(setup)
    beside = None if mixture else lora.read_adapter(str(adapter(setup, location)))  # vLLM merges those of a mixture
    begun = time.perf_counter()
    engine = _start(setup)
    yield Row("start", time.perf_counter() - begun, "s")
    yield from _plain(setup, engine)
    yield from _bounded(setup, engine)
    engine.close()
    del engine
    clock.free(setup.device)
    yield from _ablated(setup)
    if beside is None:
        yield Row("with an adapter", None, note="the adapter of a mixture's experts is merged before vLLM starts")
    else:
        clock.free(setup.device)
        yield from _adapted(setup, beside)


def _start(setup: Setup, **options: Any) -> VllmBackend:
    location = str(checkpoint(setup))
    tokenizer = loading.load_tokenizer(location)
    engine = VllmBackend(location, None, setup.scale.dtype, tokenizer, Vllm(memory=setup.scale.memory), **options)
    engine.ends = set()  # every reply has the same length
    return engine


def _answering(setup: Setup, engine: VllmBackend, count: int, thinking: Any = None) -> Work:
    asked = prompts(engine.tokenizer, count, setup.scale.prompt)
    return lambda: engine.generate(asked, setup.scale.reply, 0.0, 0, generation(count), thinking)


def _middle(setup: Setup) -> int:
    """The number of sequences at which variants are compared."""
    return setup.scale.sequences[1]


def _plain(setup: Setup, engine: VllmBackend) -> Iterator[Row]:
    alone, shape = setup.earlier(f"plain_{setup.shape}"), bill.shape(setup)
    for count in setup.scale.sequences:
        spent = clock.medians({"answer": _answering(setup, engine, count)}, setup.device)["answer"]
        rate, other = count * setup.scale.reply / spent, alone.get(generation(count))
        yield Row(generation(count), rate, "tokens/s", bill.served(setup, shape, count))
        if isinstance(other, int | float):
            target = setup.target(NO_LESS)
            yield Row(f"{generation(count)}, to vLLM by itself", rate / other, "times", at_least=target)
        else:
            yield Row(f"{generation(count)}, to vLLM by itself", None, note="vLLM by itself was not measured")


def _bounded(setup: Setup, engine: VllmBackend) -> Iterator[Row]:
    """Thoughts that end after half of a reply, which takes a second pass."""
    count, tokenizer = _middle(setup), engine.tokenizer
    bound = chat.bound(tokenizer, MODE, setup.scale.reply // 2, chat.begun(tokenizer, "plain", MODE))
    tasks = {"free": _answering(setup, engine, count), "bounded": _answering(setup, engine, count, bound)}
    spent = clock.medians(tasks, setup.device)
    yield Row(f"{generation(count)}, thinking bounded", spent["bounded"] / spent["free"], "times as long as unbounded")


def _ablated(setup: Setup) -> Iterator[Row]:
    """Heads, and in a mixture neurons of an expert, taken out and put back; what is left behind must be the weights as they were."""
    engine, count = _start(setup, editable=True), _middle(setup)
    answer = _answering(setup, engine, count)
    layers = range(0, setup.model["num_hidden_layers"], 2)
    edits: dict[str, Work] = {"heads": lambda: ablated_heads(engine.view, [(layer, 0) for layer in layers])}
    weights = [engine.view.heads_output(layer).weight for layer in layers]
    if "num_experts" in setup.model and setup.gpu:
        edits["neurons"] = lambda: ablated_neurons(engine.view, [(layer, 1, 0) for layer in layers])
        weights += [engine.view.down_projection(layer, 1) for layer in layers]
    kept = [each.detach().clone() for each in weights]
    for what, edit in edits.items():

        def without(edit: Work = edit) -> None:
            with edit():
                answer()

        spent = clock.medians({"whole": answer, "ablated": without}, setup.device)
        ratio = spent["ablated"] / spent["whole"]
        yield Row(f"{generation(count)}, {what} ablated", ratio, "times as long as whole", at_most=setup.target(1.05))
    changed = sum(not bool((now == before).all()) for now, before in zip(weights, kept, strict=True))
    yield Row("weights not as they were after ablations", changed, at_most=0)
    del weights, kept
    engine.close()


def _adapted(setup: Setup, beside: lora.Adapter) -> Iterator[Row]:
    """An adapter beside the weights, to our own speed without one."""
    engine, count = _start(setup, rank=beside.max_lora_rank), _middle(setup)
    answer = _answering(setup, engine, count)
    bare = clock.medians({"answer": answer}, setup.device)["answer"]
    engine.activate_adapter(beside, 1)
    spent = clock.medians({"answer": answer}, setup.device)["answer"]
    rate = count * setup.scale.reply
    yield Row(f"{generation(count)}, room for an adapter", rate / bare, "tokens/s")
    yield Row(f"{generation(count)}, with an adapter", rate / spent, "tokens/s")
    engine.close()
