"""What the type in which checkpoints are read does to their metrics, on a fine-tune of a model of bfloat16 that changes little."""

from pathlib import Path

import polars as pl
import pytest

from rim.core import contracts, tables
from rim.core.receipts import write_receipt
from rim.models import loading
from tests.unit.steps.test_forgetting_steps import WANTED, Run
from tests.unit.training.test_finetune import RECIPE, train

pytestmark = pytest.mark.xdist_group("organism")


def test_checkpoints_of_a_narrow_model_are_read_in_float32_and_answer_in_their_own(
    tiny_model: Path, tmp_path: Path
) -> None:
    loading.load_model(str(tiny_model), "bfloat16").save_pretrained(tmp_path / "narrow")
    loading.load_tokenizer(str(tiny_model)).save_pretrained(tmp_path / "narrow")
    run = Run(tmp_path / "run", tmp_path / "narrow")
    run.find()
    train(run.base, tmp_path / "tuned", RECIPE.model_copy(update={"learning_rate": 1e-4}))
    write_receipt(tmp_path / "tuned.steps")

    def measured(dtype: str, read_in: str) -> tuple[pl.DataFrame, pl.DataFrame]:
        folder = tmp_path / f"{dtype} {read_in}"
        folder.mkdir()
        model = run.model.model_copy(update={"dtype": dtype})
        wanted = WANTED.model_copy(update={"dtype": read_in})
        metrics = run.measure(tmp_path / "tuned.steps.receipt.json", folder, wanted, model=model)
        return metrics, tables.read(folder / "replies.parquet", contracts.RESPONSE)

    wide, replies = measured("bfloat16", "float32")
    narrow, same_replies = measured("bfloat16", "own")
    assert wide.equals(measured("float32", "own")[0])
    assert replies.equals(same_replies)

    def ras(table: pl.DataFrame) -> pl.Series:
        return table.filter((pl.col("metric") == "ras") & (pl.col("neurons") == "all"))["estimate"]

    apart = (ras(narrow) / ras(wide) - 1).abs()
    assert apart.min() > 0.02  # rounding alone: about what the whole of the paper's figure spans
