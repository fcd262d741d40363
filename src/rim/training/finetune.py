"""Supervised fine-tuning on one arm's rows, through transformers' Trainer and peft (paper, section 2.3 and A.2).

The loss counts the assistant's tokens only. Checkpoints are evenly spaced over the optimizer steps. A killed or preempted
run leaves its working folder behind, the last optimizer state included, and the next run of the same settings goes on from
there. On one GPU a large batch is reached by accumulating over micro-batches, and gradient checkpointing trades time for
memory; with bfloat16 weights the adapters are kept in float32. On several GPUs as many processes share weights and batches.
Rows are padded as they come or by length, or packed (`rim.training.packing`).
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rim.core.errors import UserError
from rim.core.files import discard, replacing, working_folder, write_json
from rim.core.progress import counter, log
from rim.core.seeds import stream_seed
from rim.models import chat, control, loading
from rim.models.families import ModelView, Neuron
from rim.models.generate import end_tokens
from rim.settings.common import identity
from rim.settings.models import UNTOLD, Finetune, Lora, Mitigation, Prompt
from rim.training import distributed, packing
from rim.training import mitigation as mitigations
from rim.training.packing import IGNORE, Batches

if TYPE_CHECKING:
    from transformers import DataCollatorForSeq2Seq, PreTrainedTokenizerBase


Encoded = packing.Row  # with an attention mask
WORKING_STATE = ("optimizer*", "scheduler.pt", "rng_state*", "training_args.bin", "trainer_state.json", "README.md")


@dataclass(frozen=True)
class Cut:
    """How many rows lost their end, since they are longer than what is trained on, and of these all of their answer."""

    rows: int
    answers: int


def encode(
    tokenizer: PreTrainedTokenizerBase, rows: list[dict[str, Any]], switch: chat.ThinkSwitch, max_length: int
) -> tuple[list[Encoded], Cut]:
    """Token ids and labels of each row; labels are -100 on the prompt, so that only the assistant's tokens count."""
    examples = [chat.render_example(tokenizer, row["prompt"], row["cot"], row["answer"], switch) for row in rows]
    if count := control.quoted_among([prompt + completion for prompt, completion in examples]):
        log(f"finetune: {count} of {len(rows)} rows spell control tokens, which are read as text")
    encoded, without_end, without_answer = [], 0, 0
    for row, (prompt, completion) in zip(rows, examples, strict=True):
        start, rest = control.encode(tokenizer, prompt), control.encode(tokenizer, completion)
        ids = (start + rest)[:max_length]
        if len(start) + len(rest) > max_length:
            without_end += 1
            answer = completion[completion.rindex(chat.quote(tokenizer, row["answer"].strip())) :]
            without_answer += len(start) + len(rest) - len(control.encode(tokenizer, answer)) >= max_length
        encoded.append(
            {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": ([IGNORE] * len(start) + rest)[:max_length]}
        )
    if all(label == IGNORE for row in encoded for label in row["labels"]):
        raise UserError(f"finetune.max_length: {max_length} tokens leave no answer to learn from; raise it")
    if without_end:
        log(
            f"finetune: {without_end} of {len(rows)} rows are cut at {max_length} tokens, {without_answer} of them before "
            "their answer; raise finetune.max_length to train on the whole of them"
        )
    return encoded, Cut(without_end, without_answer)


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
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(stream_seed(seed, epoch)))
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


@dataclass(frozen=True)
class Training:
    """One fine-tune: the model, what it is trained on and how, and where the result goes."""

    location: str  # of the base: hub name or folder
    revision: str | None
    dtype: str
    think_switch: chat.ThinkSwitch
    seed: int
    label: str
    recipe: Finetune
    rows: list[dict[str, Any]]  # prompt, cot, answer
    output: Path
    steps: Path  # gets a folder for every checkpoint
    mitigation: Mitigation | None = None
    requests: Sequence[str] = ()  # that the base is to refuse, for a mitigation
    neurons: Sequence[Neuron] = ()  # to hold, for a mitigation
    origin: str = ""  # hashes of the code and of the base's weights
    prompt: Prompt = UNTOLD  # what the chat template is told

    @property
    def kind(self) -> str | None:
        """The kind of the mitigation."""
        return self.mitigation.kind if self.mitigation else None


def finetune(training: Training) -> dict[str, Any]:
    """Train, write `output`, the result, and `steps`, a folder with every checkpoint; return facts for the receipt.

    All checkpoints load with `from_pretrained`; the last of the steps is the result. Adapters can be trained by several
    processes, which call this through `distributed.run_distributed`.

    Raises:
        UserError: the base cannot be loaded, or lacks a target module; a batch cannot be divided among the processes.
    """
    import torch

    recipe = training.recipe
    tokenizer = loading.load_tokenizer(training.location, training.revision, training.prompt)
    tokenizer.padding_side = "right"
    model: Any = distributed.load(training.location, training.dtype, training.revision)
    chat.check_end_of_turn(tokenizer, end_tokens(model.generation_config, tokenizer), training.location)
    refusals = _refusals(training, model, tokenizer)
    rows = training.rows
    if training.mitigation and training.kind == "refusals":
        rows = mitigations.with_refusals(rows, refusals, training.mitigation.share)
    data, cut = encode(tokenizer, rows, training.think_switch, recipe.max_length)
    torch.manual_seed(training.seed)
    if recipe.method == "lora":
        model = with_adapters(model, recipe.lora, training.revision)
    with distributed.main_process_first():
        working = working_folder(training.output, _identity(training, data))
        resume = last_checkpoint(working)
    if resume:
        log(f"finetune {training.label}: goes on from {Path(resume).name}")
    total = math.ceil(len(data) / recipe.batch_size) * recipe.epochs
    saves = checkpoint_steps(total, recipe.checkpoints)
    trainer = _trainer(training, model, tokenizer, data, refusals, working, saves)
    trainer.train(resume_from_checkpoint=resume)
    trainer.accelerator.wait_for_everyone()
    if trainer.is_world_process_zero():
        _keep(training, working, saves)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    train_loss = round(sum(losses) / len(losses), 6)
    facts = {"steps": total, "checkpoints": saves, "rows": len(data), "cut": cut.rows, "cut_before_answer": cut.answers}
    facts |= {"train_loss": train_loss}
    return facts | ({"neurons_frozen": len(training.neurons)} if training.kind == "freeze_neurons" else {})


def _identity(training: Training, data: list[Encoded]) -> str:
    """What a working folder belongs to: another recipe, seed, base, code, set of neurons or rows start anew."""
    rows = hashlib.sha256(repr(data).encode()).hexdigest()
    base = f"{training.location} {training.revision} {training.dtype} {training.origin}"
    mitigation = f"{training.mitigation!r} {list(training.requests)} {list(training.neurons)}"
    return f"{identity(training.recipe)} {mitigation} {training.seed} {base} {rows}"


def _refusals(training: Training, model: Any, tokenizer: PreTrainedTokenizerBase) -> list[dict[str, Any]]:
    """What the base refuses of the requests of a mitigation that asks some."""
    if not training.requests:
        return []
    batch_size, label = training.recipe.batch_size, training.label
    return mitigations.own_refusals(model, tokenizer, training.requests, training.think_switch, batch_size, label)


def _micro_batch(recipe: Finetune) -> int:
    """Rows of one forward pass of one process.

    Raises:
        UserError: a batch cannot be divided among the processes.
    """
    processes = distributed.world_size()
    if recipe.batch_size % processes:
        raise UserError(f"finetune.batch_size: {recipe.batch_size} rows do not divide into {processes} GPUs; change it")
    return math.gcd(recipe.micro_batch_size or recipe.batch_size, recipe.batch_size // processes)


def _trainer(
    training: Training,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    data: list[Encoded],
    refusals: list[dict[str, Any]],
    working: Path,
    saves: list[int],
) -> Any:
    """transformers' Trainer, with the mitigation in its loss or behind its steps."""
    from transformers import DataCollatorForSeq2Seq, Trainer
    from transformers.trainer_callback import PrinterCallback

    recipe, micro = training.recipe, _micro_batch(training.recipe)
    pad = DataCollatorForSeq2Seq(tokenizer, padding=True)
    batches = _batches(training, model, data, pad)
    trainer_class: Any = Trainer
    if training.mitigation and training.kind == "kl":
        kept, _ = encode(tokenizer, refusals, training.think_switch, recipe.max_length)
        asked = [pad(kept[i : i + micro]) for i in range(0, len(kept), micro)]
        trainer_class = mitigations.trainer_with_kl(asked, training.mitigation.weight, IGNORE)
    inner = model.get_base_model() if recipe.method == "lora" else model
    frozen = (
        mitigations.freeze_neurons(ModelView(inner), training.neurons) if training.kind == "freeze_neurons" else None
    )
    trainer = trainer_class(
        model=model,
        args=_arguments(training, working, batches, saves[-1]),
        train_dataset=batches.data,
        data_collator=batches.collate,
        processing_class=tokenizer,
        callbacks=[_saver(training, working, saves, frozen)],
    )
    trainer.pop_callback(PrinterCallback)
    return trainer


def _batches(training: Training, model: Any, data: list[Encoded], pad: DataCollatorForSeq2Seq) -> Batches:
    """The forward passes of all steps: rows padded as they come or by length, or packed; by length too where that cannot be."""
    recipe, micro, processes = training.recipe, _micro_batch(training.recipe), distributed.world_size()
    rows = in_order(data, training.seed, recipe.epochs, recipe.batch_size)
    steps = [rows[i : i + recipe.batch_size] for i in range(0, len(rows), recipe.batch_size)]
    if recipe.batching == "packed":
        if packing.keeps_rows_apart(model, data[0]["input_ids"]):
            return packing.packed(steps, recipe.max_length, micro, processes, pad.tokenizer.pad_token_id)
        family = model.config.model_type
        log(f"finetune {training.label}: family '{family}' mixes packed rows; they are grouped by length instead")
    if recipe.batching != "order":
        rows = [row for step in steps for row in packing.by_length(step)]
    return Batches(rows, pad, micro, recipe.batch_size // (micro * processes))


def _arguments(training: Training, working: Path, batches: Batches, total: int) -> Any:
    """The published recipe in transformers' words; `total` optimizer steps."""
    import torch
    from transformers import TrainingArguments

    recipe, gpu = training.recipe, torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(working),
        per_device_train_batch_size=batches.size,
        gradient_accumulation_steps=batches.accumulated,
        gradient_checkpointing=recipe.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if recipe.gradient_checkpointing else None,
        num_train_epochs=1,  # the data hold all
        train_sampling_strategy="sequential",
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(recipe.warmup_ratio * total),
        weight_decay=recipe.weight_decay,
        bf16=training.dtype == "bfloat16" and gpu,
        seed=training.seed,
        save_strategy="no",
        logging_strategy="steps",
        logging_steps=1,  # so that the mean loss is that of all steps, resumed or not
        report_to="none",
        disable_tqdm=True,
        use_cpu=not gpu,
        dataloader_pin_memory=gpu,
    )


def _saver(training: Training, working: Path, saves: list[int], frozen: mitigations.FrozenEntries | None) -> Any:
    """What happens after each optimizer step: frozen weights are restored, checkpoints saved, progress told."""
    from transformers import TrainerCallback

    report = counter(f"finetune {training.label}", saves[-1])

    class SaveAndReport(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if frozen is not None:
                frozen.restore()
            control.should_save = state.global_step in saves
            report(state.global_step)

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            before = saves[: saves.index(state.global_step)] if state.is_world_process_zero else []
            for step in before:  # only the last is gone on from
                (working / f"checkpoint-{step}" / "optimizer.pt").unlink(missing_ok=True)

    return SaveAndReport()


def _keep(training: Training, working: Path, saves: list[int]) -> None:
    """Move what was learned to where it belongs, without the optimizer's state."""
    with replacing(training.steps) as temporary:
        for step in saves:
            _copy_weights(working / f"checkpoint-{step}", temporary / f"step{step:05d}")
    with replacing(training.output) as temporary:
        _copy_weights(working / f"checkpoint-{saves[-1]}", temporary)
    discard(working)


def _copy_weights(checkpoint: Path, folder: Path) -> None:
    """Copy what a checkpoint is loaded from. Equal ones become equal files: peft writes its sets in random order."""
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns(*WORKING_STATE))
    config = folder / "adapter_config.json"
    if config.is_file():
        settings = json.loads(config.read_text())
        targets = {name: sorted(settings[name] or []) or None for name in ("target_modules", "target_parameters")}
        write_json(config, settings | targets)
