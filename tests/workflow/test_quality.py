"""Style, types and lint, as part of the tests."""

import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
SNAKEFILES = ["Snakefile", "rules"]


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "src", "tests"],
        ["ruff", "format", "--check", "src", "tests"],
        ["mypy"],
        ["snakefmt", "--check", *SNAKEFILES],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_clean(root: Path, command: list[str]) -> None:
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflow_is_lint_free(root: Path, tmp_path: Path) -> None:
    line = [BIN / "snakemake", "--lint", "--snakefile", root / "Snakefile", "--directory", tmp_path]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_file_says_what_it_is_for_and_rule_step_log_and_benchmark_share_a_name(root: Path) -> None:
    import re

    steps = {path.stem for path in (root / "src/rim/steps").glob("[a-z]*.py")}
    rules = {}
    for file in (root / "rules").glob("*.smk"):
        text = file.read_text()
        assert text.startswith('"""'), f"{file.name} has no docstring"
        for name, body in re.findall(r"^rule (\w+):\n(.*?)(?=^rule |\Z)", text, re.M | re.S):
            rules[name] = body
            assert f"rim {name} " in body
            assert f"{{LOG}}/{name}" in body
            assert f"{{TIMING}}/{name}/" in body or name == "report"  # the report cannot hold its own time
    assert set(rules) == steps


def test_the_repository_holds_no_pickle_and_trusts_no_remote_code(root: Path) -> None:
    for path in [*root.glob("src/**/*.py"), *root.glob("rules/*.smk")]:
        text = path.read_text()
        for forbidden in ("import pickle", "torch.load(", "torch.save(", "trust_remote_code", "shell=True"):
            assert forbidden not in text, f"{path.name}: {forbidden}"
