"""The program of `rim check-gpu --full`: items in processes of their own that end well, crash, hang or are out of time."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from rim.cli import main
from rim.core.errors import UserError
from rim.device import child, page, program, rows
from rim.device.program import ENVIRONMENT, Item
from rim.device.rows import Outcome, Row, Skipped

MACHINE = Item(ENVIRONMENT, "The machine", "environment", 1)
FIRST, SECOND = Item("first", "First", "plain_engine", 1), Item("second", "Second", "plain_engine", 1)
ITEMS = [MACHINE, FIRST, SECOND]
WRITE = "Outcome({name!r}, {state!r}, {{}}, [{rows}]).write(Path({folder!r}));"
HEAD = "import os, sys, time, signal, subprocess; from pathlib import Path; from rim.device.rows import Outcome, Row;"
ENDS = {  # what an item's process does -> after its row is written
    "well": "",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "crashed": "sys.exit('RuntimeError: no such kernel')",
    "hangs": "open({child!r}, 'w').write(str(subprocess.Popen(['sleep', '600']).pid)); time.sleep(600)",
}
Ran = list[str]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ran:
    """The names of the items that were run, in order; they end well unless `ends` says else."""
    names: Ran = []
    ends(monkeypatch, names)
    return names


def ends(monkeypatch: pytest.MonkeyPatch, names: Ran, processor: str = "card", **how: str) -> None:
    """Let items end as they are told to."""

    def command(item: Item, folder: Path) -> list[str]:
        names.append(item.name)
        way = how.get(item.name, "well")
        row = f"Row('processor', {processor!r})" if item.name == ENVIRONMENT else "Row('speed', 2.0, 'tokens/s')"
        write = WRITE.format(name=item.name, state="done" if way == "well" else "running", rows=row, folder=str(folder))
        return [sys.executable, "-c", HEAD + write + ENDS[way].format(child=str(folder / "child"))]

    monkeypatch.setattr(program, "command", command)


def run(folder: Path, items: list[Item] = ITEMS, minutes: float = 5.0) -> dict[str, Outcome]:
    return {each.name: each for each in program.run(folder, minutes, lambda line: None, items)}


def test_what_is_finished_is_not_done_again(ran: Ran, tmp_path: Path) -> None:
    assert [each.state for each in run(tmp_path).values()] == ["done"] * 3
    again = run(tmp_path)
    assert ran == [ENVIRONMENT, "first", "second", ENVIRONMENT]  # the machine is looked at every time
    assert again["second"].rows == [Row("speed", 2.0, "tokens/s")]


def test_another_machine_or_other_code_is_measured_anew(
    ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path)
    ran.clear()
    ends(monkeypatch, ran, processor="another card")
    run(tmp_path)
    assert ran == [ENVIRONMENT, "first", "second"]
    ran.clear()
    run(tmp_path, [MACHINE, replace(FIRST, module="environment"), SECOND])
    assert ran == [ENVIRONMENT, "first"]


@pytest.mark.parametrize(
    ("way", "note"), [("killed", "ended by signal 9"), ("crashed", "ended with status 1: RuntimeError: no such kernel")]
)
def test_an_item_that_crashes_ends_alone_and_leaves_its_rows(
    way: str, note: str, ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends(monkeypatch, ran, first=way)
    found = run(tmp_path)
    assert [each.state for each in found.values()] == ["done", "failed", "done"]
    assert (found["first"].note, found["first"].rows) == (note, [Row("speed", 2.0, "tokens/s")])
    ran.clear()
    run(tmp_path)
    assert ran == [ENVIRONMENT]  # the same code on the same machine would crash again


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet is a zombie."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


def test_an_item_that_hangs_is_ended_with_what_it_started(
    ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends(monkeypatch, ran, first="hangs")
    found = run(tmp_path, [MACHINE, replace(FIRST, minutes=0.1), SECOND])
    assert [each.state for each in found.values()] == ["done", "too slow", "done"]
    assert found["first"].rows == [Row("speed", 2.0, "tokens/s")]
    started = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 10
    while not gone(started) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert gone(started)
    ran.clear()
    run(tmp_path, [MACHINE, replace(FIRST, minutes=0.1), SECOND])
    assert ran == [ENVIRONMENT]


def hurried(folder: Path, monkeypatch: pytest.MonkeyPatch, left: float = 2.0) -> dict[str, Outcome]:
    """A run in which so many seconds are left after the first item."""
    now = 0.0

    def say(line: str) -> None:
        nonlocal now
        now = 300 - left if line.startswith("First: done") else now

    with monkeypatch.context() as context:
        context.setattr(program, "time", SimpleNamespace(monotonic=lambda: now))
        return {each.name: each for each in program.run(folder, 5.0, say, ITEMS)}


def test_an_item_that_the_program_had_no_time_for_is_done_the_next_time(
    ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "LEAST", 0.1)
    ends(monkeypatch, ran, second="hangs")
    found = hurried(tmp_path, monkeypatch)
    assert [each.state for each in found.values()] == ["done", "done", "out of time"]
    assert "| out of time | ended after 2 s |" in (tmp_path / page.PAGE).read_text()
    ran.clear()
    ends(monkeypatch, ran)
    assert run(tmp_path)["second"].state == "done"
    assert ran == [ENVIRONMENT, "second"]


def test_nothing_is_begun_without_time(ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = hurried(tmp_path, monkeypatch, program.LEAST - 1)
    assert ran == [ENVIRONMENT, "first"]
    assert found["second"].state == "out of time"


def test_a_machine_that_cannot_be_looked_at_ends_the_program(
    ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends(monkeypatch, ran, environment="crashed")
    with pytest.raises(
        UserError, match=r"the machine cannot be looked at: .* no such kernel; .*environment\.log says more"
    ):
        run(tmp_path)
    assert ran == [ENVIRONMENT]


def test_models_are_kept_for_as_long_as_an_item_needs_them(
    ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models/4b").mkdir(parents=True)
    monkeypatch.setattr(program, "LEAST", 0.1)
    ends(monkeypatch, ran, second="hangs")
    hurried(tmp_path, monkeypatch)
    assert (tmp_path / "models/4b").exists()
    ends(monkeypatch, ran)
    run(tmp_path)
    assert not (tmp_path / "models").exists()


def fails(error: Exception) -> Callable[..., object]:
    def some(*arguments: object) -> object:
        yield Row("speed", 2.0)
        raise error

    return some


@pytest.mark.parametrize(
    ("error", "state", "note"),
    [
        (Skipped("no room"), "skipped", "no room"),
        (UserError("model 'x': too large"), "failed", "model 'x': too large"),
        (ValueError("bad shape\nsecond line"), "failed", "ValueError: bad shape"),
    ],
)
def test_how_an_item_ends(
    error: Exception, state: str, note: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_rows", fails(error))
    outcome = child.measure(FIRST, tmp_path)
    assert (outcome.state, outcome.note, outcome.rows) == (state, note, [Row("speed", 2.0)])
    assert rows.read(tmp_path, "first") == outcome


def test_a_file_that_is_not_ours_counts_as_nothing(tmp_path: Path) -> None:
    for text in ("", "[]", '{"rows": [{"what": 1, "unknown": 2}]}'):
        rows.place(tmp_path, "first").parent.mkdir(exist_ok=True)
        rows.place(tmp_path, "first").write_text(text)
        assert rows.read(tmp_path, "first") is None


def test_every_item_is_a_module_that_measures() -> None:
    assert len({each.name for each in program.ITEMS}) == len(program.ITEMS)
    folder = Path(program.__file__).parent / "items"
    assert {each.module for each in program.ITEMS} == {path.stem for path in folder.glob("[a-z]*.py")}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "x"], "--out and --minutes belong to --full"),
        (["--minutes", "3"], "--out and --minutes belong to --full"),
        (["--full", "--minutes", "0"], "--minutes: 0 is no time"),
    ],
)
def test_arguments_that_make_no_sense(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-gpu", *options]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_program_on_the_shapes_of_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-gpu", "--full", "--out", str(tmp_path), "--minutes", "30"]) == 0, capsys.readouterr().out
    found = {each["name"]: each for each in json.loads((tmp_path / page.DATA).read_text())}
    assert list(found) == [item.name for item in program.ITEMS]
    skipped = {name for name, each in found.items() if each["state"] == "skipped"}
    assert skipped <= {
        f"{who}_{shape}" for who in ("plain", "ours") for shape in ("4b", "8b", "mixture")
    }  # where vLLM is not installed
    assert {each["state"] for name, each in found.items() if name not in skipped} == {"done"}
    text = (tmp_path / page.PAGE).read_text()
    assert "Proved on CPU shapes" in text
    assert "MISSED" not in text
    assert not (tmp_path / "models").exists()
    capsys.readouterr()
    assert main(["check-gpu", "--full", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("kept from an earlier run") == len(program.ITEMS) - 1 - len(skipped)
