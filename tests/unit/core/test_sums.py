"""Sums of outputs: recorded when they are written, checked when a job reads them."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rim.core import receipts, sums
from rim.core.errors import UserError

SUMS = Path("data/s/provenance/sums")
TABLE = Path("data/s/heads/m/base/seed0.parquet")
OTHER = Path("data/s/heads/n/base/seed0.parquet")
CSV = Path("results/s/tables/rates.csv")
FOLDER = Path("data/s/checkpoints/m/base/seed0")
RECEIPT = Path(f"{FOLDER}.receipt.json")
REPLIES = Path("data/s/responses/m/plain.parquet")
REPLIES_RECEIPT = Path(f"{REPLIES}.receipt.json")
OUTPUTS = [TABLE, OTHER, CSV, FOLDER, RECEIPT, REPLIES, REPLIES_RECEIPT]


@pytest.fixture(autouse=True)
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What jobs wrote and recorded."""
    monkeypatch.chdir(tmp_path)
    for path in (TABLE, OTHER, CSV, FOLDER / "weights", FOLDER / "config", REPLIES):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"the content of {path}\n" * 3)
    for artifact in (FOLDER, REPLIES):
        receipts.write_receipt(artifact)
    sums.record(OUTPUTS)


def test_what_is_as_it_was_written_passes() -> None:
    sums.check(OUTPUTS)
    sums.check([])


def test_what_has_a_receipt_is_recorded_by_it() -> None:
    found = {path.relative_to(SUMS) for path in SUMS.rglob("*") if path.is_file()}
    assert found == {Path(f"{path}.sha256") for path in (TABLE, OTHER, CSV, RECEIPT, REPLIES_RECEIPT)}


def test_sha256sum_can_check_them() -> None:
    subprocess.run(["sha256sum", "--check", "--strict", *SUMS.rglob("*.sha256")], check=True)


def edit(path: Path) -> None:
    path.write_text(path.read_text().replace("content", "Content"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def swap_receipts() -> None:
    shutil.rmtree(FOLDER)
    for source, target in ((REPLIES, FOLDER), (REPLIES_RECEIPT, RECEIPT)):
        shutil.copy(source, target)


# what happens; the file that is named; whether that is the artifact of a receipt
DAMAGES: dict[str, tuple[Callable[[], object], Path]] = {
    "a table edited": (lambda: edit(TABLE), TABLE),
    "a table cut off": (lambda: cut(TABLE), TABLE),
    "a table emptied": (lambda: TABLE.write_text(""), TABLE),
    "another model's table": (lambda: shutil.copy(OTHER, TABLE), TABLE),
    "a table of results edited": (lambda: edit(CSV), CSV),
    "a table of results cut off": (lambda: cut(CSV), CSV),
    "an artifact edited": (lambda: edit(FOLDER / "weights"), FOLDER),
    "a file added to an artifact": (lambda: (FOLDER / "more").write_text(""), FOLDER),
    "a receipt edited": (lambda: RECEIPT.write_text(RECEIPT.read_text() + " "), RECEIPT),
    "another artifact with its receipt": (swap_receipts, RECEIPT),
    "an artifact made anew with its receipt": (lambda: (edit(FOLDER / "weights"), receipts.write_receipt(FOLDER)), RECEIPT),
    "a sum edited": (lambda: edit_sum(TABLE), TABLE),
    "a sum emptied": (lambda: sums.sum_file(TABLE).write_text(""), TABLE),
    "a folder in place of a table": (lambda: (TABLE.unlink(), TABLE.mkdir()), TABLE),
}  # fmt: skip


def edit_sum(path: Path) -> None:
    sums.sum_file(path).write_text("0" * 64 + f"  {path}\n")


@pytest.mark.parametrize("case", DAMAGES)
def test_what_is_not_as_it_was_written_is_one_line(case: str) -> None:
    damage, named = DAMAGES[case]
    damage()
    with pytest.raises(UserError) as error:
        sums.check(OUTPUTS)
    line = str(error.value)
    assert line.startswith(
        f"{named}: checksum mismatch: it was edited, cut off or replaced after it was written (sha256 "
    )
    back = f"; if it was committed, `git checkout {CSV}` (and its data with `dvc pull`) gets it back"
    assert line.endswith(f" found); delete it and run the workflow again, which makes it anew{back * (named == CSV)}")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("pointer", "content", "named"),
    [
        ("data/{study}.dvc", "outs:\n- path: {study}\n", True),
        ("data.dvc", "outs:\n- path: data/{study}\n", True),
        ("data.dvc", "outs:\n- path: data/{study}_two\n", False),
        ("data/other.dvc", "outs:\n- path: other\n", False),
    ],
)
def test_dvc_is_named_only_where_a_pointer_covers_the_file(pointer: str, content: str, named: bool) -> None:
    study = TABLE.parts[1]
    Path(pointer.format(study=study)).write_text(content.format(study=study))
    edit(TABLE)
    with pytest.raises(UserError) as error:
        sums.check([TABLE])
    assert (f"get it back with `dvc checkout --force {TABLE}`, or delete it" in str(error.value)) == named


def test_what_is_lost_is_one_line() -> None:
    TABLE.unlink()
    with pytest.raises(UserError, match=f"^{TABLE}: is missing, though the record of its content is there; delete it"):
        sums.check([TABLE])


def test_an_output_that_was_written_and_not_recorded_is_refused_until_its_job_ran_again() -> None:
    sums.forget([TABLE])
    edit(TABLE)  # and now the job is killed
    line = (
        f"^{TABLE}: cannot be checked, since {sums.sum_file(TABLE)} is not there, which is written after it; delete it"
    )
    with pytest.raises(UserError, match=line):
        sums.check([TABLE])
    sums.check([OTHER])
    sums.forget([TABLE])  # the job runs again
    edit(TABLE)
    sums.record([TABLE])
    sums.check([TABLE])


def test_a_new_content_takes_the_place_of_the_old() -> None:
    edit(TABLE)
    sums.record([TABLE])
    sums.check(OUTPUTS)
