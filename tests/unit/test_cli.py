import ast
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rim import __version__, steps
from rim.cli import LISTS, TOOLS, explain, main
from rim.core import contracts, files, receipts, sums, tables
from rim.core.errors import UserError
from rim.settings.datasets import Dataset
from rim.settings.models import Organism
from tests.conftest import RIM


def job(folder: Path, source: Path) -> dict[str, Any]:
    """A job of `prepare_dataset`, whole."""
    dataset = Dataset.model_validate({"sources": [{"adapter": "gsm8k", "path": str(source)}]})
    table = str(folder / "out/table.parquet")
    return {"inputs": [], "outputs": [], "name": "d", "dataset": dataset.model_dump(mode="json"), "table": table}


def job_file(folder: Path, fields: dict[str, Any]) -> str:
    path = folder / "job.json"
    path.write_text(json.dumps(fields))
    return str(path)


def test_a_step_does_what_its_job_says(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"question": "what is 1 + 2?", "answer": "#### 3"}\n')
    assert main(["prepare_dataset", job_file(tmp_path, job(tmp_path, source))]) == 0
    table = tables.read(receipts.verified(tmp_path / "out/table.parquet.receipt.json"), contracts.DATASET)
    assert table["prompt"].to_list() == ["what is 1 + 2?"]


WRONG_JOBS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a missing field": (lambda job: job.pop("table"), "table: field required"),
    "a missing field inside": (lambda job: job["dataset"]["sources"][0].pop("rows"), "dataset.sources.0.rows: field required"),
    "an unknown field": (lambda job: job.update(tables="x"), "tables: extra inputs are not permitted"),
    "an unknown field inside": (lambda job: job["dataset"].update(more=1), "dataset.more: extra inputs are not permitted"),
    "a wrong type": (lambda job: job.update(name=3), "name: input should be a valid string"),
    "a wrong type inside": (lambda job: job["dataset"]["sources"][0].update(rows="3"), "dataset.sources.0.rows: input should be a valid integer"),
    "nothing": (lambda job: job.clear(), "inputs: field required"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_JOBS)
def test_a_job_that_says_something_else_is_one_line_with_the_path_of_the_field(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    spoil, problem = WRONG_JOBS[case]
    fields = job(tmp_path, tmp_path / "a.jsonl")
    spoil(fields)
    path = job_file(tmp_path, fields)
    assert main(["prepare_dataset", path]) == 1
    told = f"prepare_dataset: error: {path}: {problem}; run the workflow again\n"
    assert capsys.readouterr().err == told
    assert not (tmp_path / "out").exists()


def test_a_job_that_cannot_be_read_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    whole = json.dumps({**job(tmp_path, tmp_path / "a.jsonl"), "name": "größer"}, ensure_ascii=False).encode()
    path = tmp_path / "job.json"
    torn = (b"", whole[:-1], whole[: len(whole) // 2], whole[: whole.index("ß".encode()) + 1], b"[]", b"3")
    for content in torn:
        path.write_bytes(content)
        assert main(["prepare_dataset", str(path)]) == 1
        line = capsys.readouterr().err
        assert line.startswith(f"prepare_dataset: error: {path}: the whole: ")
        assert line.endswith("; run the workflow again\n")
        assert line.count("\n") == 1
    for absent, reason in (
        (tmp_path / "absent.json", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        assert main(["prepare_dataset", str(absent)]) == 1
        told = f"prepare_dataset: error: {absent}: cannot be read ({reason}); run the workflow again\n"
        assert capsys.readouterr().err == told


def test_a_users_mistake_is_one_line_and_a_log(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out/table.parquet"
    path = job_file(tmp_path, job(tmp_path, tmp_path / "absent.jsonl"))
    code = main(["prepare_dataset", path, "--log", str(tmp_path / "logs/a.log")])
    error = (tmp_path / "logs/a.log").read_text()
    assert code == 1
    assert error.startswith("prepare_dataset: error: ")
    assert error.count("\n") == 1
    assert capsys.readouterr().err == ""  # the workflow's screen reads it in the log
    assert not out.exists()


def recorded_job(folder: Path) -> dict[str, Any]:
    """A job of `prepare_dataset` with an input that is recorded and an output; paths are from the folder."""
    (folder / "data/s").mkdir(parents=True)
    (folder / "data/s/rows.jsonl").write_text('{"question": "what is 1 + 2?", "answer": "#### 3"}\n')
    sums.record([Path("data/s/rows.jsonl")])
    files = {
        "inputs": ["data/s/rows.jsonl"],
        "outputs": ["data/s/out.parquet", "data/s/out.parquet.receipt.json"],
        "table": "data/s/out.parquet",
    }
    return {**job(folder, Path("data/s/rows.jsonl")), **files}


def test_a_step_records_what_it_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fields = recorded_job(tmp_path)
    assert main(["prepare_dataset", job_file(tmp_path, fields)]) == 0
    sums.check(map(Path, fields["outputs"]))
    Path("data/s/out.parquet.receipt.json").write_text("{}")
    with pytest.raises(UserError, match="checksum mismatch"):
        sums.check(map(Path, fields["outputs"]))


def test_a_step_with_a_changed_input_writes_nothing_and_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    path = job_file(tmp_path, recorded_job(tmp_path))
    (tmp_path / "data/s/rows.jsonl").write_text('{"question": "what is 1 + 2?", "answer": "#### 4"}\n')
    before = sorted(tmp_path.rglob("*"))
    assert main(["prepare_dataset", path]) == 1
    line = capsys.readouterr().err
    assert line.startswith("prepare_dataset: error: data/s/rows.jsonl: checksum mismatch: ")
    assert line.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_step_that_ends_half_way_leaves_no_old_record_of_its_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = job_file(tmp_path, recorded_job(tmp_path))
    assert main(["prepare_dataset", path]) == 0

    def killed(*arguments: object, **facts: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rim.steps.prepare_dataset.write_receipt", killed)
    assert main(["prepare_dataset", path]) == 130
    assert not sums.sum_file(Path("data/s/out.parquet.receipt.json")).exists()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert main(["prepare_dataset", path]) == 0
    sums.check([Path("data/s/out.parquet"), Path("data/s/out.parquet.receipt.json")])


def test_a_defect_of_ours_is_not_hidden() -> None:
    assert explain(ZeroDivisionError()) is None
    assert explain(UserError("x: wrong; mend it")) == "x: wrong; mend it"
    assert "disk is full" in str(explain(OSError(28, "No space left on device")))
    reason = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20 GiB."
    for error in (torch.OutOfMemoryError("CUDA out of memory"), RuntimeError(f"Process 1 terminated:\n{reason}")):
        assert "lower finetune.micro_batch_size" in str(explain(error))


def test_errors_of_files_and_memory_say_where_and_how_much(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, expected in (
        (tmp_path / "absent", "there is no such file or folder"),
        (tmp_path, "is a folder, and a file is expected"),
        (tmp_path / "file/deeper", "a part of this path is a file"),
    ):
        with pytest.raises(OSError, match="Errno") as error:
            path.read_text()
        assert str(explain(error.value)).startswith(f"{path}: {expected}")
    assert "writing here.txt; make room" in str(explain(OSError(28, "No space left on device", "here.txt")))
    full = "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 3 GiB is free."
    assert "(20.00 GiB more were asked for, 79.10 GiB are there)" in str(explain(torch.OutOfMemoryError(full)))


def test_the_help_of_rim_tells_every_command_and_loads_nothing_heavy() -> None:
    code = "import sys; from rim.cli import main; main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.findall(r"^  ([a-z-]+) {2}", done.stdout, re.M) == [*TOOLS, *LISTS]
    assert len(done.stdout.splitlines()) <= 40  # a screen
    for heavy in ("torch", "numpy", "polars", "pydantic", "yaml"):
        assert f"'{heavy}'" not in done.stderr


@pytest.mark.parametrize("asked", [["--help"], ["--version"], ["check", "--help"]])
def test_a_reader_that_has_seen_enough_is_no_error(asked: list[str]) -> None:
    """As in `rim --help | head -1`."""
    code = f"import sys; from rim.cli import main; sys.stdin.read(); sys.exit(main({asked!r}))"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        for pipe in (process.stdout, process.stdin):  # the command begins when its own input has ended
            assert pipe
            pipe.close()
        assert process.stderr
        assert process.stderr.read() == b""


def test_rim_alone_and_its_version(capsys: pytest.CaptureFixture) -> None:
    assert main(["-h"]) == main([]) == 0
    once = capsys.readouterr().out
    assert once == 2 * once[: len(once) // 2]
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rim {__version__}\n"


@pytest.mark.parametrize(
    ("command", "meant"),
    [("plna", "did you mean 'plan'? "), ("check_gpu", "did you mean 'check-gpu'? "), ("generate_reply", "did you mean 'generate_replies'? "), ("zz", "")],
)  # fmt: skip
def test_an_unknown_command_is_one_line(command: str, meant: str, capsys: pytest.CaptureFixture) -> None:
    assert main([command, "x"]) == 2
    told = f"rim: error: there is no command '{command}'; {meant}`rim --help` and `rim steps` list all\n"
    assert capsys.readouterr().err == told


def test_the_steps_are_listed_apart(capsys: pytest.CaptureFixture) -> None:
    assert main(["steps"]) == 0
    listed = capsys.readouterr().out
    named = re.findall(r"^  (\w+) {2}", listed, re.M)
    assert named == sorted(file.stem for file in Path(steps.__path__[0]).glob("[a-z]*.py"))
    assert "Train one organism from nothing" in listed


def test_bash_completes_commands_and_their_options(tmp_path: Path) -> None:
    asked = """. completion
    COMP_WORDS=({words}) COMP_CWORD={place} && _shtab_rim && echo "${{COMPREPLY[@]}}" """
    (tmp_path / "completion").write_text(
        subprocess.run([RIM, "completion", "bash"], capture_output=True, text=True, check=True).stdout
    )
    for words, place, expected in (
        ("rim check", 1, ["check-model", "check", "check-gpu"]),
        ("rim check-model --w", 2, ["--weights"]),
    ):
        line = asked.format(words=words, place=place)
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.split() == expected


def test_every_step_explains_itself(capsys: pytest.CaptureFixture) -> None:
    for file in Path(steps.__path__[0]).glob("[a-z]*.py"):
        with pytest.raises(SystemExit) as stop:
            main([file.stem, "--help"])
        assert stop.value.code == 0
        told = " ".join(capsys.readouterr().out.split())
        docstring = ast.get_docstring(ast.parse(file.read_text()))
        assert docstring
        assert " ".join(docstring.split()) in told
        for option in ("job file with all that the step is told", "--log", "--threads", "--gpus"):
            assert option in told


def test_a_disk_that_fills_up_leaves_nothing_half_written(tmp_path: Path) -> None:
    """A limit on file size stands in for a full disk: writes fail half-way in the same manner."""
    source = tmp_path / "a.jsonl"
    source.write_text(
        "".join(json.dumps({"question": f"{i} {os.urandom(20).hex()}", "answer": "#### 1"}) + "\n" for i in range(2000))
    )
    done = subprocess.run(
        [RIM, "prepare_dataset", job_file(tmp_path, job(tmp_path, source))],
        capture_output=True, text=True, check=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )  # fmt: skip
    assert done.returncode == 1
    assert "prepare_dataset: error: the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_a_disk_that_fills_up_during_training_is_one_line(tmp_path: Path, tiny: Organism) -> None:
    folder = tmp_path / "out/seed0"
    files = {"inputs": [], "outputs": [], "folder": str(folder)}
    fields = {"organism": tiny.model_dump(mode="json"), "seed": 0, "label": "t", "code": "c", **files}
    done = subprocess.run(
        [RIM, "train_organism", job_file(tmp_path, fields)],
        capture_output=True, text=True, check=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)),
    )  # fmt: skip
    assert done.returncode == 1
    assert "train_organism: error: the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert [p.name for p in folder.parent.iterdir()] == [".seed0.working"]  # what the next run goes on from


def test_replacing_keeps_the_old_file_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def fail_half_way() -> None:
        with files.replacing(path) as temporary:
            temporary.write_text("new")
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        fail_half_way()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_replacing_swaps_whole_folders(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with files.replacing(tmp_path / "folder") as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["two"]
