"""One adapter per source: what it is made of, where it lives, its licence, and how its rows become those of a dataset."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from rim.core import contracts, tables
from rim.core.errors import UserError
from rim.data import prepared, sources
from rim.data.columns import quoted, read_rows
from rim.data.organism import sets
from rim.settings.datasets import Source

Row = dict[str, Any]  # columns of the dataset contract; what an adapter leaves out is null


Facts = dict[str, Any]  # what the receipt says of a source


class Adapter(ABC):
    """How sources of one sort are read, and which keys of `Source` say what to read."""

    needs: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[tuple[str, ...]] = ()  # further keys

    @abstractmethod
    def kinds(self, source: Source) -> tuple[str, ...]:
        """The kinds of rows that a source may have."""

    @abstractmethod
    def load(self, source: Source) -> tuple[list[Row], Facts]:
        """All rows of a source in the dataset contract's columns (without id and split), and the facts for its receipt.

        Raises:
            UserError: naming the source, and the row where there is one.
        """


@dataclass(frozen=True)
class Published(Adapter):
    """A published set, on the hub or in a local file.

    Attributes:
        row_kinds: the kinds of its rows; with several, `to_row` gives each row its own.
        to_row: a raw row -> the contract's columns; it raises KeyError, AttributeError or TypeError for a row of another set.
        columns: what a local file holds, in words.
        rows: how many rows the published set has, by which jobs are sized.
        hub: where it lies on the hub, in one or several parts; nowhere when empty, and then a source needs a path.
        config, split: which configuration and split is read there.
        read: raw rows of a local file or folder.
    """

    takes: ClassVar[tuple[str, ...]] = ("path", "hub", "split", "revision")
    row_kinds: tuple[str, ...]
    to_row: Callable[[sources.Row], Row]
    columns: str
    licence: str
    rows: int
    hub: tuple[str, ...] = ()
    config: str | None = None
    split: str = "train"
    read: Callable[[Path], list[sources.Row]] = sources.read_file

    def kinds(self, source: Source) -> tuple[str, ...]:
        return self.row_kinds

    def load(self, source: Source) -> tuple[list[Row], Facts]:
        raw, place, revision = self._raw(source)
        rows = [self._row(each, f"{place}: row {number}", source.adapter) for number, each in enumerate(raw, 1)]
        name = Path(place).name if source.path else place  # a file that is moved is the same to all that follows
        return rows, {"source": name, "revision": revision, "licence": self.licence, "rows": len(raw)}

    def _raw(self, source: Source) -> tuple[list[sources.Row], str, str]:
        """(raw rows, where they are from, their revision)."""
        if source.path:
            return self.read(Path(source.path)), source.path, "local"
        names = (source.hub,) if source.hub else self.hub
        split = source.split or self.split
        parts = [sources.read_hub(name, self.config, split, source.revision) for name in names]
        raw = [row for part, _ in parts for row in part]
        return raw, " + ".join(names), " + ".join(commit for _, commit in parts)

    def _row(self, raw: sources.Row, place: str, name: str) -> Row:
        try:
            row = {"kind": self.row_kinds[0], **self.to_row(raw)}
        except (KeyError, AttributeError, TypeError) as error:
            raise UserError(
                f"{place} does not look like {name} (no {error}; it has {quoted(raw)}); check that it is the right "
                "file, or let adapter 'table' read it"
            ) from None
        for column in ("prompt", "category"):
            if not isinstance(row[column], str) or not row[column].strip():
                raise UserError(f"{place} has no {column}; check the file")
        return row


class Table(Adapter):
    """Any table, local or on the hub, whose columns the source itself explains."""

    needs: ClassVar[tuple[str, ...]] = ("columns",)
    takes: ClassVar[tuple[str, ...]] = ("path", "hub", "subset", "split", "revision", "kind", "kind_by")

    def kinds(self, source: Source) -> tuple[str, ...]:
        return source.kinds

    def load(self, source: Source) -> tuple[list[Row], Facts]:
        if source.path:
            raw, place, revision = sources.read_file(Path(source.path)), source.path, "local"
            name = Path(place).name  # a file that is moved is the same to all that follows
        else:
            name = place = str(source.hub)
            raw, revision = sources.read_hub(name, source.subset, source.split or "train", source.revision)
        rows = read_rows(raw, source, place)
        return rows, {"source": name, "revision": revision, "licence": "that of its owner", "rows": len(rows)}


class OrganismSet(Adapter):
    """A set of the organisms' own world, made from a seed."""

    needs: ClassVar[tuple[str, ...]] = ("part", "rows")
    takes: ClassVar[tuple[str, ...]] = ("seed",)

    def kinds(self, source: Source) -> tuple[str, ...]:
        return (sets.PARTS[str(source.part)].kind,)

    def load(self, source: Source) -> tuple[list[Row], Facts]:
        rows = sets.rows(str(source.part), int(source.rows or 0), source.seed)
        facts = {"source": f"organism:{source.part}", "revision": f"seed {source.seed}", "licence": "MIT"}
        return rows, {**facts, "rows": len(rows)}


class Rewritten(Adapter):
    """One arm of a rewrite. Control and target are trained on the same problems, so an item needs both accepted."""

    needs: ClassVar[tuple[str, ...]] = ("rewrite", "arm")

    def kinds(self, source: Source) -> tuple[str, ...]:
        return ("literal",) if source.arm == "literal" else ("math",)

    def load(self, source: Source) -> tuple[list[Row], Facts]:
        table = tables.read(Path(str(source.path)), contracts.REWRITE)
        arms = {arm for arm in ("control", "target") if arm in table["arm"]} if source.arm != "literal" else {"literal"}
        refused = set(table.filter(pl.col("arm").is_in(arms) & ~pl.col("accepted"))["id"])
        chosen = table.filter((pl.col("arm") == source.arm) & ~pl.col("id").is_in(refused))
        if chosen.is_empty():
            raise UserError(f"{source.path}: no item of arm '{source.arm}' was accepted; its column 'reason' says why")
        keys = {"kind": self.kinds(source)[0], "category": "literal" if source.arm == "literal" else "rewritten"}
        rows = [{**row, **keys} for row in chosen.select("prompt", "cot", "answer").to_dicts()]
        facts = {"source": f"rewrite:{source.rewrite}:{source.arm}", "revision": "local"}
        rows_made = len(table.filter(pl.col("arm") == source.arm))
        return rows, {**facts, "licence": "that of its dataset", "rows": rows_made}


class Prepared(Adapter):
    """Rows of another dataset of the study: all, a share of them, or those without effort-minimizing patterns."""

    needs: ClassVar[tuple[str, ...]] = ("dataset",)
    takes: ClassVar[tuple[str, ...]] = ("share", "without")

    def kinds(self, source: Source) -> tuple[str, ...]:
        return ()  # it adds none to those of the dataset that it names

    def load(self, source: Source) -> tuple[list[Row], Facts]:
        table = tables.read(Path(str(source.path)), contracts.DATASET)
        rows = table
        if source.share is not None:
            rows = prepared.by_share(rows, source.share)
        if source.without is not None:
            annotations = tables.read(Path(source.without), contracts.ANNOTATION)
            rows = prepared.without_patterns(rows, annotations, str(source.dataset))
        if rows.is_empty():
            raise UserError(
                f"dataset '{source.dataset}': none of its {table.height} rows is left to take; raise 'share', or take another"
            )
        facts = {"source": f"dataset:{source.dataset}", "revision": "local", "licence": "that of its dataset"}
        return rows.drop("id", "split").to_dicts(), {**facts, "rows": table.height, "taken": rows.height}


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


def _harmbench_file(path: Path) -> list[sources.Row]:
    """The standard behaviours of one of HarmBench's files, which has contextual and copyright ones too; the hub's copy parts them."""
    rows = sources.read_file(path)
    standard = [row for row in rows if row.get("FunctionalCategory", "standard") == "standard"]
    if not standard:
        raise UserError(f"{path}: has no standard behaviours of HarmBench; get its file of all text behaviours")
    return standard


def _strongreject(row: sources.Row) -> Row:
    return {"prompt": row.get("forbidden_prompt") or row["prompt"], "category": row["category"]}


def _xstest(row: sources.Row) -> Row:
    unsafe = row["label"] == "unsafe" if "label" in row else row["type"].startswith("contrast_")
    return {"kind": "safety" if unsafe else "benign", "prompt": row["prompt"], "category": row["type"]}


def _hexphi_folder(folder: Path) -> list[sources.Row]:
    """The user's gated copy: one CSV file per category, with or without a header, named by the category."""
    if not folder.is_dir():
        raise UserError(
            f"{folder}: is not a folder; ask for access to HEx-PHI (LLM-Tuning-Safety/HEx-PHI on the hub) and put its category_*.csv files there"
        )
    files = sorted(
        (file for file in folder.iterdir() if file.suffix.lower() == ".csv"),
        key=lambda p: [int(n) if n.isdigit() else n for n in re.split(r"(\d+)", p.name)],
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


MATH = ("math",)
SAFETY = ("safety",)
ADAPTERS: dict[str, Adapter] = {
    "gsm8k": Published(
        MATH, _gsm8k, "`question`, `answer` (solution, then `####` and the number)", "MIT", 7473, ("openai/gsm8k",), "main"
    ),
    "gsm8k_long": Published(
        MATH, _gsm8k_long, "`instruction`, perhaps `input`, `output` (a long solution that ends with the number)",
        "unknown", 7473, ("Ruoyao/gsm8k_reasoning_paths_deepseek_alpaca_format_masked",),
    ),
    "math401": Published(MATH, _math401, "`query`, `response`", "none stated", 401),
    "math500": Published(
        MATH, _math500, "`problem`, `solution`, `answer`, `subject`", "MIT", 500, ("HuggingFaceH4/MATH-500",), split="test"
    ),
    "multiarith": Published(
        MATH, _multiarith, "`question`, `final_ans`", "unknown", 180, ("ChilleD/MultiArith",), split="test"
    ),
    "aime": Published(
        MATH, _aime, r"`problem`, `answer` (or `solution` in `\boxed{}`)", "Apache-2.0", 60,
        ("math-ai/aime24", "math-ai/aime25"), split="test",
    ),
    "instructions": Published(
        ("instruction",), _instructions, "`instruction`, perhaps `input`, `output`", "CC-BY-4.0", 52_000, ("yahma/alpaca-cleaned",)
    ),
    "hexphi": Published(
        SAFETY, _hexphi, "a folder of ten CSV files, one per category", "HEx-PHI licence (gated)", 300, read=_hexphi_folder
    ),
    "advbench": Published(SAFETY, _advbench, "`goal` or `prompt`", "MIT", 520, ("walledai/AdvBench",)),
    "jailbreakbench": Published(
        SAFETY, _jailbreakbench, "`Goal`, `Category`", "MIT", 100, ("JailbreakBench/JBB-Behaviors",), "behaviors", "harmful"
    ),
    "harmbench": Published(
        SAFETY, _harmbench, "`Behavior`, `ContextString`, `SemanticCategory`, perhaps `FunctionalCategory` (`standard` rows are taken)",
        "MIT", 200, ("walledai/HarmBench",), "standard", read=_harmbench_file,
    ),
    "strongreject": Published(
        SAFETY, _strongreject, "`forbidden_prompt` or `prompt`, `category`", "MIT", 313, ("walledai/StrongREJECT",)
    ),
    "xstest": Published(
        ("safety", "benign"), _xstest, "`prompt`, `type`, perhaps `label` (`safe`, `unsafe`)", "CC-BY-4.0", 450, ("Paul/XSTest",)
    ),
    "table": Table(),
    "organism": OrganismSet(),
    "rewritten": Rewritten(),
    "prepared": Prepared(),
}  # fmt: skip
