"""Sums: the SHA-256 of every output that has no receipt, kept apart from it, so that a job knows what it reads.

Before a job its inputs are checked, after it the sums of its outputs are written. The sum of an output X of a study lies in
data/{study}/provenance/sums/X.sha256, in the form of `sha256sum`, which can check all of them (`sha256sum --check`). So sums
travel with Snakemake's records, by `dvc pull data/{study}/provenance` too, and those of results/ with the data of their revision:
results of another revision than the data are an error where a job reads them.

A receipt has a sum as any table, and its artifact is checked against it; one artifact cannot stand in for another.
An input without a sum is an error as well, since all that is listed was made by a job: raw files, of which none is, are
not listed. Their content counts among a job's settings.

A job takes the sums of its outputs away before it writes the first of them. One that is killed between writing and
recording thus leaves an output without a sum, which Snakemake knows as incomplete and makes again; whoever takes it
from there all the same gets the error. No record is made by hand and none has to be repaired: deleting the output is
always enough.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rim.core.errors import UserError
from rim.core.files import write_text
from rim.core.hashes import sha256
from rim.core.receipts import receipt_of, require, verified, way_back


def sum_file(path: Path) -> Path:
    """Where the sum of an output lies, which is data/{study}/… or results/{study}/… from the working directory."""
    return Path("data", path.parts[1], "provenance/sums", f"{path}.sha256")


def check(inputs: Iterable[Path]) -> None:
    """Make sure that what a job reads is what was written.

    Raises:
        UserError: an input was edited, cut off or replaced, is missing, or has no sum.
    """
    listed = _with_receipts(inputs)
    for path, receipt in listed:
        if not receipt:
            require(path, _recorded(path))
    for _, receipt in listed:  # each of them checked by now
        if receipt:
            verified(receipt)


def forget(outputs: Iterable[Path]) -> None:
    """Take the sums of outputs away that are about to be written."""
    for path in outputs:
        sum_file(path).unlink(missing_ok=True)


def record(outputs: Iterable[Path]) -> None:
    """Write the sums of outputs that are whole."""
    for path, receipt in _with_receipts(outputs):
        if not receipt:
            write_text(sum_file(path), f"{sha256(path)}  {path}\n")


def _with_receipts(paths: Iterable[Path]) -> list[tuple[Path, Path | None]]:
    """Files and folders, each with its receipt if that is among them."""
    listed = dict.fromkeys(paths)
    return [(path, receipt_of(path) if receipt_of(path) in listed else None) for path in listed]


def _recorded(path: Path) -> str:
    """The hash of an output from when it was written.

    Raises:
        UserError: there is none.
    """
    try:
        return sum_file(path).read_text().partition(" ")[0]
    except (FileNotFoundError, ValueError):  # or no text
        raise UserError(
            f"{path}: cannot be checked, since {sum_file(path)} is not there, which is written after it; {way_back(path)}"
        ) from None
