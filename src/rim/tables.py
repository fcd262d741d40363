"""The data contracts: the columns of every Parquet table, checked on write and on read.

A value in `MAY_BE_NULL` may be missing; every other column must be filled.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from rim.errors import UserError
from rim.files import replacing

Contract = Mapping[str, type[pl.DataType]]

DATASET: Contract = {
    "id": pl.String,  # unique within the dataset
    "kind": pl.String,  # safety | benign | math | literal | instruction
    "prompt": pl.String,
    "cot": pl.String,  # reference chain of thought
    "answer": pl.String,  # reference answer
    "category": pl.String,
    "split": pl.String,  # calibration | evaluation
    "counterfactual": pl.String,  # the prompt with a malicious intent spelled out
    "placebo": pl.String,  # the prompt with a benign addition of equal length
}
RESPONSE: Contract = {
    "benchmark": pl.String,
    "id": pl.String,  # of the dataset row
    "think": pl.String,  # on | off
    "seed": pl.Int64,
    "ablation": pl.String,  # none, or what was ablated
    "prompt": pl.String,  # as rendered by the chat template
    "reasoning": pl.String,  # text inside the think tags; null when there was none
    "response": pl.String,  # text after them; null while thinking is unfinished
    "finish_reason": pl.String,  # stop | length
    "completion_tokens": pl.Int64,
    "complete": pl.Boolean,  # thinking finished and the reply ended by itself
}
JUDGEMENT: Contract = {
    "benchmark": pl.String,
    "id": pl.String,
    "think": pl.String,
    "seed": pl.Int64,
    "ablation": pl.String,  # as in the response
    "judge": pl.String,
    "rubric": pl.String,  # hash of what the judge goes by
    "score": pl.Int64,  # 1 (refuses) .. 5 (fully complies); null when there is an error
    "refusal": pl.Boolean,
    "misaligned": pl.Boolean,  # score >= threshold
    "reason": pl.String,
    "error": pl.String,  # why there is no score: "incomplete", or what was wrong with the judge's answer
    "cot_score": pl.Int64,  # of the reasoning alone; null when the judge does not read it
}
GRADE: Contract = {
    "benchmark": pl.String,
    "id": pl.String,
    "think": pl.String,
    "seed": pl.Int64,
    "ablation": pl.String,
    "extracted": pl.String,  # the answer as found in the response
    "correct": pl.Boolean,  # null when incomplete
    "error": pl.String,
}
OUTCOME: Contract = {
    "model": pl.String,
    "variant": pl.String,
    "seed": pl.Int64,
    "think": pl.String,
    "benchmark": pl.String,
    "id": pl.String,
    "outcome": pl.Boolean,  # misaligned, falsely refused or correct, as the benchmark measures; null when incomplete
}
ANNOTATION: Contract = {  # one row per finding; a text without findings has one row with no pattern
    "annotator": pl.String,
    "origin": pl.String,  # a model, or "training data"
    "benchmark": pl.String,  # or the dataset, for training data
    "think": pl.String,  # on | off | "" for training data
    "seed": pl.Int64,
    "id": pl.String,
    "source": pl.String,  # cot | response
    "sentence": pl.Int64,  # which sentence of the text the evidence begins in
    "start": pl.Int64,  # characters of the text
    "end": pl.Int64,
    "item": pl.String,  # of the checklist
    "pattern": pl.String,  # confirmatory | heuristic | deviation | other
    "severity": pl.Int64,  # 1 .. 3
    "evidence": pl.String,  # text[start:end]
    "error": pl.String,  # why this text, or this finding, is not annotated
}
REWRITE: Contract = {
    "id": pl.String,
    "arm": pl.String,  # control | target | literal
    "prompt": pl.String,
    "cot": pl.String,
    "answer": pl.String,
    "tokens": pl.Int64,  # words and marks of the chain of thought
    "length_ratio": pl.Float64,  # to the original
    "edit_distance": pl.Float64,  # share of words and marks changed
    "ngram_divergence": pl.Float64,  # share of trigrams not in common
    "attempts": pl.Int64,
    "accepted": pl.Boolean,
    "reason": pl.String,  # why it is not accepted; empty when it is
}
MAY_BE_NULL = {
    "sentence",
    "start",
    "end",
    "item",
    "pattern",
    "severity",
    "evidence",
    "length_ratio",
    "edit_distance",
    "ngram_divergence",
    "cot",
    "answer",
    "counterfactual",
    "placebo",
    "reasoning",
    "response",
    "score",
    "cot_score",
    "refusal",
    "misaligned",
    "error",
    "extracted",
    "correct",
    "outcome",
}


def check(table: pl.DataFrame, contract: Contract, where: Path) -> pl.DataFrame:
    """Return `table` if it keeps the contract.

    Raises:
        UserError: naming the file and the first column that does not.
    """
    advice = "delete the file and run the workflow again"
    if dict(table.schema) != dict(contract):
        wrong = (
            [name for name in contract if table.schema.get(name) != contract[name]]
            or sorted(set(table.columns) - set(contract))
            or table.columns
        )
        raise UserError(f"{where}: column '{wrong[0]}' is missing, misplaced or of the wrong type; {advice}")
    for name in contract:
        if name not in MAY_BE_NULL and table[name].null_count():
            raise UserError(f"{where}: column '{name}' has empty values; {advice}")
    return table


def write(table: pl.DataFrame, contract: Contract, path: Path) -> None:
    """Check and write a table, whole or not at all."""
    check(table, contract, path)
    with replacing(path) as temporary:
        table.write_parquet(temporary)


def read(path: Path, contract: Contract) -> pl.DataFrame:
    """Read and check a table."""
    try:
        table = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(
            f"{path}: is not a readable Parquet file ({str(error).splitlines()[0]}); delete it and run the workflow again"
        ) from None
    return check(table, contract, path)


_ESTIMATE: Contract = {
    "n": pl.Int64,  # complete replies
    "incomplete": pl.Int64,
    "estimate": pl.Float64,
    "ci_low": pl.Float64,  # 95 % interval; null where none is defined
    "ci_high": pl.Float64,
}
_TEST: Contract = {"p": pl.Float64, "p_holm": pl.Float64}
_CELL: Contract = {"measure": pl.String, "benchmark": pl.String, "seed": pl.String}  # seed "all" is the mean over seeds
RESULTS: dict[str, Contract] = {
    "rates": {
        "model": pl.String,
        "variant": pl.String,
        "think": pl.String,
        **_CELL,
        **_ESTIMATE,
        "bound_low": pl.Float64,
        "bound_high": pl.Float64,
    },
    "think_effects": {"model": pl.String, "variant": pl.String, **_CELL, **_ESTIMATE, **_TEST},
    "finetune_effects": {"model": pl.String, "variant": pl.String, "think": pl.String, **_CELL, **_ESTIMATE, **_TEST},
    "mitigation_effects": {  # after minus the arm without the mitigation
        "model": pl.String,
        "variant": pl.String,
        "plain": pl.String,
        "think": pl.String,
        **_CELL,
        **_ESTIMATE,
        **_TEST,
    },
    "pair_effects": {
        "positive": pl.String,
        "negative": pl.String,
        "contrast": pl.String,
        "think": pl.String,
        **_CELL,
        **_ESTIMATE,
        **_TEST,
    },
}
RESULT_KEYS = ("model", "variant", "plain", "positive", "negative", "contrast", "think", "measure", "benchmark", "seed")


def rounded(table: pl.DataFrame) -> pl.DataFrame:
    """Numbers rounded so that a CSV file reads well, and nan as null."""
    return table.with_columns(pl.selectors.float().round(6).fill_nan(None))


def results_table(name: str, rows: list[dict[str, Any]], contracts: Mapping[str, Contract] = RESULTS) -> pl.DataFrame:
    """One of the tables of results."""
    return rounded(pl.DataFrame(rows, schema=dict(contracts[name])))


def some(rows: pl.DataFrame, count: int | None) -> pl.DataFrame:
    """So many rows, the first by their ids, which are hashes: files often are in the order of their categories."""
    return rows.sort("id").head(count) if count else rows


def headline(table: pl.DataFrame) -> pl.DataFrame:
    """The rows to show first: those over all seeds where there are several seeds, else those of the only one.

    A hub model before fine-tuning has one seed in a study of several.
    """
    keys = [name for name in RESULT_KEYS if name in table.columns and name != "seed"]
    over_all = pl.col("seed") == "all"
    return table.filter(over_all | ~over_all.any().over(keys))


def is_clear(row: Mapping[str, Any]) -> bool:
    """Whether an effect is significant: its interval excludes none, and so does its corrected test where there is one."""
    if row["ci_low"] is None or row["ci_low"] <= 0 <= row["ci_high"]:
        return False
    corrected = row.get("p_holm")
    return corrected is None or bool(corrected < 0.05)


def write_results(table: pl.DataFrame, folder: Path, name: str) -> None:
    with replacing(folder / f"{name}.csv") as temporary:
        table.write_csv(temporary)


def read_results(folder: Path, contracts: Mapping[str, Contract] = RESULTS) -> dict[str, pl.DataFrame]:
    """All tables of results of one family in a folder, by name."""
    found = {}
    for name, schema in contracts.items():
        path = folder / f"{name}.csv"
        try:
            found[name] = pl.read_csv(path, schema=dict(schema))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise UserError(
                f"{path}: cannot be read ({str(error).splitlines()[0]}); delete it and run the workflow again"
            ) from None
    return found
