"""What a killed fine-tune left behind is gone on from by the same code, on the same base, only."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from rim.core import contracts, tables
from rim.core.receipts import receipt_of, write_receipt
from rim.data.prepare import prepare
from rim.settings.datasets import Dataset
from rim.steps import finetune_model
from rim.training import finetune as finetuning
from tests.conftest import model_reference
from tests.unit.training.test_finetune import RECIPE

pytestmark = pytest.mark.xdist_group("organism")


def rows_to_train_on(base: Path, folder: Path) -> None:
    """What `job_in` reads: a base and twelve rows, with their receipts."""
    shutil.copytree(base, folder / "base")
    source = {"adapter": "organism", "part": "multi_hop_target", "rows": 12, "seed": "t"}
    rows, _ = prepare("rows", Dataset.model_validate({"sources": [source]}))
    tables.write(rows, contracts.DATASET, folder / "rows.parquet")
    for artifact in ("base", "rows.parquet"):
        write_receipt(folder / artifact)


def job_in(folder: Path, output: Path, code: str) -> finetune_model.Job:
    return finetune_model.Job(
        inputs=[],
        outputs=[],
        model=model_reference(folder / "base", receipt_of(folder / "base")),
        recipe=RECIPE,
        rows=None,
        mitigation=None,
        code=code,
        dataset=receipt_of(folder / "rows.parquet"),
        requests=[],
        neurons=[],
        folder=output,
        steps=output.with_name(f"{output.name}.steps"),
    )


def dying(counter: Callable) -> Callable:
    """A double of a kill after five of six optimizer steps, the last checkpoint being that of the fourth."""

    def made(*arguments):
        report = counter(*arguments)

        def tell(done: int) -> None:
            report(done)
            if done == 5:
                raise KeyboardInterrupt

        return tell

    return made


@pytest.mark.parametrize("changed", ["nothing", "the base", "the code"])
def test_a_killed_fine_tune_ends_as_one_that_nobody_killed(
    changed: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    rows_to_train_on(tiny_model, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(finetuning, "counter", dying(finetuning.counter))
        with pytest.raises(KeyboardInterrupt):
            finetune_model.run(job_in(tmp_path, tmp_path / "resumed", "before"))
    if changed == "the base":  # made anew by another recipe, in the same place
        weights = tmp_path / "base/model.safetensors"
        save_file({name: value * 1.25 for name, value in load_file(weights).items()}, weights, {"format": "pt"})
        write_receipt(tmp_path / "base")
    capsys.readouterr()
    code = "after" if changed == "the code" else "before"
    finetune_model.run(job_in(tmp_path, tmp_path / "resumed", code))
    told = capsys.readouterr().err
    assert ("goes on from checkpoint-4" in told) == (changed == "nothing")
    assert ("starts anew" in told) == (changed != "nothing")
    finetune_model.run(job_in(tmp_path, tmp_path / "clean", code))
    for name in ("{}/adapter_model.safetensors", "{}.steps/step00002/adapter_model.safetensors"):
        resumed, clean = (load_file(tmp_path / name.format(each)) for each in ("resumed", "clean"))
        assert all(resumed[key].equal(clean[key]) for key in clean)
