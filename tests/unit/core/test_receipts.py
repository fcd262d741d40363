import json
import shutil
from pathlib import Path

import pytest

from rim.core import receipts
from rim.core.errors import UserError
from rim.workflow import records


def test_job_records_are_kept_in_data(tmp_path: Path) -> None:
    records.keep_records_in_data(tmp_path)
    records.keep_records_in_data(tmp_path)
    (tmp_path / ".snakemake/metadata/record").write_text("x")
    assert (tmp_path / "data/provenance/record").read_text() == "x"


def test_records_made_before_are_moved_there(tmp_path: Path) -> None:
    (tmp_path / ".snakemake/metadata/deeper").mkdir(parents=True)
    (tmp_path / ".snakemake/metadata/deeper/record").write_text("x")
    records.keep_records_in_data(tmp_path)
    assert (tmp_path / "data/provenance/deeper/record").read_text() == "x"
    assert (tmp_path / ".snakemake/metadata").is_symlink()


def test_artifacts_without_their_records_stop_the_workflow(tmp_path: Path) -> None:
    (tmp_path / "data.dvc").write_text("")
    with pytest.raises(UserError, match=r"^data\.dvc: the artifacts it names are not here; run `dvc pull`"):
        records.keep_records_in_data(tmp_path)
    assert not (tmp_path / "data").exists()
    (tmp_path / "data/provenance").mkdir(parents=True)
    records.keep_records_in_data(tmp_path)


def test_a_receipt_names_what_was_changed_or_lost(tmp_path: Path) -> None:
    artifact, receipt = tmp_path / "seed0", tmp_path / "seed0.receipt.json"
    artifact.mkdir()
    (artifact / "a").write_text("1")
    receipts.write_receipt(artifact, steps=3)
    assert receipts.verified(receipt) == artifact
    assert json.loads(receipt.read_text())["steps"] == 3
    (artifact / "a").write_text("2")
    with pytest.raises(
        UserError, match=r"seed0: checksum mismatch: it was edited, cut off or replaced .* expected, .* found\); get it"
    ):
        receipts.verified(receipt)
    shutil.rmtree(artifact)
    with pytest.raises(UserError, match=r"seed0: is missing, though the record of its content is there; get it"):
        receipts.verified(receipt)
    receipt.write_text("{")
    with pytest.raises(UserError, match=r"seed0\.receipt\.json: is not a readable receipt"):
        receipts.verified(receipt)
