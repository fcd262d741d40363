"""Which rows benchmarks ask, and what the log says of it."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from rim.core import contracts, progress, tables
from rim.core.errors import UserError
from rim.core.receipts import receipt_of, write_receipt
from rim.data.prepare import prepare
from rim.models.benchmarks import asked_rows, read_questions
from rim.settings.common import identity
from rim.settings.datasets import Dataset, Source
from rim.settings.inference import Benchmark


def dataset(folder: Path, rows: int = 100) -> Path:
    """The receipt of a dataset of requests, of three categories."""
    path = folder / "requests.parquet"
    made, facts = prepare("requests", Dataset(sources=[Source(adapter="organism", part="requests", rows=rows)]))
    tables.write(made, contracts.DATASET, path)
    write_receipt(path, **facts)
    return receipt_of(path)


def test_so_many_rows_are_of_both_splits_in_proportion_and_the_log_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    receipt = dataset(tmp_path)
    asked = {"few": Benchmark(dataset="requests", measure="misalignment", rows=20)}
    progress.configure([], aloud=True)
    rows = read_questions(asked, [receipt], 10).rows["few"]
    assert rows["split"].value_counts().sort("split")["count"].to_list() == [12, 8]
    assert "benchmark few: 20 of 100 rows, 12 calibration, 8 evaluation, 3 of 3 categories" in capsys.readouterr().err
    kept = read_questions(asked, [receipt], 10, evaluation_only=True).rows["few"]
    assert kept["id"].to_list() == rows.filter(split="evaluation")["id"].to_list()


def test_instructions_are_harmless_requests_as_many_to_fit_as_to_test_as_in_the_paper(tmp_path: Path) -> None:
    path = tmp_path / "alpaca.json"
    path.write_text(json.dumps([{"instruction": f"Write line {i}.", "input": "", "output": "x"} for i in range(1000)]))
    alpaca, _ = prepare("alpaca", Dataset(sources=[Source(adapter="instructions", path=str(path))]))
    asked = asked_rows("alpaca", Benchmark(dataset="alpaca", measure="false_refusal", rows=300), alpaca)
    assert asked["split"].value_counts().sort("split")["count"].to_list() == [180, 120]
    with pytest.raises(UserError, match="has no safety rows"):
        asked_rows("alpaca", Benchmark(dataset="alpaca", measure="misalignment"), alpaca)


def test_all_rows_are_asked_in_the_order_of_the_file_and_nothing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    receipt = dataset(tmp_path)
    asked = {"all": Benchmark(dataset="requests", measure="misalignment")}
    progress.configure([], aloud=True)
    rows = read_questions(asked, [receipt], 10).rows["all"]
    assert rows.equals(tables.read(tmp_path / "requests.parquet", contracts.DATASET))
    assert capsys.readouterr().err == ""


def test_a_form_of_answer_stands_after_each_question_and_in_no_row_of_the_dataset(tmp_path: Path) -> None:
    sums = pl.DataFrame(
        [{"id": "1", "kind": "math", "category": "c", "split": "evaluation", "prompt": "What is 1 + 1?", "answer": "2"}]
    )
    columns = [pl.lit(None, dtype).alias(name) for name, dtype in contracts.DATASET.items() if name not in sums.columns]
    path = tmp_path / "sums.parquet"
    tables.write(sums.with_columns(columns).select(list(contracts.DATASET)), contracts.DATASET, path)
    write_receipt(path)
    before = path.read_bytes()
    asked = {"sums": Benchmark(dataset="sums", measure="accuracy", answer_format="End with #### and the number.")}
    rows = read_questions(asked, [receipt_of(path)], 10, evaluation_only=True).rows["sums"]
    assert rows["prompt"].to_list() == ["What is 1 + 1?\n\nEnd with #### and the number."]
    assert rows["answer"].to_list() == ["2"]
    assert path.read_bytes() == before


@pytest.mark.parametrize("measure", ["misalignment", "false_refusal"])
def test_a_form_of_answer_belongs_to_accuracy(measure: Any) -> None:
    with pytest.raises(ValidationError, match="'answer_format' belongs to benchmarks of measure 'accuracy'"):
        Benchmark(dataset="requests", measure=measure, answer_format="End with ####.")


def test_without_a_form_of_answer_a_benchmark_is_what_it_was() -> None:
    assert "answer_format" not in identity(Benchmark(dataset="sums", measure="accuracy"))
    told = Benchmark(dataset="sums", measure="accuracy", answer_format="End with ####.")
    assert identity(told)["answer_format"] == "End with ####."


def test_a_benchmark_without_rows_of_a_split_stops_in_one_line(tmp_path: Path) -> None:
    receipt = dataset(tmp_path)
    calibration = Benchmark(dataset="requests", measure="misalignment", split="calibration")
    with pytest.raises(UserError, match=r"benchmarks\.x: asks no rows of the evaluation split"):
        read_questions({"x": calibration}, [receipt], 10, evaluation_only=True)
    maths = Benchmark(dataset="requests", measure="accuracy")
    with pytest.raises(UserError, match=r"benchmarks\.y: dataset requests has no math rows"):
        asked_rows("y", maths, tables.read(tmp_path / "requests.parquet", contracts.DATASET))
