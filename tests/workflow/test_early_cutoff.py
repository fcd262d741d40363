"""A job that runs again and writes what was there before stops the wave there; anything else does not.

Tried on random studies of shell commands: each rule writes what it reads, or a constant, and records that it ran.
"""

import base64
import os
import random
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.workflow.conftest import jobs, snakemake, snakemake_log

HEAD = f"""
import sys
from pathlib import Path
from types import SimpleNamespace

from rim.core.errors import UserError
from rim.workflow.records import keep_records_in_data

NAME = "tiny"
STUDY = SimpleNamespace(datasets=dict())
plan = SimpleNamespace(summary=lambda study: "")
TIMING = "data/tiny/timings"
keep_records_in_data(Path.cwd(), NAME)


def final_targets():
    return ["data/report"]



def preflight_checks():
    pass


def preflight_lines():
    return []


include: "{ROOT}/rules/hooks.smk"
"""


def rule(name: str, reads: list[str], effect: str, code: int, outputs: int = 1, ancient: bool = False) -> str:
    """A rule whose outputs hold `effect`, or all that it reads where that is "copies"."""
    inputs = "".join(f'        "{each}",\n' for each in reads)
    if ancient:
        inputs += f'        ancient("{reads[0]}.artifact"),\n'
    files = [f"data/{name}", *(f"data/{name}.{each}" for each in range(1, outputs)), f"data/{name}.artifact"]
    what = f"(echo {name}; cat {' '.join(reads)})" if effect == "copies" else f"echo {effect}"
    command = "; ".join([f"echo {name} >> ran.txt", "sleep 0.01", *(f"{what} > {each}" for each in files[:-1])])
    command += f"; date +%N > {files[-1]}"  # heavy: another one every time, known by what stands beside it
    outputs_text = "".join(f'        "{each}",\n' for each in files)
    return (
        f"\n\nrule {name}:\n    input:\n{inputs or '        [],' + chr(10)}    output:\n{outputs_text}"
        f"    params:\n        code={code},\n    shell:\n        '{command}'\n"
    )


def graph(rng: random.Random, size: int) -> dict[str, dict[str, object]]:
    """A random study: what each rule reads and what it does with it."""
    rules: dict[str, dict[str, object]] = {}
    for number in range(size):
        before = list(rules)
        chosen = rng.sample(before, min(len(before), rng.choice([0, 1, 1, 2, 3])))
        rules[f"r{number}"] = {
            "reads": [f"data/{each}" for each in chosen] or ["raw"],
            "effect": rng.choice(["copies", "copies", "always"]),
            "code": 0,
            "outputs": rng.choice([1, 1, 2]),
            "ancient": bool(chosen) and rng.random() < 0.3,
        }
    return rules


def write(directory: Path, rules: dict[str, dict[str, object]]) -> None:
    targets = "".join(f'        "data/{name}",\n' for name in rules)
    texts = [rule(name, **facts) for name, facts in rules.items()]  # type: ignore[arg-type]
    (directory / "Snakefile").write_text(HEAD + f"\n\nrule all:\n    input:\n{targets}" + "".join(texts))


def run(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (directory / "ran.txt").write_text("")
    done = snakemake(directory, *options, repository=directory)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def ran(directory: Path) -> list[str]:
    return sorted((directory / "ran.txt").read_text().split())


def counted(directory: Path) -> int:
    """Jobs of a run, of which all were done at its end."""
    finished, planned = re.findall(r"(\d+) of (\d+) steps", snakemake_log(directory))[-1]
    assert finished == planned
    return int(planned)


def prepared(directory: Path) -> Path:
    (directory / "src").symlink_to(ROOT / "src")
    (directory / "raw").write_text("1")
    return directory


def contents(rules: dict[str, dict[str, object]], raw: str) -> dict[str, str]:
    """What each rule writes."""
    found = {"raw": raw}
    for name, facts in rules.items():
        read = "".join(found[each.removeprefix("data/")] for each in facts["reads"])  # type: ignore[attr-defined]
        found[name] = f"({name} {read})" if facts["effect"] == "copies" else str(facts["effect"])
    return found


def must_run(
    rules: dict[str, dict[str, object]], changed: set[str], old: dict[str, str], new: dict[str, str]
) -> list[str]:
    """Those whose code changed, and those that read something whose content did."""
    return sorted(
        name
        for name, facts in rules.items()
        if name in changed
        or any(old[each.removeprefix("data/")] != new[each.removeprefix("data/")] for each in facts["reads"])  # type: ignore[attr-defined]
    )


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))])
def test_exactly_what_reads_something_new_runs(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    rules = graph(rng, rng.randint(8, 20))
    copy = prepared(tmp_path)
    write(copy, rules)
    run(copy)
    assert ran(copy) == sorted(rules)
    raw = "1"
    for number in (1, 2):
        before, heavy = contents(rules, raw), {name: (copy / f"data/{name}.artifact").read_text() for name in rules}
        changed = set(rng.sample(sorted(rules), rng.randint(1, 3)))
        for name in changed:
            rules[name]["code"] = number
        if rng.random() < 0.5:
            rules[rng.choice(sorted(changed))]["effect"] = f"other{number}"
        if rng.random() < 0.4:
            raw = str(number + 1)
            (copy / "raw").write_text(raw)
        write(copy, rules)
        run(copy)
        expected = must_run(rules, changed, before, contents(rules, raw))
        assert ran(copy) == expected
        assert counted(copy) == len(expected) + 1  # with `all`
        for name in set(rules) - set(expected):
            assert (copy / f"data/{name}.artifact").read_text() == heavy[name]
        done = snakemake(copy, "--dry-run", repository=copy)
        assert jobs(done.stdout + done.stderr) == set()


def chain(code: int = 0, effect: str = "always") -> dict[str, dict[str, object]]:
    facts = {"effect": "copies", "code": 0}
    return {
        "a": {"reads": ["raw"], "effect": effect, "code": code},
        "b": {"reads": ["data/a"], **facts},
        "c": {"reads": ["data/b"], **facts},
        "d": {"reads": ["data/c", "data/a"], **facts},
    }


def test_each_job_that_is_spared_is_named(tmp_path: Path) -> None:
    copy = prepared(tmp_path)
    write(copy, chain())
    run(copy)
    write(copy, chain(code=1))
    done = run(copy)
    assert ran(copy) == ["a"]
    spared = re.findall(r"Not run again, since what it reads came out as before: (\w+)$", done.stderr, re.M)
    assert sorted(spared) == ["b", "c", "d"]
    assert counted(copy) == 2  # with `all`


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("slow", [False, True])
def test_a_diamond_is_taken_off_once_and_what_also_reads_something_new_runs(
    cores: int, slow: bool, tmp_path: Path
) -> None:
    facts = {"effect": "copies", "code": 0}
    rules = {
        "a": {"reads": ["raw"], "effect": "always", "code": 0},
        "b": {"reads": ["data/a"], **facts},
        "c": {"reads": ["data/a"], **facts},
        "d": {"reads": ["data/b", "data/c"], **facts},
        "z": {"reads": ["raw"], **facts},
        "f": {"reads": ["data/d", "data/z"], **facts},
        "g": {"reads": ["data/f"], **facts},
    }
    copy = prepared(tmp_path)
    write(copy, rules)
    run(copy)
    (copy / "raw").write_text("2")
    if slow:
        text = (copy / "Snakefile").read_text()
        (copy / "Snakefile").write_text(text.replace("echo z >> ran.txt", "sleep 2; echo z >> ran.txt"))
    run(copy, "--cores", str(cores))
    assert ran(copy) == ["a", "f", "g", "z"]
    assert (copy / "data/f").read_text().endswith("z\n2")
    assert counted(copy) == 5


def test_content_counts_whatever_its_age(tmp_path: Path) -> None:
    """As after a merge, or in a copy, where ages say nothing."""
    copy = prepared(tmp_path)
    write(copy, chain())
    run(copy)
    (copy / "data/b").write_text("another")
    os.utime(copy / "data/b", (0, 0))
    run(copy)
    assert ran(copy) == ["c", "d"]
    for path in (copy / "data").rglob("*"):
        os.utime(path, (time.time() + 1e6,) * 2)  # by a clock that is ahead
    (copy / "raw").write_text("2")
    write(copy, chain(effect="copies"))
    run(copy)
    assert ran(copy) == ["a", "b", "c", "d"]


def test_an_input_that_goes_away_stops_its_job_only(tmp_path: Path) -> None:
    facts = {"effect": "copies", "code": 0}
    copy = prepared(tmp_path)
    rules = {"a": {"reads": ["raw"], "effect": "always", "code": 0}, "b": {"reads": ["data/a", "other"], **facts}}
    rules |= {"c": {"reads": ["raw"], **facts}}
    (copy / "other").write_text("1")
    write(copy, rules)
    run(copy)
    rules["a"]["code"] = rules["c"]["code"] = 1
    write(copy, rules)
    text = (copy / "Snakefile").read_text()
    (copy / "Snakefile").write_text(text.replace("echo a >> ran.txt", "rm other; echo a >> ran.txt"))
    (copy / "ran.txt").write_text("")
    done = snakemake(copy, "--keep-going", repository=copy)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert ran(copy) == ["a", "c"]


def record_of_c(copy: Path) -> Path:
    return copy / "data/tiny/provenance" / base64.urlsafe_b64encode(b"data/c").decode()


@pytest.mark.parametrize(
    "harm",
    [
        lambda copy: (copy / "data/c").unlink(),
        lambda copy: record_of_c(copy).unlink(),
        lambda copy: record_of_c(copy).write_text('{"rule": "c'),
    ],
    ids=["output lost", "record lost", "record torn"],
)
@pytest.mark.parametrize("code", [0, 1])
def test_what_lost_something_runs_and_comes_out_as_before(
    code: int, harm: Callable[[Path], object], tmp_path: Path
) -> None:
    copy = prepared(tmp_path)
    write(copy, chain())
    run(copy)
    write(copy, chain(code=code))
    harm(copy)
    run(copy)
    assert ran(copy) == (["a", "c"] if code else ["c"])
    run(copy)
    assert ran(copy) == []


def test_what_is_forced_runs(tmp_path: Path) -> None:
    copy = prepared(tmp_path)
    write(copy, chain())
    run(copy)
    run(copy, "--forcerun", "b")
    assert ran(copy) == ["b"]
    run(copy, "--forceall")
    assert ran(copy) == ["a", "b", "c", "d"]
    run(copy, "data/b", "--force")
    assert ran(copy) == ["b"]


def test_after_a_failed_job_nothing_is_taken_for_unchanged(tmp_path: Path) -> None:
    copy = prepared(tmp_path)
    write(copy, chain())
    run(copy)
    text = (copy / "Snakefile").read_text()
    write(copy, chain(code=1, effect="new"))
    broken = (copy / "Snakefile").read_text().replace("echo b >> ran.txt", "exit 1")
    assert broken != text
    (copy / "Snakefile").write_text(broken)
    (copy / "ran.txt").write_text("")
    assert snakemake(copy, "--keep-going", repository=copy).returncode != 0
    assert ran(copy) == ["a"]
    write(copy, chain(code=1, effect="new"))
    run(copy)
    assert ran(copy) == ["b", "c", "d"]
