import json
import shutil
from pathlib import Path

import pytest

from rim.core import receipts
from rim.core.errors import UserError


def test_a_receipt_names_what_was_changed_or_lost(tmp_path: Path) -> None:
    artifact, receipt = tmp_path / "seed0", tmp_path / "seed0.receipt.json"
    artifact.mkdir()
    (artifact / "a").write_text("1")
    receipts.write_receipt(artifact, steps=3)
    assert receipts.verified(receipt) == artifact
    assert json.loads(receipt.read_text())["steps"] == 3
    (artifact / "a").write_text("2")
    with pytest.raises(
        UserError,
        match=r"seed0: checksum mismatch: it was edited, cut off or replaced .* expected, .* found\); delete it",
    ):
        receipts.verified(receipt)
    shutil.rmtree(artifact)
    with pytest.raises(UserError, match=r"seed0: is missing, though the record of its content is there; delete it"):
        receipts.verified(receipt)
    receipt.write_text("{")
    with pytest.raises(UserError, match=r"seed0\.receipt\.json: is not a readable receipt"):
        receipts.verified(receipt)
