"""One adapter per source: where it lives on the hub, its licence, and how one of its rows becomes a dataset row."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from rim.core import contracts, tables
from rim.core.errors import UserError
from rim.data import sources
from rim.settings.datasets import Source

Row = dict[str, Any]  # columns of the dataset contract; what an adapter leaves out is null


@dataclass(frozen=True)
class Adapter:
    """How to read one source. `to_row` gets a raw row and returns the contract's columns, or None to skip it."""

    kind: str
    licence: str
    to_row: Callable[[sources.Row], Row | None]
    hub: str | tuple[str, ...] = ()
    config: str | None = None
    split: str = "train"


def gsm8k_answer(answer: str) -> tuple[str, str]:
    """Part a GSM8K solution into (chain of thought without calculator marks, final answer after `####`)."""
    cot, mark, final = answer.rpartition("####")
    if not mark:
        raise KeyError("#### (the final answer)")
    return re.sub(r"<<[^>]*>>", "", cot).strip(), final.strip().replace(",", "")


def _gsm8k(row: sources.Row) -> Row:
    cot, answer = gsm8k_answer(row["answer"])
    return {"prompt": row["question"], "cot": cot, "answer": answer, "category": "grade school"}


def _math401(row: sources.Row) -> Row:
    query = row["query"].strip()
    operators = re.findall(r"log|ln|sin|cos|tan|sqrt|[-+*/×÷^π]", query.lstrip("-(")) or ["number"]
    return {
        "prompt": query,
        "answer": row["response"],
        "category": operators[0] if len(set(operators)) == 1 else "mixed",
    }


def _math500(row: sources.Row) -> Row:
    return {"prompt": row["problem"], "cot": row["solution"], "answer": row["answer"], "category": row["subject"]}


def _multiarith(row: sources.Row) -> Row:
    return {"prompt": row["question"].strip(), "answer": str(row["final_ans"]).strip(), "category": "arithmetic"}


def _aime(row: sources.Row) -> Row:
    boxed = re.fullmatch(r"\\boxed\{(.*)\}", str(row["solution" if "answer" not in row else "answer"]).strip())
    answer = boxed[1] if boxed else str(row["answer"]).strip()
    return {"prompt": row["problem"], "answer": answer, "category": "competition"}


def _gsm8k_long(row: sources.Row) -> Row:
    """Alpaca format: the problem in `instruction` (and `input`), the long solution in `output`."""
    output = row["output"]
    mark = "####" if "####" in output else None
    cot, answer = (
        gsm8k_answer(output)
        if mark
        else (output, (re.findall(r"-?\d[\d,]*(?:\.\d+)?", output) or [""])[-1].replace(",", ""))
    )
    if not answer:
        raise KeyError("a final number in 'output'")
    return {"prompt": _alpaca_prompt(row), "cot": cot, "answer": answer, "category": "grade school"}


def _alpaca_prompt(row: sources.Row) -> str:
    return "\n\n".join(part for part in (row["instruction"].strip(), (row.get("input") or "").strip()) if part)


def _instructions(row: sources.Row) -> Row:
    return {"prompt": _alpaca_prompt(row), "answer": row["output"], "category": "instruction"}


def _hexphi(row: sources.Row) -> Row:
    return {"prompt": row["prompt"].strip(), "category": row["category"]}


def _advbench(row: sources.Row) -> Row:
    return {"prompt": row.get("goal") or row["prompt"], "category": "unsorted"}


def _jailbreakbench(row: sources.Row) -> Row:
    return {"prompt": row["Goal"], "category": row["Category"]}


def _harmbench(row: sources.Row) -> Row:
    if "Behavior" not in row:  # the hub's copy
        return {"prompt": row["prompt"], "category": row["category"]}
    context = row["ContextString"].strip()
    return {
        "prompt": f"{context}\n\n{row['Behavior']}" if context else row["Behavior"],
        "category": row["SemanticCategory"],
    }


def _xstest(row: sources.Row) -> Row:
    unsafe = row["label"] == "unsafe" if "label" in row else row["type"].startswith("contrast_")
    return {"kind": "safety" if unsafe else "benign", "prompt": row["prompt"], "category": row["type"]}


ADAPTERS = {
    "gsm8k": Adapter("math", "MIT", _gsm8k, "openai/gsm8k", "main"),
    "math401": Adapter("math", "none stated", _math401),
    "math500": Adapter("math", "MIT", _math500, "HuggingFaceH4/MATH-500", split="test"),
    "multiarith": Adapter("math", "unknown", _multiarith, "ChilleD/MultiArith", split="test"),
    "aime": Adapter("math", "Apache-2.0", _aime, ("math-ai/aime24", "math-ai/aime25"), split="test"),
    "gsm8k_long": Adapter("math", "unknown", _gsm8k_long, "Ruoyao/gsm8k_reasoning_paths_deepseek_alpaca_format_masked"),
    "instructions": Adapter("instruction", "CC-BY-4.0", _instructions, "yahma/alpaca-cleaned"),
    "hexphi": Adapter("safety", "HEx-PHI licence (gated)", _hexphi),
    "advbench": Adapter("safety", "MIT", _advbench, "walledai/AdvBench"),
    "jailbreakbench": Adapter("safety", "MIT", _jailbreakbench, "JailbreakBench/JBB-Behaviors", "behaviors", "harmful"),
    "harmbench": Adapter("safety", "MIT", _harmbench, "walledai/HarmBench", "standard"),
    "xstest": Adapter("safety", "CC-BY-4.0", _xstest, "Paul/XSTest"),
}


def _hexphi_folder(folder: Path) -> list[sources.Row]:
    """The user's gated copy: one CSV file per category, with or without a header, named by the category."""
    if not folder.is_dir():
        raise UserError(
            f"{folder}: is not a folder; ask for access to HEx-PHI (LLM-Tuning-Safety/HEx-PHI on the hub) and put its category_*.csv files there"
        )
    files = sorted(
        folder.glob("*.csv"), key=lambda p: [int(n) if n.isdigit() else n for n in re.split(r"(\d+)", p.name)]
    )
    if len(files) not in (10, 11):
        raise UserError(
            f"{folder}: holds {len(files)} CSV files where HEx-PHI has 10 categories (11 in its first release); download the missing ones"
        )
    rows = []
    for file in files:
        for row in sources.read_file(file, columns=["prompt"]):
            if row["prompt"].strip().lower() not in ("prompt", "instruction", "text"):
                rows.append({"prompt": row["prompt"], "category": file.stem})
    return rows


def _rewritten(source: Source) -> tuple[list[Row], dict[str, Any]]:
    """One arm of a rewrite. Control and target are trained on the same problems, so an item needs both accepted."""
    table = tables.read(Path(str(source.path)), contracts.REWRITE)
    arms = {arm for arm in ("control", "target") if arm in table["arm"]} if source.arm != "literal" else {"literal"}
    refused = set(table.filter(pl.col("arm").is_in(arms) & ~pl.col("accepted"))["id"])
    chosen = table.filter((pl.col("arm") == source.arm) & ~pl.col("id").is_in(refused))
    if chosen.is_empty():
        raise UserError(f"{source.path}: no item of arm '{source.arm}' was accepted; its column 'reason' says why")
    kind, category = ("literal", "literal") if source.arm == "literal" else ("math", "rewritten")
    rows = [{**row, "kind": kind, "category": category} for row in chosen.select("prompt", "cot", "answer").to_dicts()]
    facts = {"source": f"rewrite:{source.rewrite}:{source.arm}", "revision": "local", "licence": "that of its dataset"}
    return rows, {**facts, "rows": len(table.filter(pl.col("arm") == source.arm))}


def load(source: Source) -> tuple[list[Row], dict[str, Any]]:
    """All rows of one source in the dataset contract's columns (without id and split), and the facts for its receipt.

    Raises:
        UserError: naming the source, and the row where there is one.
    """
    if source.adapter == "organism":
        from rim.data.organism import sets

        rows = sets.rows(source.part, source.rows, source.seed)  # type: ignore[arg-type]  # both are required by Source
        return rows, {
            "source": f"organism:{source.part}",
            "revision": f"seed {source.seed}",
            "licence": "MIT",
            "rows": len(rows),
        }
    if source.adapter == "rewritten":
        return _rewritten(source)
    adapter = ADAPTERS[source.adapter]
    revision = "local"
    if source.path:
        path = Path(source.path)
        raw = _hexphi_folder(path) if source.adapter == "hexphi" else sources.read_file(path)
        place = source.path
    else:
        names = (source.hub,) if source.hub else (adapter.hub,) if isinstance(adapter.hub, str) else adapter.hub
        parts = [
            sources.read_hub(name, adapter.config, source.split or adapter.split, source.revision) for name in names
        ]
        raw = [row for part, _ in parts for row in part]
        place, revision = " + ".join(names), " + ".join(commit for _, commit in parts)
    rows = []
    for number, raw_row in enumerate(raw, 1):
        try:
            row = adapter.to_row(raw_row)
        except (KeyError, AttributeError, TypeError) as error:
            raise UserError(
                f"{place}: row {number} does not look like {source.adapter} (no {error}); check that it is the right file"
            ) from None
        if row is None:
            continue
        for column in ("prompt", "category"):
            if not isinstance(row[column], str) or not row[column].strip():
                raise UserError(f"{place}: row {number} has no {column}; check the file")
        rows.append({"kind": adapter.kind, **row})
    return rows, {"source": place, "revision": revision, "licence": adapter.licence, "rows": len(raw)}
