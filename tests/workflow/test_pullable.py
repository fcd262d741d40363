"""What a run says could be pulled instead of made: after its command, exactly the rest is left to run.

Most of it is tried on a study of shell commands with the layout of ours: artifacts under data/ with receipts, their
records beside them, all behind one data.dvc; one part on the smoke study.
"""

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.workflow.conftest import cloned, jobs, publish, run, snakemake, tracked
from tests.workflow.test_reruns import EVENTS, study

SNAKEFILE = f"""
import sys
from pathlib import Path
from types import SimpleNamespace

from rim.core.errors import UserError
from rim.workflow.records import keep_records_in_data

NAME = "tiny"
RAW = Path("data/raw/rows")
STUDY = SimpleNamespace(datasets=dict(d=SimpleNamespace(sources=[SimpleNamespace(path=str(RAW))])))
plan = SimpleNamespace(summary=lambda study: "the bill\\n")
SETTINGS = dict(models="a b", rate=1, rate_of_b=1, threshold=3) | config
MODELS = SETTINGS["models"].split()
TIMING = "data/tiny/timings"
keep_records_in_data(Path.cwd(), "tiny")


def final_targets():
    return ["results/all.csv"]


def preflight_checks():
    pass


def preflight_lines():
    return []


include: "{ROOT}/rules/hooks.smk"


rule all:
    input:
        "results/all.csv",
        "data/tiny/outcomes/all.parquet",


rule prepare:
    output:
        table="data/tiny/datasets/d.parquet",
        receipt="data/tiny/datasets/d.parquet.receipt.json",
    params:
        raw=RAW.read_text() if RAW.exists() else "",
    shell:
        "echo {{params.raw}} > {{output.table}}; md5sum {{output.table}} > {{output.receipt}}"


rule train:
    input:
        ancient("data/tiny/datasets/d.parquet"),
        "data/tiny/datasets/d.parquet.receipt.json",
    output:
        folder=directory("data/tiny/checkpoints/{{model}}"),
        receipt="data/tiny/checkpoints/{{model}}.receipt.json",
    params:
        rate=lambda w: SETTINGS["rate_of_b"] if w.model == "b" else SETTINGS["rate"],
    shell:
        "mkdir {{output.folder}}; for name in config weights; do echo {{wildcards.model}} {{params.rate}} $name > {{output.folder}}/$name; done;"
        " cat {{output.folder}}/* | md5sum > {{output.receipt}}"


rule infer:
    input:
        ancient("data/tiny/checkpoints/{{model}}"),
        "data/tiny/checkpoints/{{model}}.receipt.json",
    output:
        "data/tiny/responses/{{model}}.parquet",
    shell:
        "(echo reply of; cat data/tiny/checkpoints/{{wildcards.model}}/weights) > {{output}}"


rule judge:
    input:
        "data/tiny/responses/{{model}}.parquet",
    output:
        "data/tiny/judgements/{{model}}.parquet",
    params:
        threshold=SETTINGS["threshold"],
    shell:
        "(cat {{input}}; echo {{params.threshold}}) > {{output}}"


rule summarize:
    input:
        expand("data/tiny/judgements/{{model}}.parquet", model=MODELS),
    output:
        outcomes="data/tiny/outcomes/all.parquet",
        table="results/all.csv",
    shell:
        "cat {{input}} | tee {{output.outcomes}} > {{output.table}}"
"""


def run_tiny(copy: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return snakemake(copy, *options, repository=copy)


@pytest.fixture(scope="module")
def tiny_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of shell commands, run and published."""
    copy = tmp_path_factory.mktemp("tiny") / "copy"
    copy.mkdir()
    (copy / "Snakefile").write_text(SNAKEFILE)
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (copy / "data/raw").mkdir(parents=True)
    (copy / "data/raw/rows").write_text("rows")
    done = run_tiny(copy)
    assert done.returncode == 0, done.stderr
    return tracked(copy)


def partly(published: Path, directory: Path, *folders: str) -> Path:
    """A clone with a part of the data."""
    run(published, "git", "clone", "--quiet", str(published), str(directory))
    run(directory, "dvc", "pull", "--quiet", *folders)
    return directory


def planned(done: subprocess.CompletedProcess[str]) -> set[str]:
    assert done.returncode == 0, done.stdout + done.stderr
    return jobs(done.stdout + done.stderr) - {"all"}


def advice(done: subprocess.CompletedProcess[str]) -> tuple[int, int, list[str]] | None:
    """Jobs, how many of them could be pulled, and the command."""
    found = re.findall(r"^(\d+) jobs?, of which (\d+) could be pulled: (dvc pull .+)$", done.stderr, re.M)
    assert len(found) <= 1
    return (int(found[0][0]), int(found[0][1]), found[0][2].split()) if found else None


def edit_replies(copy: Path) -> None:
    path = copy / "data/tiny/responses/a.parquet"
    path.unlink()
    path.write_text("edited by hand")


def add_judgements(copy: Path) -> None:
    (copy / "data/tiny/judgements").mkdir(exist_ok=True)
    (copy / "data/tiny/judgements/mine.parquet").write_text("made here")


def untouched(copy: Path) -> None:
    pass


RECORDS, ALWAYS = "data/tiny/provenance", ("data/tiny/provenance", "data/raw")
# what is here; what happens; settings of the run; the command that is named
QUICK = ("threshold, records only", "one model's recipe")
CASES: dict[str, tuple[tuple[str, ...], Callable[[Path], None], tuple[str, ...], str]] = {
    "no change, records only": ((), untouched, (), "data/tiny/outcomes"),
    "threshold, with replies": (("data/tiny/outcomes", "data/tiny/responses"), untouched, ("threshold=4",), ""),
    "threshold, with outcomes": (("data/tiny/outcomes",), untouched, ("threshold=4",), "data/tiny/responses"),
    "threshold, records only": ((), untouched, ("threshold=4",), "data/tiny/responses"),
    "one model's recipe": (
        ("data/tiny/outcomes",),
        untouched,
        ("rate_of_b=2",),
        "data/tiny/datasets data/tiny/judgements/a.parquet",
    ),
    "one more model": (
        ("data/tiny/outcomes",),
        untouched,
        ("models=a b c",),
        "data/tiny/datasets data/tiny/judgements",
    ),
    "both": ((), untouched, ("models=a b c", "threshold=4"), "data/tiny/datasets data/tiny/responses"),
    "replies edited by hand": (
        ("data/tiny/responses",),
        edit_replies,
        (),
        "data/tiny/judgements/b.parquet",
    ),
    "a file of one's own": (
        (),
        add_judgements,
        ("models=a b c",),
        "data/tiny/datasets data/tiny/judgements/a.parquet data/tiny/judgements/b.parquet",
    ),
}


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CASES]
)
def test_after_the_named_command_exactly_the_rest_runs(case: str, tiny_study: Path, tmp_path: Path) -> None:
    """What runs then is what would run in a clone that pulled everything."""
    folders, change, settings, expected = CASES[case]
    options = ("--dry-run", *(("--config", *settings) if settings else ()))
    part = partly(tiny_study, tmp_path / "part", *ALWAYS, *folders)
    whole = cloned(tiny_study, tmp_path / "whole")
    change(whole)
    change(part)
    before = run_tiny(part, *options)
    rest = planned(run_tiny(whole, *options))
    if not expected:
        assert advice(before) is None
        assert planned(before) == rest
        return
    number, pullable, line = advice(before)
    assert len(planned(before)) == number
    assert line == ["dvc", "pull", *expected.split()]
    run(part, *line)
    after = run_tiny(part, *options)
    assert planned(after) == rest
    assert number - pullable == len(rest)
    assert advice(after) is None


def test_a_run_says_so_before_its_first_job_and_goes_on(tiny_study: Path, tmp_path: Path) -> None:
    part = partly(tiny_study, tmp_path / "part", *ALWAYS)
    done = run_tiny(part, "--config", "threshold=4")
    assert done.returncode == 0, done.stderr
    assert advice(done) == (8, 5, ["dvc", "pull", "data/tiny/responses"])
    began = done.stderr.index(" 1/8 ")
    assert (
        done.stderr.index("tiny: 8 jobs to run; the report will be results/all.csv\nthe bill\n8 jobs, of which") < began
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "spelling", [("-n",), ("-nq",), ("-np",), ("--dryrun", "--quiet", "all"), ("--profile", "profile")]
)
def test_a_dry_run_ends_with_it_however_it_is_asked_for(
    spelling: tuple[str, ...], tiny_study: Path, tmp_path: Path
) -> None:
    part = partly(tiny_study, tmp_path / "part", *ALWAYS)
    (part / "profile").mkdir()
    (part / "profile/config.yaml").write_text("dry-run: true\n")
    if spelling[0] == "--profile":
        spelling = ("--profile", str(part / "profile"))
    done = run_tiny(part, *spelling, "--config", "threshold=4")
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("the bill\n8 jobs, of which 5 could be pulled: dvc pull data/tiny/responses\n")


@pytest.mark.slow
def test_what_runs_nothing_has_no_bill(tiny_study: Path, tmp_path: Path) -> None:
    whole = cloned(tiny_study, tmp_path / "whole")
    for options in ((), ("--dag",), ("--list",)):
        done = run_tiny(whole, *options)
        assert done.returncode == 0, done.stderr
        assert "the bill" not in done.stderr


def test_records_come_first(tiny_study: Path, tmp_path: Path) -> None:
    part = partly(tiny_study, tmp_path / "part", "data/raw", "data/tiny/responses")
    (part / RECORDS).mkdir()
    done = run_tiny(part, "--dry-run", "--config", "threshold=4")
    line = "8 jobs; which of them could be pulled shows after: dvc pull data/tiny/provenance data/tiny/responses"
    assert done.stderr.splitlines()[-1] == line
    run(part, *line.split(": ")[1].split())
    assert advice(run_tiny(part, "--dry-run")) == (3, 3, ["dvc", "pull", "data/tiny/outcomes"])


@pytest.mark.slow
def test_raw_files_come_first_too(tiny_study: Path, tmp_path: Path) -> None:
    """A dataset's settings hold the content of its raw files; without them all seems changed."""
    part = partly(tiny_study, tmp_path / "part", RECORDS, "data/tiny/outcomes")
    done = run_tiny(part, "--dry-run", "--config", "threshold=4")
    assert done.stderr.splitlines()[-1] == "8 jobs; which of them could be pulled shows after: dvc pull data/raw/rows"
    run(part, "dvc", "pull", "--quiet", "data/raw/rows")
    assert advice(run_tiny(part, "--dry-run", "--config", "threshold=4")) == (
        8,
        5,
        ["dvc", "pull", "data/tiny/responses"],
    )


@pytest.mark.slow
def test_nothing_is_promised_that_the_remote_does_not_have(tiny_study: Path, tmp_path: Path) -> None:
    part = partly(tiny_study, tmp_path / "part", *ALWAYS)
    shutil.rmtree(part / ".dvc/cache")
    lost = hashlib.md5((tiny_study / "data/tiny/responses/a.parquet").read_bytes()).hexdigest()
    (part / ".artifacts/files/md5" / lost[:2] / lost[2:]).unlink()
    number, pullable, line = advice(run_tiny(part, "--dry-run", "--config", "threshold=4"))
    needed = ["data/tiny/checkpoints/a", "data/tiny/checkpoints/a.receipt.json", "data/tiny/responses/b.parquet"]
    assert (number, pullable, line) == (8, 4, ["dvc", "pull", *needed])
    run(part, *line)
    assert len(planned(run_tiny(part, "--dry-run", "--config", "threshold=4"))) == 4


@pytest.mark.slow
def test_an_artifact_older_than_its_record_here_is_not_pulled(tiny_study: Path, tmp_path: Path) -> None:
    """Judged anew here and lost again: what is published was judged by another threshold."""
    whole = cloned(tiny_study, tmp_path / "whole")
    assert run_tiny(whole, "--config", "threshold=4").returncode == 0
    (whole / "data/tiny/judgements/a.parquet").unlink()
    done = run_tiny(whole, "data/tiny/judgements/a.parquet", "--dry-run", "--config", "threshold=4")
    assert planned(done) == {"judge model=a"}
    assert advice(done) is None


def test_without_a_remote_the_run_goes_on(tiny_study: Path, tmp_path: Path) -> None:
    part = partly(tiny_study, tmp_path / "part", *ALWAYS)
    shutil.rmtree(part / ".dvc/cache")
    run(part, "git", "mv", ".artifacts", "elsewhere")
    done = run_tiny(part, "--dry-run")
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1].startswith("dvc: cannot tell what could be pulled instead of made: ")


@pytest.mark.slow
@pytest.mark.parametrize("event", ["a judge's threshold", "the recipe of fine-tuning", "one more model", "a step"])
def test_of_the_study_too_exactly_the_rest_runs(event: str, published: Path, tmp_path: Path) -> None:
    """With what workflow/docs/sharing.md pulls, and the raw file of this study."""
    page = (ROOT / "workflow/docs/sharing.md").read_text()
    line = re.search(r"^(dvc pull data/demo/provenance .*?) *#", page, re.M)[1]
    part = partly(published, tmp_path / "part", "data/raw", *line.replace("/demo/", "/smoke/").split()[2:])
    whole = cloned(published, tmp_path / "whole")
    for copy in (part, whole):
        EVENTS[event].change(copy)
    before, rest = study(part, "--dry-run"), planned(study(whole, "--dry-run"))
    number, pullable, line = advice(before)
    assert len(planned(before)) == number
    run(part, *line)
    assert planned(study(part, "--dry-run")) == rest
    assert number - pullable == len(rest)


@pytest.mark.slow
def test_after_git_pull_alone_what_others_ran_is_named(tiny_study: Path, tmp_path: Path) -> None:
    """The records here are of the older state; with the new ones come the artifacts here that they describe."""
    published = Path(shutil.copytree(tiny_study, tmp_path / "published", symlinks=True))
    part = partly(published, tmp_path / "part", *ALWAYS, "data/tiny/judgements", "data/tiny/outcomes")
    other = "threshold=4", "models=a b c"
    assert run_tiny(published, "--config", *other).returncode == 0
    publish(published, "another threshold and model")
    run(part, "git", "pull", "--quiet")
    done = run_tiny(part, "--dry-run", "--config", *other)
    line = "dvc pull data/tiny/provenance data/tiny/judgements data/tiny/outcomes"
    assert (
        done.stderr.splitlines()[-1] == f"{len(planned(done))} jobs; which of them could be pulled shows after: {line}"
    )
    run(part, *line.split())
    assert planned(run_tiny(part, "--dry-run", "--config", *other)) == set()


@pytest.mark.slow
def test_what_was_made_here_is_not_pulled_over(tiny_study: Path, tmp_path: Path) -> None:
    """As before, but with a judgement of one's own: `dvc pull` would refuse to replace its record."""
    published = Path(shutil.copytree(tiny_study, tmp_path / "published", symlinks=True))
    mine = cloned(published, tmp_path / "mine")
    assert run_tiny(mine, "--config", "threshold=5").returncode == 0
    assert run_tiny(published, "--config", "models=a b c").returncode == 0
    publish(published, "another model")
    run(mine, "git", "checkout", "--quiet", "results")
    run(mine, "git", "pull", "--quiet")
    done = run_tiny(mine, "--dry-run", "--config", "threshold=5", "models=a b c")
    assert planned(done) == {"train model=c", "infer model=c", "judge model=c", "summarize"}
    assert "dvc pull" not in done.stderr
