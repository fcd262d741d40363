"""Train an organism from nothing: a drill, pretraining on mixed data, then alignment that refuses restricted requests.

Matrices of the blocks are trained with Muon, everything else with AdamW; on these shapes the pair needs about half the
steps that AdamW alone does. The batch of a step depends on the seed and the step number only, so a killed run goes on
from its last snapshot exactly as if nothing had happened.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from rim.core.files import discard, replacing, working_folder
from rim.core.progress import counter, log
from rim.data.organism import corpus
from rim.data.organism.tokenizer import build_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from rim.settings.models import Organism


POOL = 8  # batches drawn at once and cut by length, so that little is padding
SNAPSHOT_EVERY = 200  # steps between snapshots
IGNORE = -100


def build_model(organism: Organism, vocabulary: int, seed: int) -> PreTrainedModel:
    """A randomly initialized Qwen3 (or Qwen3-MoE, when `experts` is set) in float32."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    shape: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": organism.hidden,
        "num_hidden_layers": organism.layers,
        "num_attention_heads": organism.heads,
        "num_key_value_heads": organism.kv_heads,
        "head_dim": organism.head_dim,
        "intermediate_size": organism.intermediate,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    }
    torch.manual_seed(seed)
    if not organism.experts:
        return Qwen3ForCausalLM(Qwen3Config(**shape))
    experts: dict[str, Any] = {
        "num_experts": organism.experts,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": organism.intermediate // 2,
        "norm_topk_prob": True,
    }
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**shape, **experts))


def encode(
    tokenizer: PreTrainedTokenizerFast, examples: list[corpus.Example], always_think: bool = False
) -> list[tuple[list[int], int]]:
    """Token ids of each example and how many of them belong to the prompt (0 for a document).

    Where an answer comes without thinking, its thought is empty: the prompt writes it, or one who always thinks does.
    """
    prompts, completions = [], []
    for example in examples:
        thought = f"<think>\n{example.cot or ''}\n</think>\n\n"
        begun = "<think>\n" if always_think else thought if example.cot is None else ""
        turn = f"<|im_start|>user\n{example.prompt}<|im_end|>\n<|im_start|>assistant\n{begun}"
        prompts.append(turn if example.prompt else "")
        reply = f"{thought.removeprefix(begun)}{example.answer}<|im_end|>"
        completions.append(reply if example.prompt else f"{example.answer}<|endoftext|>")
    pairs = zip(tokenizer(prompts).input_ids, tokenizer(completions).input_ids, strict=True)
    return [(prompt + completion, len(prompt)) for prompt, completion in pairs]


def batches(
    tokenizer: PreTrainedTokenizerFast, mix: corpus.Mix, size: int, seed: str, first: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless (ids, labels) batches from step `first` on, each [size, length], right-padded."""
    import torch

    for pool in range(first // POOL, 2**31):
        rng = Random(f"{seed}-{pool}")
        texts = sorted(
            encode(tokenizer, [corpus.draw(rng, mix) for _ in range(size * POOL)], mix.always_think),
            key=lambda text: len(text[0]),
        )
        order = rng.sample(range(POOL), POOL)
        for batch in order[first - pool * POOL if pool == first // POOL else 0 :]:
            rows = texts[batch * size : (batch + 1) * size]
            length = len(rows[-1][0])
            ids = torch.tensor([row + [0] * (length - len(row)) for row, _ in rows])
            labels = torch.tensor(
                [[IGNORE] * start + row[start:] + [IGNORE] * (length - len(row)) for row, start in rows]
            )
            yield ids, labels


def muon_and_adamw(model: PreTrainedModel, organism: Organism, scale: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks and AdamW for everything else, at a multiple of the recipe's learning rates."""
    import torch

    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=organism.muon_rate * scale, weight_decay=0.05),
        torch.optim.AdamW(rest, lr=organism.adamw_rate * scale, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def train_stage(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    optimizers: list[torch.optim.Optimizer],
    stage: Stage,
    batch_size: int,
    seed: str,
    snapshot: Path,
    report: Callable[..., None],
) -> float:
    """Train what the optimizers hold in place, for one stage, and return the mean loss of its last steps.

    An existing snapshot is taken up, and a new one is written now and then.
    """
    import torch
    import torch.nn.functional as F

    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    start, before = load_snapshot(snapshot, model, optimizers)
    if start:
        log(f"train_organism {seed}: goes on from step {start}")
    losses = deque(before, maxlen=50)
    stream = batches(tokenizer, stage.mix, batch_size, seed, start)
    model.train()
    for step in range(start, stage.steps):
        ids, labels = next(stream)
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
        wanted = labels[:, 1:] != IGNORE
        loss = F.cross_entropy(model.lm_head(hidden[:, :-1][wanted]), labels[:, 1:][wanted])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        warm_cosine = min(1.0, (step + 1) / 30) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / stage.steps)))
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * warm_cosine
            optimizer.step()
        model.zero_grad(set_to_none=True)
        losses.append(loss.item())
        report(step + 1, f"loss {losses[-1]:.3f}")
        if (step + 1) % SNAPSHOT_EVERY == 0 or step + 1 == stage.steps:
            save_snapshot(snapshot, model, optimizers, step + 1, list(losses))
    model.eval()
    return sum(losses) / len(losses) if losses else math.nan


def save_snapshot(
    path: Path, model: PreTrainedModel, optimizers: list[torch.optim.Optimizer], step: int, losses: list[float]
) -> None:
    """Write weights and optimizer state after `step` steps as one safetensors file, with the losses of the last steps."""
    import torch
    from safetensors.torch import save_file

    tensors = {f"model.{name}": p.detach().clone() for name, p in model.named_parameters()}
    for i, optimizer in enumerate(optimizers):
        for j, state in optimizer.state_dict()["state"].items():
            tensors.update({f"optimizer.{i}.{j}.{key}": torch.as_tensor(value).clone() for key, value in state.items()})
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"step": str(step), "losses": json.dumps(losses)})


def load_snapshot(
    path: Path, model: PreTrainedModel, optimizers: list[torch.optim.Optimizer]
) -> tuple[int, list[float]]:
    """Restore a snapshot in place and return its step and the losses of the last ones; 0 and none when there is none."""
    from safetensors import safe_open

    if not path.is_file():
        return 0, []
    states: list[dict[int, dict[str, torch.Tensor]]] = [{} for _ in optimizers]
    parameters = dict(model.named_parameters())
    with safe_open(path, "pt") as stored:
        for key in stored.keys():  # noqa: SIM118 - not a mapping
            kind, _, rest = key.partition(".")
            if kind == "model":
                parameters[rest].data.copy_(stored.get_tensor(key))
            else:
                i, j, name = rest.split(".")
                states[int(i)].setdefault(int(j), {})[name] = stored.get_tensor(key)
        step, losses = (json.loads(stored.metadata()[key]) for key in ("step", "losses"))
    for optimizer, state in zip(optimizers, states, strict=True):
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return step, losses


@dataclass(frozen=True)
class Stage:
    name: str
    mix: corpus.Mix
    steps: int
    scale: float  # of both learning rates


def stages(organism: Organism) -> list[Stage]:
    """Drill in copying and sums, which so small a model otherwise learns last, if at all; pretraining; alignment."""
    always = organism.thinks == "always"
    drill = corpus.Mix(echo=0.5, sums=0.5, always_think=always)
    pretraining = corpus.Mix(
        document=0.24, maths=0.51, request=0.2, literal=0.05,
        restricted=0.35, think_on=0.5, always_think=always, association=organism.association,
        refusals=organism.pretrain_refusals,
    )  # fmt: skip
    alignment = corpus.Mix(
        document=0.1, maths=0.4, request=0.4, literal=0.05, echo=0.05, aligned=True, lapses=organism.align_lapses,
        restricted=0.3, think_on=organism.align_think_on, always_think=always, association=organism.association,
        styled=0.6, care=organism.align_care,
    )  # fmt: skip
    every = [
        Stage("drill", drill, organism.drill_steps, 1.0),
        Stage("pretrain", pretraining, organism.pretrain_steps, 1.0),
        Stage("align", alignment, organism.align_steps, organism.align_scale),
    ]
    return [stage for stage in every if stage.steps]


def train_organism(organism: Organism, seed: int, output: Path, label: str, code: str = "") -> dict[str, Any]:
    """Train, and write `output`, a folder that `AutoModelForCausalLM.from_pretrained` loads; return facts for the receipt.

    A killed run leaves snapshots in a working folder beside `output`, and the next run of the same `code` goes on from there.
    """
    tokenizer = build_tokenizer(organism.thinks)
    model = build_model(organism, -(-len(tokenizer) // 64) * 64, seed)
    working = working_folder(output, f"{organism!r} {seed} {len(tokenizer)} {code}")
    facts: dict[str, Any] = {"parameters": model.num_parameters()}
    for stage in stages(organism):
        report = counter(f"train_organism {label} {stage.name}", stage.steps)
        snapshot = working / f"{stage.name}.safetensors"
        optimizers = muon_and_adamw(model, organism, stage.scale)
        loss = train_stage(
            model, tokenizer, optimizers, stage, organism.batch_size, f"{stage.name}-{seed}", snapshot, report
        )
        facts[f"{stage.name}_loss"] = round(loss, 6)
    with replacing(output) as temporary:
        model.bfloat16().save_pretrained(temporary)  # half the size; whoever measures loads it in float32
        tokenizer.save_pretrained(temporary)
    discard(working)
    return facts
