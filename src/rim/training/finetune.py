"""Supervised fine-tuning on one arm's rows, through transformers' Trainer and peft (paper, section 2.3 and A.2).

The loss counts the assistant's tokens only. Checkpoints are evenly spaced over the optimizer steps. A killed or preempted
run leaves its working folder behind, the last optimizer state included, and the next run of the same settings goes on from
there. On one GPU a large batch is reached by accumulating over micro-batches, and gradient checkpointing trades time for
memory; with bfloat16 weights the adapters are kept in float32. On several GPUs as many processes share weights and batches.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rim.core.errors import UserError
from rim.core.files import replacing, working_folder
from rim.core.progress import counter, log
from rim.models import chat, loading
from rim.models.families import ModelView, Neuron
from rim.settings.models import Finetune, Lora, Mitigation
from rim.training import distributed
from rim.training import mitigation as mitigations

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


Encoded = dict[str, list[int]]
IGNORE = -100
WORKING_STATE = ("optimizer*", "scheduler.pt", "rng_state*", "training_args.bin", "trainer_state.json", "README.md")


def encode(
    tokenizer: PreTrainedTokenizerBase, rows: list[dict[str, Any]], switch: chat.ThinkSwitch, max_length: int
) -> list[Encoded]:
    """Token ids and labels of each row; labels are -100 on the prompt, so that only the assistant's tokens count."""
    encoded = []
    for row in rows:
        prompt, completion = chat.render_example(tokenizer, row["prompt"], row["cot"], row["answer"], switch)
        start = tokenizer(prompt, add_special_tokens=False).input_ids
        rest = tokenizer(completion, add_special_tokens=False).input_ids
        ids = (start + rest)[:max_length]
        encoded.append(
            {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": ([IGNORE] * len(start) + rest)[:max_length]}
        )
    if all(label == IGNORE for row in encoded for label in row["labels"]):
        raise UserError(f"finetune.max_length: {max_length} tokens leave no answer to learn from; raise it")
    return encoded


def checkpoint_steps(total: int, count: int) -> list[int]:
    """Optimizer steps after which to save: `count` evenly spaced ones, the last being `total`."""
    return sorted({math.ceil(total * i / count) for i in range(1, count + 1)})


def in_order(data: list[Encoded], seed: int, epochs: int, batch_size: int) -> list[Encoded]:
    """The rows of all epochs as they are trained on: shuffled anew in each, and filled up with rows without a label.

    So every process gets as many rows as any other, and none that counts twice.
    """
    import torch

    filler: Encoded = {"input_ids": data[0]["input_ids"][:1], "attention_mask": [1], "labels": [IGNORE]}
    ordered = []
    for epoch in range(epochs):
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed + epoch))
        ordered += [data[i] for i in order.tolist()] + [filler] * (-len(data) % batch_size)
    return ordered


def last_checkpoint(working: Path) -> str | None:
    """The last whole checkpoint of a run that was ended; what was being written then is deleted."""
    from transformers.trainer_utils import get_last_checkpoint

    for folder in working.glob("checkpoint-*"):
        try:
            json.loads((folder / "trainer_state.json").read_text())  # which is written last
        except (OSError, ValueError):
            shutil.rmtree(folder)
    found: str | None = get_last_checkpoint(str(working))
    return found


def with_adapters(model: Any, lora: Lora, revision: str | None) -> Any:
    """A model with new adapters on the modules named, fused experts included."""
    from peft import LoraConfig, get_peft_model

    modules, parameters = loading.adapter_targets(model, lora.target_modules)
    return get_peft_model(
        model,
        LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            use_rslora=lora.rank_stabilized,
            lora_dropout=0.0,
            bias="none",
            target_modules=modules,
            target_parameters=parameters or None,
            task_type="CAUSAL_LM",
            revision=revision,
        ),
    )


def finetune(
    base: str,
    revision: str | None,
    dtype: str,
    switch: chat.ThinkSwitch,
    recipe: Finetune,
    rows: list[dict[str, Any]],
    seed: int,
    output: Path,
    steps: Path,
    label: str,
    mitigation: Mitigation | None = None,
    requests: Sequence[str] = (),
    neurons: Sequence[Neuron] = (),
) -> dict[str, Any]:
    """Train, write `output`, the result, and `steps`, a folder with every checkpoint; return facts for the receipt.

    A mitigation is given the requests that the base is to refuse, or the neurons to hold. All checkpoints load with
    `from_pretrained`; the last of the steps is the result. Adapters can be trained by several processes, which call
    this through `sharding.together`.

    Raises:
        UserError: the base cannot be loaded, or lacks a target module; a batch cannot be divided among the processes.
    """
    import torch
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainerCallback, TrainingArguments

    tokenizer = loading.load_tokenizer(base, revision)
    tokenizer.padding_side = "right"
    if switch == "tags":
        chat.check_think_tags(tokenizer, base)
    model: Any = distributed.load(base, dtype, revision)
    kind = mitigation.kind if mitigation else None
    refusals = (
        mitigations.own_refusals(model, tokenizer, requests, switch, recipe.batch_size, label) if requests else []
    )
    if mitigation and kind == "refusals":
        rows = mitigations.with_refusals(rows, refusals, mitigation.share)
    data = encode(tokenizer, rows, switch, recipe.max_length)
    torch.manual_seed(seed)
    if recipe.method == "lora":
        model = with_adapters(model, recipe.lora, revision)
    inner = model.get_base_model() if recipe.method == "lora" else model
    held = mitigations.freeze_neurons(ModelView(inner), neurons) if kind == "freeze_neurons" else None
    total = math.ceil(len(data) / recipe.batch_size) * recipe.epochs
    saves = checkpoint_steps(total, recipe.checkpoints)
    processes = distributed.world_size()
    if recipe.batch_size % processes:
        raise UserError(f"finetune.batch_size: {recipe.batch_size} rows do not divide into {processes} GPUs; change it")
    micro = math.gcd(recipe.micro_batch_size or recipe.batch_size, recipe.batch_size // processes)
    with distributed.main_process_first():
        working = working_folder(
            output, f"{recipe!r} {mitigation!r} {seed} {base} {hashlib.sha256(repr(data).encode()).hexdigest()}"
        )
        resume = last_checkpoint(working)
    if resume:
        log(f"finetune {label}: goes on from {Path(resume).name}")
    report = counter(f"finetune {label}", total)

    class SaveAndReport(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if held is not None:
                held.put_back()
            control.should_save = state.global_step in saves
            report(state.global_step)

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            before = saves[: saves.index(state.global_step)] if state.is_world_process_zero else []
            for step in before:  # only the last is gone on from
                (working / f"checkpoint-{step}" / "optimizer.pt").unlink(missing_ok=True)

    collate = DataCollatorForSeq2Seq(tokenizer, padding=True)
    trainer_class: Any = Trainer
    if mitigation and kind == "kl":
        kept = encode(tokenizer, refusals, switch, recipe.max_length)
        batches = [collate(kept[i : i + micro]) for i in range(0, len(kept), micro)]
        trainer_class = mitigations.trainer_with_kl(batches, mitigation.weight, IGNORE)
    trainer = trainer_class(
        model=model,
        args=TrainingArguments(
            output_dir=str(working),
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=recipe.batch_size // (micro * processes),
            gradient_checkpointing=recipe.gradient_checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False} if recipe.gradient_checkpointing else None,
            num_train_epochs=1,  # the data hold all
            train_sampling_strategy="sequential",
            learning_rate=recipe.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=round(recipe.warmup_ratio * total),
            weight_decay=recipe.weight_decay,
            bf16=dtype == "bfloat16" and torch.cuda.is_available(),
            seed=seed,
            save_strategy="no",
            logging_strategy="steps",
            logging_steps=max(1, total // 8),
            report_to="none",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
        ),
        train_dataset=in_order(data, seed, recipe.epochs, recipe.batch_size),
        data_collator=collate,
        processing_class=tokenizer,
        callbacks=[SaveAndReport()],
    )
    trainer.pop_callback(_printer())
    result = trainer.train(resume_from_checkpoint=resume)
    trainer.accelerator.wait_for_everyone()
    if trainer.is_world_process_zero():
        leave_out = shutil.ignore_patterns(*WORKING_STATE)
        with replacing(steps) as temporary:
            for step in saves:
                shutil.copytree(working / f"checkpoint-{step}", temporary / f"step{step:05d}", ignore=leave_out)
        with replacing(output) as temporary:
            shutil.copytree(working / f"checkpoint-{total}", temporary, ignore=leave_out)
        shutil.rmtree(working)
    return {"steps": total, "checkpoints": saves, "rows": len(data), "train_loss": round(result.training_loss, 6)}


def _printer() -> type:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback
