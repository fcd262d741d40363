"""A study of one model to start from: short, commented, and complete, as `rim new` writes it and `rim audit` runs it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from rim.config.load import load_study
from rim.core.errors import UserError
from rim.data.guess import Guess, guess_source
from rim.models import chat, loading
from rim.models.families import FAMILIES, UNREADABLE
from rim.settings.datasets import Kind

OPEN_SETS = {"harmful": "jailbreakbench", "harmless": "xstest", "maths": "gsm8k"}  # on the hub, for everybody
MEASURES: dict[str, tuple[Kind, str, str]] = {
    "harmful": ("safety", "misalignment", "requests that should be refused"),
    "harmless": ("benign", "false_refusal", "requests that should be answered"),
    "maths": ("math", "accuracy", "problems with answers"),
}
MAX_NEW_TOKENS = 2048
SWITCHED = re.compile(r"qwen3(\.\d)?-[\d.]+b(-a[\d.]+b)?$", re.I)  # released with a template that switches thinking


@dataclass(frozen=True)
class Wanted:
    """What a study is to be about.

    Attributes:
        study: name of the study.
        model: hub name or local folder.
        data: harmful, harmless, maths -> a set or a file, where one is given.
        finetune: a set or a file of maths solutions to fine-tune on.
        deep: whether activations, heads and neurons are analysed too.
    """

    study: str
    model: str
    data: dict[str, str]
    finetune: str | None = None
    deep: bool = False


def draft(wanted: Wanted) -> tuple[str, list[str]]:
    """The study's YAML, which is valid, and what of the files it leaves out, in a line each.

    Raises:
        UserError: the model or a file is not there or cannot be used, or something is missing for what is wanted.
    """
    asked = wanted.data or OPEN_SETS
    _check(wanted, asked)
    name = plain_name(wanted.model)
    guesses = _guesses(wanted, asked)
    facts, inference, remark = model_facts(wanted.model)
    if find_spec("vllm"):  # many times as fast; `rim check` says where it cannot serve a model
        inference = {"backend": "vllm", **inference}
    if wanted.deep and Path(wanted.model).is_dir():
        _check_family(Path(wanted.model))
    lines = [
        f"# A study of {wanted.model}. Every key is explained in workflow/config/README.md; `rim check FILE` checks this file.",
        f"study: {wanted.study} # its artifacts lie under data/{wanted.study} and results/{wanted.study}",
        f"title: {json.dumps(f'{Path(wanted.model).name}, with and without thinking', ensure_ascii=False)}",
        "models:",
        f"  {name}: {_flow({'hub': wanted.model, **facts})}",
        "datasets:",
        *(f"  {each}: {_flow({'sources': [guess.source]})}" for each, guess in guesses.items()),
        "benchmarks:",
        *(f"  {each}: {_benchmark(each, given)} # {MEASURES[each][2]}" for each, given in asked.items()),
        f"inference: {_flow(inference)} # {remark}; a reply that is longer is cut, and not judged",
        "judges: # works everywhere; for a language model as the judge see workflow/docs/judges.md",
        "  classifier: {kind: refusal_classifier}",
        *_analyses(wanted, asked),
    ]
    text = "\n".join(lines) + "\n"
    load_study(yaml.safe_load(text))
    return text, list(dict.fromkeys(remark for guess in guesses.values() for remark in guess.remarks))


def _check(wanted: Wanted, asked: dict[str, str]) -> None:
    missing = [f"--{each}" for each in OPEN_SETS if each not in asked]
    if wanted.deep and missing:
        raise UserError(f"--deep: compares harmful and harmless requests and maths; give {' and '.join(missing)} too")
    if wanted.finetune and wanted.finetune == wanted.data.get("maths") and wanted.finetune not in OPEN_SETS.values():
        raise UserError(
            f"--finetune {wanted.finetune}: --maths asks the same file, and would test what was trained on; give another"
        )


def _check_family(folder: Path) -> None:
    family = json.loads((folder / "config.json").read_text()).get("model_type")
    if family not in FAMILIES:
        why = UNREADABLE.get(family, "no adapter says where its parts lie (CONTRIBUTING.md, 'A model family')")
        raise UserError(f"--deep: family '{family}' of {folder} cannot be analysed: {why}; leave --deep out")


def _analyses(wanted: Wanted, asked: dict[str, str]) -> list[str]:
    """The sections of what is analysed beside the replies."""
    lines = []
    if wanted.finetune:
        lines += ["variants:", "  maths: {dataset: training, label: fine-tuned on maths}"]
        own = {"micro_batch_size": 4, "batching": "length", "gradient_checkpointing": True}
        lines += [f"finetune: {_flow(own)} # the rest is the published recipe"]
    if "harmful" in asked:
        lines += ["injection: {rows: 50} # effort-minimizing statements, put into the model's thought"]
    if wanted.deep:
        followed = ", variants: [maths]" if wanted.finetune else ""
        lines += ["mechanism: {harmful: harmful, harmless: harmless}"]
        lines += [f"forgetting: {{harmful: harmful, task: maths{followed}}}"]
    return lines


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    return str(yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=1e9)).strip()


def _guesses(wanted: Wanted, asked: dict[str, str]) -> dict[str, Guess]:
    """The source of each dataset."""
    guesses = {each: guess_source(given, MEASURES[each][0], f"--{each}") for each, given in asked.items()}
    if "maths" in guesses and guesses["maths"].source == {"adapter": "gsm8k"}:
        guesses["maths"].source["split"] = "test"  # the other one is for training
    if wanted.finetune:
        guesses["training"] = guess_source(wanted.finetune, "math", "--finetune")
    return guesses


def _benchmark(name: str, given: str) -> str:
    rows = {"rows": 200} if given == OPEN_SETS["maths"] else {}
    return _flow({"dataset": name, "measure": MEASURES[name][1], **rows})


def plain_name(text: str) -> str:
    """A name for a study or for a model in it: Qwen/Qwen3-0.6B -> qwen3_0_6b."""
    name = re.sub(r"\W+", "_", Path(text).name.lower(), flags=re.A).strip("_")[:50]
    usable = re.match("[a-z]", name) and name != "raw" and yaml.safe_load(name) == name
    return name if usable else f"model_{name}".rstrip("_")


def model_facts(model: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    """What a study says of a model beside its name, how it is asked, and a remark on that.

    Raises:
        UserError: a local folder is not there, or its model is no chat model.
    """
    if Path(model).is_dir():
        return _local_facts(Path(model))
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model, re.A) or model.startswith("."):
        raise UserError(
            f"{model}: there is no such folder, and a name on the hub looks like Qwen/Qwen3-0.6B; correct it"
        )
    size, active = (re.search(rf"(?:^|[-_]){mark}(\d+(?:\.\d+)?)b(?:$|[-_])", model, re.I) for mark in ("", "a"))
    facts: dict[str, Any] = {"parameters": float(size[1])} if size else {}
    facts |= {"active": float(active[1])} if active and size else {}
    modes = ["on", "off"] if SWITCHED.search(model) else ["plain"]
    remark = f"`rim check-model {model}` says which think modes there are"
    return {**facts, "dtype": "bfloat16"}, {"think": modes, "max_new_tokens": MAX_NEW_TOKENS}, remark


def _local_facts(folder: Path) -> tuple[dict[str, Any], dict[str, Any], str]:
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        raise UserError(
            f"{folder}: has no readable config.json; give the folder of a Hugging Face model, with its tokenizer"
        ) from None
    tokenizer = loading.load_tokenizer(str(folder))
    if tokenizer.chat_template is None:
        raise UserError(f"{folder}: its tokenizer has no chat template; give an instruction-tuned model")
    found = chat.format_of(tokenizer)
    modes = found.different_modes()
    modes = modes if "off" in modes else ["plain"]  # which is what a model that always thinks is asked with, too
    remark = f"thinking is switched by {found.switch}" if found.switch else "its template does not switch thinking"
    dtype = config.get("dtype") or config.get("torch_dtype")
    positions = config.get("max_position_embeddings") or 2 * MAX_NEW_TOKENS
    facts = {"dtype": "bfloat16" if dtype in ("bfloat16", "float16") else "float32"}
    return facts, {"think": modes, "max_new_tokens": min(MAX_NEW_TOKENS, positions // 2)}, remark
