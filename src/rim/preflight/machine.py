"""Is there room: on the disk, in memory, and for the name of the study. What is estimated is a warning at most."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from collections.abc import Collection
from pathlib import Path

from rim.config import runs
from rim.config.study import Study
from rim.core.errors import UserError
from rim.preflight.findings import Findings, error, warning
from rim.preflight.todo import Todo, job_of
from rim.workflow import costs, owners, plan

GPU_MEMORY = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]  # MiB, a line for each


def findings(study: Study, todo: Todo, on_cluster: bool = False, files: Collection[Path] = ()) -> Findings:
    """What this machine has too little of, and a name that another study has here.

    Args:
        files: those that the study is read from.
        on_cluster: the jobs run on other machines, about whose memory this one says nothing.
    """
    if plan.sized(study):  # of others nothing is estimated
        yield from _disk(study, todo)
        yield from () if on_cluster else _memory(study, todo)
    yield from _name(study, files)


def _disk(study: Study, todo: Todo) -> Findings:
    """Disks with less room than the jobs still to run are estimated to fill: this folder's, and that of the cache."""
    from huggingface_hub import constants

    needed: dict[Path, float] = {Path.cwd(): 0.0, Path(constants.HF_HUB_CACHE): 0.0}
    for name in plan.sized(study):
        model = study.models[name]
        if todo("fetch_model", name) and not Path(model.hub or "").is_dir():
            needed[Path(constants.HF_HUB_CACHE)] += costs.weights(model)
        for rule, each in runs.model_jobs(study).items():
            for run in (run for run in each if run[0] == name and todo(rule, job_of(run))):
                needed[Path.cwd()] += costs.disk(study, rule, name, run[1])
    disks: dict[int, tuple[Path, float]] = {}
    for place, size in needed.items():
        there = next(each for each in (place, *place.parents) if each.exists())
        first, before = disks.get(there.stat().st_dev, (there, 0.0))
        disks[there.stat().st_dev] = first, before + size
    for there, size in disks.values():
        free = shutil.disk_usage(there).free
        if size > free:
            what = f"about {size / 1e9:.0f} GB will be written to this disk, and {free / 1e9:.0f} GB are free"
            yield warning(
                f"{there}", f"{what}; `rim plan FILE` says what takes them, and finetune.checkpoints most often does"
            )


def _memory(study: Study, todo: Todo) -> Findings:
    """Models whose weights are larger than what this machine can load them into."""
    gpus = _gpus()
    room = sum(gpus) or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    there = (
        f"{len(gpus)} GPUs with {room / 1e9:.0f} GB together" if gpus else f"{room / 1e9:.0f} GB of memory and no GPU"
    )
    for name in plan.sized(study):
        size = costs.weights(study.models[name])
        if size > room and any(todo("generate_replies", job_of(run)) for run in runs.all_runs(study) if run[0] == name):
            what = f"its weights take {size / 1e9:.0f} GB in {study.models[name].dtype}, and this machine has {there}"
            yield warning(f"models.{name}", f"{what}; run it where there is more, or choose a smaller model")


def _gpus() -> list[float]:
    """Bytes of memory of each GPU of this machine."""
    try:
        listed = subprocess.run(GPU_MEMORY, capture_output=True, text=True, check=True, timeout=10).stdout
        return [float(line) * 2**20 for line in listed.split()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def _name(study: Study, files: Collection[Path]) -> Findings:
    """Artifacts or results of another study of the same name: one run from another file, or, where it is not known from which,
    one that has neither a model nor a dataset in common with this one."""
    from rim.workflow.records import check_records

    try:
        check_records(Path.cwd(), study.study)
    except UserError as problem:
        yield error("study", str(problem))
    data, results = Path("data", study.study), Path("results", study.study)
    models = {path.name for path in (data / "responses").glob("*")} | _models_in(results / "tables")
    datasets = {path.stem for path in (data / "datasets").glob("*.parquet")}
    here = " and ".join(str(each) for each in (data, results) if each.is_dir())
    cure = "which this one would overwrite; give this study another name"
    if not (models or datasets) or owners.is_own(study.study, files):
        return
    if files and (others := owners.owners(study.study)):
        yield error(
            "study", f"{here}: made from {' and '.join(others)}, {cure}, or delete that file if it is the same study"
        )
    elif not models & study.models.keys() and not datasets & study.datasets.keys():
        yield error(
            "study", f"{here}: another study of this name, with {', '.join(sorted(models or datasets)[:3])}, {cure}"
        )


def _models_in(tables: Path) -> set[str]:
    """The models that the tables of results tell of; all are in the one of rates, which every study has."""
    if not (file := tables / "rates.csv").is_file():
        return set()
    with file.open(encoding="utf-8", newline="") as stream:
        return {row["model"] for row in csv.DictReader(stream) if row.get("model")}
