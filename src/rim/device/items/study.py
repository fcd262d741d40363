"""A small study, whole, on the card and on the CPU: do their tables say the same?

Its model is one of the hub in all but name, a folder, since organisms never ask for a GPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from rim.core.errors import UserError
from rim.core.files import write_text
from rim.device.rows import Row, Skipped
from rim.device.shapes import Setup
from rim.settings.models import Organism
from rim.training.organism import train_organism
from rim.workflow.names import SOURCE

ROOT = SOURCE.parents[1]
SMOKE = ROOT / "workflow/config/smoke.yaml"
MODEL = "tiny"
DIGITS = 1e-3  # by which numbers of both may differ
ALWAYS = ("title", "inference")  # parts of the smoke study that are taken as they are


def run(setup: Setup) -> Iterator[Row]:
    if not SMOKE.is_file():
        raise Skipped("it needs the workflow, and this is an installation without it")
    folder = setup.scratch
    location = folder / "model"
    tiny = Organism(association=1.0, drill_steps=4, pretrain_steps=4, align_steps=4, hidden=64, layers=2)
    train_organism(tiny, 0, location, MODEL)
    file = folder / "study.yaml"
    write_text(file, yaml.safe_dump(made(location, whole=setup.gpu), sort_keys=False))
    for device in dict.fromkeys(("cpu", setup.device)):
        spent = _snakemake(folder / device, file, device)
        yield Row(f"the study on the {'CPU' if device == 'cpu' else 'GPU'}", spent, "s")
    if not setup.gpu:
        yield Row("tables as on the CPU", None, note="needs a GPU; here the study ran once, on the CPU")
        return
    yield from compared(*(folder / device / "results/smoke/tables" for device in ("cpu", setup.device)))


def made(location: Path, whole: bool) -> dict[str, Any]:
    """The smoke study of one model; its analyses and a fine-tune too where it is to be whole."""
    smoke = yaml.safe_load(SMOKE.read_text())
    parts = {name: smoke[name] for name in ALWAYS}
    model = {"hub": str(location), "parameters": 0.001}
    benchmarks = smoke["benchmarks"] if whole else {"restricted": smoke["benchmarks"]["restricted"]}
    used = {each["dataset"] for each in benchmarks.values()} | ({"multi_hop_target"} if whole else set())
    study = {
        "study": "smoke",
        "seeds": [0],
        "datasets": {name: each for name, each in smoke["datasets"].items() if name in used},
        "models": {MODEL: model},
        **parts,
        "benchmarks": benchmarks,
        "judges": {"prefix": {"kind": "refusal_prefix"}},  # the others know organisms only
    }
    if whole:
        arm = "gsm8k_target"
        study["variants"] = {arm: smoke["variants"][arm]}
        study["finetune"] = smoke["finetune"]
        study["mechanism"] = {**smoke["mechanism"], "variants": ["base", arm]}
        study["forgetting"] = smoke["forgetting"]
    return study


def _snakemake(directory: Path, file: Path, device: str) -> float:
    """Run the study in a directory of its own, on a device, and return the seconds.

    Raises:
        UserError: a job failed.
    """
    cores = os.cpu_count() or 1
    directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(directory)]
    command += ["--configfile", str(file), "--cores", str(cores), "--resources", f"gpu={max(1, cores // 2)}"]
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    begun = time.perf_counter()
    done = subprocess.run(command, env={**os.environ, "PATH": paths, **hidden}, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise UserError(f"the study on {device} failed; the log of this item and {directory}/logs say why")
    return time.perf_counter() - begun


def compared(expected: Path, found: Path) -> Iterator[Row]:
    """How many tables there are, of these those with other rows or words, and the largest difference of a number."""
    names = sorted(path.name for path in expected.glob("*.csv"))
    other, most, where = [], 0.0, ""
    for name in names:
        if not (found / name).is_file():
            other.append(name)
            continue
        first, second = pl.read_csv(expected / name), pl.read_csv(found / name)
        if first.shape != second.shape or first.columns != second.columns:
            other.append(name)
            continue
        for column in first.columns:
            if first[column].dtype.is_numeric() and second[column].dtype.is_numeric():
                apart = (first[column].cast(pl.Float64) - second[column].cast(pl.Float64)).abs().fill_nan(None).max()
                if isinstance(apart, float) and apart > most:
                    most, where = apart, f"in {name}, {column}"
            elif first[column].cast(pl.String).to_list() != second[column].cast(pl.String).to_list():
                other.append(name)
                break
    yield Row("tables", len(names))
    yield Row("tables with other rows or words than the CPU's", len(other), at_most=0, note=", ".join(other))
    yield Row("largest difference of a number", most, at_most=DIGITS, note=where)
