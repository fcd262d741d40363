"""Shared fixtures: the repository, public data where it is at hand, and one tiny organism."""

import os
import sys
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = (
    "1"  # two workers with two threads each would be in each other's way; before torch is imported
)

import pytest

from rim.settings.jobs import ModelReference
from rim.settings.models import Organism, Prompt

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
RIM = str(Path(sys.executable).with_name("rim"))  # the command as installed


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


def shared(name: str) -> Path:
    """A public file kept beside the project; tests that need it are skipped where it is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs the public file {name} beside the project, in ../shared")
    return path


def model_reference(base: object = "", *checkpoints: Path, **changes: Any) -> ModelReference:
    """What a job is told of a model: a folder or hub name, and receipts of what is loaded on top of it."""
    given = {
        "label": "test",
        "revision": None,
        "dtype": "float32",
        "think_switch": "template",
        "prompt": Prompt(),
        "seed": 0,
    }
    fields = {**given, **changes}
    return ModelReference(base=str(base), checkpoints=list(checkpoints), **fields)


@pytest.fixture(scope="session")
def tiny() -> Organism:
    return Organism(
        association=1.0,
        hidden=32,
        layers=2,
        heads=2,
        kv_heads=1,
        head_dim=32,
        intermediate=32,
        batch_size=4,
        drill_steps=2,
        pretrain_steps=5,
        align_steps=3,
    )


@pytest.fixture(scope="session")
def tiny_model(tiny: Organism, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved dense organism that has learned nothing."""
    from rim.training.organism import train_organism

    folder = tmp_path_factory.mktemp("organism") / "dense"
    train_organism(tiny, 0, folder, "tiny")
    return folder


@pytest.fixture(scope="session")
def tiny_moe(tiny: Organism, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from rim.training.organism import train_organism

    folder = tmp_path_factory.mktemp("organism") / "moe"
    train_organism(tiny.model_copy(update={"experts": 4}), 0, folder, "tiny")
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many jobs each event of tests/workflow/test_reruns.py made run."""
    counts: dict[str, dict[str, int]] = {}
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for event, place, count in (value for name, value in report.user_properties if name == "event"):
            counts.setdefault(event, {})[place] = count
    if counts:
        terminalreporter.section("what reran (jobs)")
        for event, places in counts.items():
            terminalreporter.write_line(
                f"{event:52}" + "".join(f"{place}: {n:<6}" for place, n in sorted(places.items()))
            )
