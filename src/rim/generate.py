"""Generate replies. One loaded model answers every benchmark in every think mode; nothing is judged here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from rim import chat, tables
from rim.errors import UserError
from rim.progress import counter
from rim.settings.common import Think
from rim.settings.inference import Benchmark, Inference

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


ASKED = {"misalignment": "safety", "false_refusal": "benign", "accuracy": "math"}  # measure -> kind of rows


def asked_rows(name: str, benchmark: Benchmark, dataset: pl.DataFrame) -> pl.DataFrame:
    """The rows of its dataset that a benchmark asks.

    Raises:
        UserError: there are none.
    """
    rows = dataset.filter(pl.col("kind") == ASKED[benchmark.measure])
    if benchmark.split != "all":
        rows = rows.filter(pl.col("split") == benchmark.split)
    if rows.is_empty():
        raise UserError(
            f"benchmarks.{name}: dataset {benchmark.dataset} has no {ASKED[benchmark.measure]} rows in split '{benchmark.split}'; choose another dataset, split or measure"
        )
    return rows.head(benchmark.rows) if benchmark.rows else rows


@dataclass(frozen=True)
class Reply:
    """What a backend gives back for one prompt: the text without its end token, and whether it ended by itself."""

    text: str
    tokens: int
    stopped: bool


class Backend(Protocol):
    """An engine that continues rendered prompts, in the order given."""

    def generate(
        self, prompts: list[str], max_new_tokens: int, temperature: float, seed: int, label: str
    ) -> list[Reply]: ...


class TransformersBackend:
    """Hugging Face `generate`, left-padded, in batches of similar length."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int) -> None:
        self.model: Any = model
        self.tokenizer: Any = tokenizer
        self.batch_size = batch_size

    def generate(
        self, prompts: list[str], max_new_tokens: int, temperature: float, seed: int, label: str
    ) -> list[Reply]:
        import torch
        from transformers import GenerationConfig

        ids = self.tokenizer(prompts, add_special_tokens=False).input_ids
        order = sorted(range(len(ids)), key=lambda i: (len(ids[i]), i))
        ends = _end_tokens(self.model, self.tokenizer)
        sampling = (
            {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
            if temperature
            else {"do_sample": False}
        )
        config = GenerationConfig(
            max_new_tokens=max_new_tokens,
            pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=sorted(ends),
            **sampling,
        )
        replies: dict[int, Reply] = {}
        report = counter(label, len(prompts))
        torch.manual_seed(seed)
        with torch.inference_mode():
            for first in range(0, len(order), self.batch_size):
                chosen = order[first : first + self.batch_size]
                batch = self.tokenizer.pad(
                    {"input_ids": [ids[i] for i in chosen]}, padding=True, padding_side="left", return_tensors="pt"
                ).to(self.model.device)
                output = self.model.generate(**batch, generation_config=config)[:, batch["input_ids"].shape[1] :]
                for i, row in zip(chosen, output.tolist(), strict=True):
                    length = next((n for n, token in enumerate(row) if token in ends), None)
                    kept = row if length is None else row[:length]
                    replies[i] = Reply(
                        self.tokenizer.decode(kept, skip_special_tokens=False), len(kept), length is not None
                    )
                report(len(replies))
        return [replies[i] for i in range(len(prompts))]


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Every token that ends a reply: the model's own list and the tokenizer's."""
    listed = model.generation_config.eos_token_id
    return {tokenizer.eos_token_id, *(listed if isinstance(listed, list) else [listed] if listed is not None else [])}


def answer(
    backend: Backend,
    tokenizer: PreTrainedTokenizerBase,
    switch: chat.ThinkSwitch,
    benchmarks: dict[str, pl.DataFrame],
    inference: Inference,
    limits: dict[str, int],
    seed: int,
    label: str,
    ablation: str = "none",
) -> pl.DataFrame:
    """Answer every benchmark (name -> dataset rows) in every think mode; returns the response contract.

    A reply whose thinking does not end within the bound has no response and is not complete.
    """
    rows: list[dict[str, Any]] = []
    for think in inference.think:
        for benchmark, dataset in benchmarks.items():
            prompts = [chat.render_prompt(tokenizer, prompt, think, switch) for prompt in dataset["prompt"]]
            replies = backend.generate(
                prompts, limits[benchmark], inference.temperature, seed, f"{label} {benchmark} think {think}"
            )
            for id_, prompt, reply in zip(dataset["id"], prompts, replies, strict=True):
                keys = {"benchmark": benchmark, "id": id_, "think": think, "seed": seed, "ablation": ablation}
                rows.append({**keys, "prompt": prompt, **parted(reply, reply.text, think, switch)})
    return pl.DataFrame(rows, schema=dict(tables.RESPONSE))


def parted(reply: Reply, text: str, think: Think, switch: chat.ThinkSwitch) -> dict[str, Any]:
    """The columns of the response contract that come from a reply, `text` being all that is read as the model's own."""
    reasoning, response = chat.split_reply(text, think, switch)
    return {
        "reasoning": reasoning,
        "response": response,
        "finish_reason": "stop" if reply.stopped else "length",
        "completion_tokens": reply.tokens,
        "complete": reply.stopped and response is not None,
    }
