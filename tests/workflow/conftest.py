"""Run the workflow as a user does, from the repository or from a copy of it that a test may edit."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from rim.core.hashes import sha256
from rim.core.receipts import receipt_of, write_receipt
from rim.core.sums import sum_file
from tests.conftest import ROOT

BIN = Path(sys.executable).parent


def environment(repository: Path) -> dict[str, str]:
    path = f"{BIN}:{os.environ['PATH']}"
    found = f"{repository / 'src'}:{os.environ.get('PYTHONPATH', '')}".rstrip(":")
    return {**os.environ, "PATH": path, "PYTHONPATH": found, "HF_HUB_OFFLINE": "1"}


def command(directory: Path, *options: str, repository: Path = ROOT) -> list[str]:
    snakefile = str(repository / "Snakefile")
    return [str(BIN / "snakemake"), "--snakefile", snakefile, "--directory", str(directory), "--cores", "2", *options]


def snakemake(
    directory: Path, *options: str, repository: Path = ROOT, **variables: str
) -> subprocess.CompletedProcess[str]:
    line = command(directory, *options, repository=repository)
    return subprocess.run(
        line, capture_output=True, text=True, check=False, env={**environment(repository), **variables}
    )


def shipped(name: str) -> str:
    return str(ROOT / f"workflow/config/{name}.yaml")


def jobs(output: str) -> set[str]:
    """The jobs that a dry run lists, such as "generate_replies model=null seed=0 variant=base"."""
    found = set()
    for rule, block in re.findall(r"^rule (\w+):\n((?: +.*\n)*)", output, re.M):
        wildcards = re.search(r"wildcards: (.*)", block)
        found.add(" ".join([rule, *sorted(wildcards[1].split(", "))] if wildcards else [rule]))
    return found


def commands(output: str) -> list[str]:
    """The shell commands that `--printshellcmds` lists."""
    return re.findall(r"^Shell command: (rim .*) >> \S+ 2>&1$", output, re.M)


def counted(output: str) -> dict[str, int]:
    """Jobs per rule, from Snakemake's table."""
    return {
        name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", output, re.M) if name not in ("all", "total")
    }


def snakemake_log(directory: Path) -> str:
    """What Snakemake said of the latest run, which is not on the screen."""
    return max((directory / ".snakemake/log").iterdir()).read_text()


def configured(path: Path, base: str | None = None, **changes: object) -> str:
    """A configuration, the smoke study's by default, with the values at paths (with __ for a dot) replaced."""
    mapping = yaml.safe_load(Path(base or shipped("smoke")).read_text())
    for key, value in changes.items():
        *parents, last = key.split("__")
        place = mapping
        for part in parents:
            place = place[part]
        place[last] = value
    path.write_text(yaml.safe_dump(mapping, sort_keys=False))
    return str(path)


def add_study(directory: Path) -> str:
    """Write study.yaml, the smoke study with one more benchmark, from a local file; return its path."""
    raw = directory / "data/raw/sums.jsonl"
    raw.parent.mkdir(parents=True)
    raw.write_text("".join(f'{{"question": "what is {n} + 2?", "answer": "#### {n + 2}"}}\n' for n in range(4)))
    return configured(
        directory / "study.yaml",
        datasets__sums={"sources": [{"adapter": "gsm8k", "path": "data/raw/sums.jsonl"}]},
        benchmarks__sums={"dataset": "sums", "measure": "accuracy"},
    )


def describe_anew(copy: Path, artifact: str) -> None:
    """Write the receipt of an artifact that a test has replaced, and the receipt's sum, as a job would."""
    write_receipt(copy / artifact)
    receipt = receipt_of(Path(artifact))
    (copy / sum_file(receipt)).write_text(f"{sha256(copy / receipt)}  {receipt}\n")


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A copy of the repository in which the study of `add_study` has run: once, for all of pytest's workers."""
    if worker_id == "master":
        return smoke_run(tmp_path_factory.mktemp("smoke") / "copy")
    done = tmp_path_factory.getbasetemp().parent / "smoke"
    with FileLock(f"{done}.lock"):
        if not done.exists():
            smoke_run(done.with_name("running")).rename(done)
    return Path(shutil.copytree(done, tmp_path_factory.mktemp("smoke") / "copy", symlinks=True))


def smoke_run(copy: Path) -> Path:
    """Run the smoke study in a new folder."""
    copy.mkdir()
    for name in ("src", "rules", "workflow", "envs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "Snakefile", copy)
    done = snakemake(copy, "--configfile", add_study(copy), repository=copy)
    assert done.returncode == 0, done.stdout + done.stderr
    return copy


@pytest.fixture(scope="session")
def published(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a git repository whose artifacts are pushed to the remote in it."""
    return tracked(Path(shutil.copytree(smoke, tmp_path_factory.mktemp("published") / "copy", symlinks=True)))


def tracked(directory: Path) -> Path:
    """Make a folder a git repository with our DVC settings, and publish its data."""
    ignored = [line for line in (ROOT / ".gitignore").read_text().splitlines() if line != "/results/smoke"]
    (directory / ".gitignore").write_text("\n".join(ignored) + "\n")
    shutil.copy(ROOT / ".dvcignore", directory)
    (directory / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, directory / ".dvc")
    run(directory, "git", "init", "--quiet", "--initial-branch", "main")
    run(directory, "git", "config", "user.email", "somebody@example.org")
    run(directory, "git", "config", "user.name", "Somebody")
    publish(directory, "the study")
    return directory


def run(directory: Path, *line: str) -> str:
    """Run a command that must succeed."""
    done = subprocess.run(line, cwd=directory, capture_output=True, text=True, check=False, env=environment(directory))
    assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    return done.stdout


def publish(repository: Path, message: str) -> None:
    """What a user does to share a state of the study."""
    run(
        repository,
        "dvc",
        "add",
        "--quiet",
        *sorted(f"data/{path.name}" for path in (repository / "data").iterdir() if path.is_dir()),
    )
    run(repository, "dvc", "push", "--quiet")
    run(repository, "git", "add", "--all")
    run(repository, "git", "commit", "--quiet", "--message", message)


def cloned(repository: Path, directory: Path) -> Path:
    """What somebody else has after `git clone` and `dvc pull`."""
    run(repository, "git", "clone", "--quiet", str(repository), str(directory))
    run(directory, "dvc", "pull", "--quiet")
    return directory
