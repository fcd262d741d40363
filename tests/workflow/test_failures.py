"""Failed jobs on the screen: a line when they fail, and one line each at the end, in a file and on a terminal."""

import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.workflow.conftest import BIN, command, configured, environment

NAMES = ("first", "second")
TARGETS = [f"data/smoke/datasets/{name}.parquet" for name in NAMES]
WRONG = "{}.jsonl: row 1 does not look like gsm8k (no 'answer'; it has 'question'); check that it is the right file, or let adapter 'table' read it"
RIM = """\
#!/bin/sh
# A double of `rim` in front of the real one: what it does for the dataset `first` is not what a step does.
case "$*" in *prepare_dataset/first*) {what};; esac
exec {rim} "$@"
"""


@pytest.fixture
def study(tmp_path: Path) -> str:
    """A study with two datasets whose files are of another kind."""
    changes = {}
    for name in NAMES:
        (tmp_path / f"{name}.jsonl").write_text('{"question": "?"}\n')
        changes[f"datasets__{name}"] = {"sources": [{"adapter": "gsm8k", "path": f"{name}.jsonl"}]}
    return configured(tmp_path / "study.yaml", **changes)


def started(directory: Path, study: str, *options: str, what: str = "", **streams: object) -> subprocess.Popen[str]:
    variables = environment(ROOT)
    if what:
        double = directory / "bin/rim"
        double.parent.mkdir()
        double.write_text(RIM.format(what=what, rim=BIN / "rim"))
        double.chmod(0o755)
        variables["PATH"] = f"{double.parent}:{variables['PATH']}"
    line = command(directory, *options, "--keep-going", "--configfile", study, "--", *TARGETS)
    return subprocess.Popen(line, text=True, env=variables, start_new_session=True, **streams)


def piped(directory: Path, study: str, *options: str, what: str = "") -> tuple[int, str]:
    running = started(directory, study, *options, what=what, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = running.communicate(timeout=120)[0]
    return running.returncode, output


def on_a_terminal(directory: Path, study: str, *options: str) -> tuple[int, str]:
    """The same on a pseudo-terminal, without what moves the cursor and colours."""
    reader, writer = pty.openpty()
    running = started(directory, study, *options, stdin=writer, stdout=writer, stderr=writer)
    os.close(writer)
    read = b""
    while True:
        try:
            part = os.read(reader, 65536)
        except OSError:  # the other end was closed
            break
        if not part:
            break
        read += part
    return running.wait(timeout=60), re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", read.decode()).replace("\r\n", "\n")


def last_lines(*reasons: str) -> str:
    lines = [
        f"  prepare_dataset dataset={name}: {reason} (logs/smoke/prepare_dataset/{name}.log)"
        for name, reason in zip(NAMES, reasons, strict=True)
    ]
    return "\n".join(["2 jobs failed:", *lines])


NOISE = (
    "RuleException",
    "CalledProcessError",
    "Error in rule",
    "    shell:",
    "WorkflowError",
    "Traceback",
    "Exiting because",
)


@pytest.mark.parametrize("options", [(), ("--show-failed-logs",)])
def test_failed_jobs_say_their_line_and_are_listed_last(tmp_path: Path, study: str, options: tuple[str, ...]) -> None:
    status, output = piped(tmp_path, study, *options)
    assert status == 1
    assert not [noise for noise in NOISE if noise in output]
    for name in NAMES:
        assert output.count(WRONG.format(name)) == 2 + len(
            options
        )  # when it fails, in the log if that is shown, and last
        log = f"logs/smoke/prepare_dataset/{name}.log"
        assert output.count(f"Failed: prepare_dataset dataset={name}: {WRONG.format(name)} ({log})\n") == 1
    assert output.rstrip().endswith(last_lines(*map(WRONG.format, NAMES)))
    [log] = (tmp_path / ".snakemake/log").iterdir()
    assert log.read_text().count("CalledProcessError") == 2  # what is spared the screen can be read there


def test_the_same_with_a_bar_on_a_terminal(tmp_path: Path, study: str) -> None:
    status, output = on_a_terminal(tmp_path, study)
    assert status == 1
    assert "0 of 2 jobs, 0:0" in output
    assert not [noise for noise in NOISE if noise in output]
    assert output.rstrip().endswith(last_lines(*map(WRONG.format, NAMES)))


def test_all_of_it_with_verbose(tmp_path: Path, study: str) -> None:
    status, output = piped(tmp_path, study, "--verbose")
    assert status == 1
    assert output.count("Error in rule prepare_dataset") == 2
    assert "jobs failed:" not in output


def test_a_job_that_was_killed_is_told_as_killed_and_not_by_an_older_log(tmp_path: Path, study: str) -> None:
    piped(tmp_path, study)
    status, output = piped(tmp_path, study, what="kill -9 $$")
    assert status == 1
    killed = "was killed (SIGKILL), most often because the machine's memory was full; give it more, or run fewer jobs at once"
    assert output.rstrip().endswith(last_lines(killed, WRONG.format("second")))


def test_a_defect_shows_where_it_happened(tmp_path: Path, study: str) -> None:
    python = """exec python -c "import sys, rim.core.sums as s; s.check = lambda _: 1 / 0
from rim.cli import main
sys.exit(main())" "$@" """
    status, output = piped(tmp_path, study, what=python)
    assert status == 1
    assert output.count("Traceback (most recent call last)") == 1
    assert output.rstrip().endswith(last_lines("ZeroDivisionError: division by zero", WRONG.format("second")))
    assert "in <lambda>" in (tmp_path / "logs/smoke/prepare_dataset/first.log").read_text()


def test_an_interrupted_run_lists_nothing(tmp_path: Path, study: str) -> None:
    hangs = f"touch {tmp_path}/began; exec python -c 'import time, sys; from rim import cli; cli.run_step = lambda *_: time.sleep(60); sys.exit(cli.main())' \"$@\""
    running = started(tmp_path, study, "--cores", "1", what=hangs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    until = time.monotonic() + 60
    while not (tmp_path / "began").exists() and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(2)
    os.killpg(running.pid, signal.SIGINT)
    output = running.communicate(timeout=60)[0]
    assert running.returncode == 130
    assert "\nTerminating processes on user request" in output
    assert "\nWhat is finished is kept; run the workflow again to go on\n" in output
    assert "dataset=first:" not in output
    assert not [noise for noise in ("RuleException", "Error in rule", "Traceback") if noise in output]
