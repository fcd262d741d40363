"""Hashes of files and folders, looked up while a file stays as it is and never when it changed."""

import hashlib
import os
from pathlib import Path

import pytest

from rim.core import hashes

BIG = b"0" * hashes.SMALLEST


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory of Snakemake, in which a hash is kept at once."""
    (tmp_path / ".snakemake").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hashes, "SETTLED", 0)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files whose content was read."""
    found: list[str] = []
    read = hashes._read
    monkeypatch.setattr(hashes, "_read", lambda path: found.append(path.name) or read(path))
    return found


def test_it_is_the_hash_of_the_content() -> None:
    for name, content in {"small": b"abc", "big": BIG, "empty": b""}.items():
        Path(name).write_bytes(content)
        for _ in range(2):
            assert hashes.sha256(Path(name)) == hashlib.sha256(content).hexdigest()


def test_hash_of_a_folder_depends_on_names_and_content_and_not_on_hidden_files() -> None:
    folder = Path("folder")
    (folder / "below").mkdir(parents=True)
    (folder / "below/a").write_text("1")
    first = hashes.sha256(folder)
    (folder / ".snakemake_timestamp").write_text("2")
    assert hashes.sha256(folder) == first
    (folder / "below/a").rename(folder / "below/b")
    second = hashes.sha256(folder)
    (folder / "below/b").write_text("2")
    assert len({first, second, hashes.sha256(folder)}) == 3


def test_a_large_file_is_read_once_and_a_small_one_each_time(reads: list[str]) -> None:
    Path("big").write_bytes(BIG)
    Path("small").write_bytes(BIG[1:])
    for _ in range(3):
        hashes.sha256(Path("big"))
        hashes.sha256(Path("small"))
    assert sorted(reads) == ["big", "small", "small", "small"]


def test_a_change_is_never_missed(reads: list[str]) -> None:
    path = Path("big")
    path.write_bytes(BIG)
    before, first = path.stat(), hashes.sha256(path)

    def edit_in_place(content: bytes) -> None:
        with path.open("r+b") as stream:
            stream.write(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if nothing had happened

    edit_in_place(b"1")
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert hashes.sha256(path) == hashlib.sha256(b"1" + BIG[1:]).hexdigest() != first
    edit_in_place(b"0")
    assert hashes.sha256(path) == first
    path.write_bytes(BIG + b"0")
    assert hashes.sha256(path) != first
    Path("other").write_bytes(BIG[:-1] + b"1")
    Path("other").replace(path)
    assert hashes.sha256(path) == hashlib.sha256(BIG[:-1] + b"1").hexdigest()
    assert len(reads) == 5


def test_a_file_changed_a_moment_ago_is_read_again(reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "SETTLED", int(3600e9))
    Path("big").write_bytes(BIG)
    for _ in range(2):
        hashes.sha256(Path("big"))
    assert reads == ["big", "big"]


def test_what_is_kept_may_be_lost_or_torn(reads: list[str]) -> None:
    Path("big").write_bytes(BIG)
    first = hashes.sha256(Path("big"))
    [kept] = hashes.FOLDER.iterdir()
    for torn in ("", kept.read_text()[:10], "\n"):
        kept.write_text(torn)
        assert hashes.sha256(Path("big")) == first
    kept.unlink()
    assert hashes.sha256(Path("big")) == first
    assert len(reads) == 5


def test_nothing_is_kept_outside_a_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    Path("big").write_bytes(BIG)
    hashes.sha256(Path("big"))
    assert [path.name for path in Path().iterdir()] == ["big"]
