"""Run the workflow as a user does, from the repository or from a copy of it that a test may edit."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

BIN = Path(sys.executable).parent


def environment(repository: Path) -> dict[str, str]:
    path = f"{BIN}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(repository / "src"), "HF_HUB_OFFLINE": "1"}


def command(directory: Path, *options: str, repository: Path = ROOT) -> list[str]:
    snakefile = str(repository / "Snakefile")
    return [str(BIN / "snakemake"), "--snakefile", snakefile, "--directory", str(directory), "--cores", "2", *options]


def snakemake(directory: Path, *options: str, repository: Path = ROOT) -> subprocess.CompletedProcess[str]:
    line = command(directory, *options, repository=repository)
    return subprocess.run(line, capture_output=True, text=True, check=False, env=environment(repository))


def shipped(name: str) -> str:
    return str(ROOT / f"workflow/config/{name}.yaml")


def counted(output: str) -> dict[str, int]:
    """Jobs per rule, from Snakemake's table."""
    return {
        name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", output, re.M) if name not in ("all", "total")
    }


def configured(path: Path, **changes: object) -> str:
    """The smoke configuration with the values at paths (with __ for a dot) replaced."""
    mapping = yaml.safe_load(Path(shipped("smoke")).read_text())
    for key, value in changes.items():
        *parents, last = key.split("__")
        place = mapping
        for part in parents:
            place = place[part]
        place[last] = value
    path.write_text(yaml.safe_dump(mapping, sort_keys=False))
    return str(path)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which the smoke study has run."""
    copy = tmp_path_factory.mktemp("smoke") / "copy"
    copy.mkdir()
    for name in ("src", "rules", "workflow", "envs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "Snakefile", copy)
    done = snakemake(copy, "--configfile", shipped("smoke"), repository=copy)
    assert done.returncode == 0, done.stdout + done.stderr
    return copy
