"""What a run looks like: on a terminal one bar that nothing tears, in a file one line per job, and no banner of Snakemake's."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.workflow.conftest import BIN, command, configured, environment, snakemake

pytest.importorskip("pyte", reason="the terminal of these tests is the package pyte, of the extra `dev`")
from tests.terminal import Shown, show

NAMES = ("first", "second", "third")
BANNERS = (
    "Assuming unrestricted", "Building DAG", "Job stats", "host:", "Using shell", "Provided cores", "Select jobs", "rule ",
    "input:", "output:", "resources:", "Finished jobid", "steps (", "Complete log", "Elapsed time", "Conda environments",
)  # fmt: skip
SLOW = """\
#!/bin/sh
# A double of `rim` in front of the real one: it takes seconds, counts in its log, and prints what libraries print.
for log in "$@"; do case "$log" in logs/*) break;; esac; done
mkdir -p "$(dirname $log)"
for step in 1 2 3 4; do
    echo "preparing $step/4, 1.0/s, 0:0$((4 - step)) left" >> $log
    printf '\\r  %d%%|####      | a library' $step >&2
    echo "a library on stdout"
    sleep 0.7
done
exec {rim} "$@"
"""


@pytest.fixture
def study(tmp_path: Path) -> str:
    """A study with three datasets, and a `rim` that takes its time."""
    changes = {}
    for name in NAMES:
        (tmp_path / f"{name}.jsonl").write_text(f'{{"question": "what is 1 + {len(name)}?", "answer": "#### 2"}}\n')
        changes[f"datasets__{name}"] = {"sources": [{"adapter": "gsm8k", "path": f"{name}.jsonl"}]}
    double = tmp_path / "bin/rim"
    double.parent.mkdir()
    double.write_text(SLOW.replace("{rim}", str(BIN / "rim")))
    double.chmod(0o755)
    return configured(tmp_path / "study.yaml", **changes)


def line(directory: Path, study: str, *options: str) -> list[str]:
    targets = [f"data/smoke/datasets/{name}.parquet" for name in NAMES]
    return command(directory, "--keep-going", *options, "--configfile", study, "--", *targets)


def on_a_terminal(directory: Path, study: str) -> Shown:
    variables = environment(ROOT)
    variables |= {"PATH": f"{directory / 'bin'}:{variables['PATH']}", "TERM": "xterm-256color"}
    return show(line(directory, study), env=variables)


BAR = re.compile(r"^[━╸╺ ]{30} (\d) of 3 jobs, 0:\d\d( +about \d+ s left)?$")


def test_one_calm_bar_on_a_terminal(tmp_path: Path, study: str) -> None:
    shown = on_a_terminal(tmp_path, study)
    assert shown.status == 0
    assert shown.screens[0][1].startswith("Reading the study and working out what there is to do")
    header = "smoke: 3 jobs to run; the report will be results/smoke/report.html"
    bars = []
    for screen in shown.screens:
        held = [text for text in screen if text]
        assert not [text for text in held if "library" in text or text.startswith(BANNERS)]
        if (
            header in held
            and (under := held[held.index(header) + 1 :])
            and "Done" not in under[0]
            and "What" not in under[0]
        ):
            bars.append(under)
    assert len(bars) > 5
    for first, *jobs in bars:
        assert BAR.match(first), first
        assert len(jobs) <= 2
        assert all(
            re.match(r"^  prepare_dataset (first|second|third) +(\d s|\d/4, 1.0/s, 0:0\d left)$", job) for job in jobs
        )
    assert {BAR.match(first)[1] for first, *_ in bars} >= {"0", "2"}  # type: ignore[index]
    assert any("3/4, 1.0/s" in job for _, *jobs in bars for job in jobs)
    assert any("left" in first for first, *_ in bars), bars
    assert shown.lines[-1].startswith("What was asked for is made, in 0:")
    assert shown.lines[-2] == header  # the bar is gone


def test_a_job_that_fails_is_told_above_the_bar(tmp_path: Path, study: str) -> None:
    for name in NAMES:
        (tmp_path / f"{name}.jsonl").write_text('{"question": "?"}\n')
    shown = on_a_terminal(tmp_path, study)
    assert shown.status == 1
    under = [
        screen[number:] for screen in shown.screens for number, text in enumerate(screen) if text.startswith("Failed: ")
    ]
    assert any(BAR.match(text) for part in under for text in part)
    text = "\n".join(shown.lines)
    assert text.count("Failed: prepare_dataset dataset=") == 3
    assert not [word for word in ("RuleException", "Error in rule", "library") if word in text]
    assert not [each for each in shown.lines if each.startswith(BANNERS)]
    assert "3 jobs failed:" in shown.lines


def test_one_line_per_job_in_a_file(tmp_path: Path, study: str) -> None:
    done = snakemake(tmp_path, *line(tmp_path, study)[7:], PATH=f"{tmp_path / 'bin'}:{environment(ROOT)['PATH']}")
    assert done.returncode == 0
    assert done.stdout == ""
    profile, reading, header, *jobs, last = done.stderr.splitlines()
    assert profile.startswith("Using workflow specific profile")  # Snakemake says so before it knows its logger
    assert reading == "Reading the study and working out what there is to do …"
    assert header == "smoke: 3 jobs to run; the report will be results/smoke/report.html"
    assert len(jobs) == 3
    for number, job in enumerate(jobs, 1):
        assert re.match(rf"^\d\d:\d\d:\d\d {number}/3 prepare_dataset dataset=\w+ \(\d+ s\)$", job)
    assert last.startswith("What was asked for is made, in 0:")
    [log] = (tmp_path / ".snakemake/log").iterdir()
    kept = log.read_text()
    assert all(word in kept for word in ("Job stats", "rule prepare_dataset", "Finished jobid", "SNAKEMAKE"))
    again = snakemake(tmp_path, *line(tmp_path, study, "--forceall")[7:])
    assert "3 jobs to run, which took about" in again.stderr
