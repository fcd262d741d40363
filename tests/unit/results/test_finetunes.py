"""The fine-tunes of a study, and what the report says of rows that lost their end."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from rim.config.load import load_study_file
from rim.core.receipts import receipt_of
from rim.report.provenance import run_section
from rim.report.replies import finetune_section
from rim.results import finetunes
from rim.results.tables import read_results
from rim.steps import summarize_finetunes
from tests import synthetic
from tests.unit.steps.test_finetune_model import RECIPE, job_in, rows_to_train_on

pytestmark = pytest.mark.xdist_group("organism")


def test_the_table_has_what_was_trained_on(tiny_model: Path, tmp_path: Path) -> None:
    from rim.steps import finetune_model

    rows_to_train_on(tiny_model, tmp_path)
    limits = {"gsm8k": 1024, "short": 40}
    receipts = []
    for name, max_length in limits.items():
        recipe = RECIPE.model_copy(update={"max_length": max_length, "epochs": 1})
        job = job_in(tmp_path, tmp_path / name, "code").model_copy(update={"recipe": recipe})
        finetune_model.run(job)
        receipts.append(receipt_of(job.folder))
    runs = [("m", name, 0) for name in limits]
    summarize_finetunes.run(
        summarize_finetunes.Job(inputs=receipts, outputs=[], runs=runs, receipts=receipts, folder=tmp_path / "tables")
    )
    found = read_results(finetunes.TABLES, tmp_path / "tables")["finetunes"]
    assert found.select("variant", "max_length", "rows", "steps").rows() == [
        ("gsm8k", 1024, 12, 3),
        ("short", 40, 12, 3),
    ]
    assert found["cut"].to_list() == [0, 12]
    assert 0 < found["cut_before_answer"][1] <= 12
    told = [json.loads(receipt.read_text())["train_loss"] for receipt in receipts]
    assert found["train_loss"].to_list() == pytest.approx(told)


def test_the_report_says_which_arms_lost_ends_of_rows(root: Path) -> None:
    study = load_study_file(root / "workflow/config/smoke.yaml")
    material = synthetic.material(study, synthetic.synthetic(study, layers=2, heads=2))
    none = pl.lit(0, pl.Int64)
    table = material.tables["finetunes"].with_columns(none.alias("cut"), none.alias("cut_before_answer"))
    whole = replace(material, tables={**material.tables, "finetunes": table})
    assert len(finetune_section(whole).text) == 1
    first = (pl.col("model") == table["model"][0]) & (pl.col("variant") == table["variant"][0])
    cut = [("rows", 480), ("cut", 12), ("cut_before_answer", 5), ("max_length", 1024)]
    one = table.with_columns(pl.when(first).then(pl.lit(value)).otherwise(name).alias(name) for name, value in cut)
    [_, line] = finetune_section(replace(material, tables={**material.tables, "finetunes": one})).text
    assert line.endswith(": 12 of 480 rows were cut at 1,024 tokens, 5 of them before their answer.")
    assert line.startswith(f"Rows longer than finetune.max_length lost their end. {table['model'][0]}, ")
    listed = next(each for each in run_section(whole).tables if each.caption.startswith("The fine-tunes"))
    assert len(listed.rows) == table.height
