"""From which jobs results come, read from Snakemake's records (see `rim.core.receipts`) and its benchmark files.

A record names, for one output, the rule, inputs, log and times of the job that made it. Walking back from a study's
tables gives the graph of its jobs; comparing their times with the start of a run tells what ran in it and what was reused.
"""

from __future__ import annotations

import base64
import csv
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rim.core.errors import UserError
from rim.core.hashes import sha256

if TYPE_CHECKING:
    import polars as pl


TIMES = {"wall": "s", "cpu": "cpu_time", "memory": "max_rss"}  # seconds, seconds, MB; names in benchmark files


@dataclass(frozen=True)
class Job:
    """One job; rule and log name it."""

    rule: str
    log: str
    inputs: frozenset[str] = field(compare=False)
    code: str = field(compare=False)  # fingerprint of the code it ran
    ended: float = field(compare=False)  # seconds since the epoch


@dataclass
class Lineage:
    """The jobs behind some files: for each output that was walked past, its job."""

    made_by: dict[str, Job] = field(default_factory=dict)

    @cached_property
    def jobs(self) -> list[Job]:
        return list(dict.fromkeys(self.made_by.values()))

    def direct_upstream(self, job: Job) -> set[Job]:
        """The jobs whose outputs a job reads."""
        return {self.made_by[path] for path in job.inputs if path in self.made_by} - {job}

    def upstream(self, path: str) -> set[Job]:
        """All jobs that a file comes from."""
        found: set[Job] = set()
        waiting = [self.made_by[path]] if path in self.made_by else []
        while waiting:
            job = waiting.pop()
            if job not in found:
                found.add(job)
                waiting += self.direct_upstream(job)
        return found


def _record(records: Path, path: str) -> dict[str, Any]:
    """Snakemake's record of the job that made a file; empty where there is none, or one that was torn by a kill.

    A name of more than 255 characters lies in folders, as Snakemake splits it.
    """
    name = base64.urlsafe_b64encode(path.encode()).decode()
    parts = [name[i : i + 254] for i in range(0, len(name), 254)]
    try:
        found: dict[str, Any] = json.loads(Path(records, *(f"@{part}" for part in parts[:-1]), parts[-1]).read_text())
    except (OSError, ValueError):
        return {}
    return found


def trace(records: Path, targets: Iterable[str]) -> Lineage:
    """Walk back from files through the records of the jobs that made them; a file without a record is a source."""
    lineage, waiting = Lineage(), list(targets)
    while waiting:
        path = waiting.pop()
        if path in lineage.made_by:
            continue
        if found := _record(records, path):
            code = next((param.strip("'").split()[0] for param in found["params"] if '"dependencies"' in param), "")
            inputs = frozenset(found["input"])
            lineage.made_by[path] = Job(found["rule"], " ".join(found["log"]), inputs, code, found["endtime"])
            waiting += inputs
    return lineage


def run_began(logs: Path) -> float:
    """When the latest run of the workflow began, from the name of its log file; infinity when there is none."""
    names = sorted(path.name for path in logs.glob("*.snakemake.log"))
    return datetime.strptime(names[-1][:17], "%Y-%m-%dT%H%M%S").timestamp() if names else float("inf")


def benchmark_of(job: Job, timings: Path) -> Path:
    """The benchmark file of a job: it lies under `timings` as the log lies under logs/{study}."""
    return timings / Path(*Path(job.log).parts[2:]).with_suffix(".tsv")


def read_timing(file: Path) -> dict[str, float]:
    """Wall and CPU seconds and peak memory of one job; nothing where it was not measured.

    Raises:
        UserError: the file is not one of Snakemake's, or torn.
    """
    if not file.is_file():
        return {}
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            row = next(csv.DictReader(stream, delimiter="\t"))
        return {
            name: _number(row[column] if name == "wall" else row.get(column, "NA")) for name, column in TIMES.items()
        }
    except (StopIteration, KeyError, ValueError, csv.Error):  # UnicodeDecodeError is a ValueError
        raise UserError(
            f"{file}: holds no times of a job, as Snakemake writes them when one ends; delete it, and its job counts as not timed"
        ) from None


def _number(cell: str | None) -> float:
    """A cell of a benchmark file; 0 where nothing was measured.

    Raises:
        ValueError: it is not the number of seconds or bytes that it should be.
    """
    if cell in ("NA", "-"):
        return 0.0
    number = float(cell or "")
    if not 0 <= number < math.inf:
        raise ValueError(cell)
    return number


def read_timings(folder: Path) -> pl.DataFrame:
    """Jobs, wall and CPU seconds, and peak memory per rule, from the benchmark files under `folder`/{rule}/."""
    import polars as pl

    rows = []
    for rule in sorted(path for path in folder.glob("*") if path.is_dir()):
        if times := [read_timing(file) for file in sorted(rule.rglob("*.tsv"))]:
            total = {name: sum(each[name] for each in times) for name in ("wall", "cpu")}
            rows.append(
                {"rule": rule.name, "jobs": len(times), **total, "memory": max(each["memory"] for each in times)}
            )
    numbers = {name: pl.Float64 for name in TIMES}
    return pl.DataFrame(rows, schema={"rule": pl.String, "jobs": pl.Int64, **numbers})


def mean_times(folder: Path) -> dict[str, float]:
    """Mean wall seconds of the jobs of each rule that has benchmark files under `folder`/{rule}/."""
    return {rule: wall / jobs for rule, jobs, wall in read_timings(folder).select("rule", "jobs", "wall").iter_rows()}


def origins(lineage: Lineage, tables: list[Path], timings: Path) -> list[dict[str, Any]]:
    """For each table its hash, the code that made it, and the jobs it comes from with their wall and CPU seconds."""
    times = {job: read_timing(benchmark_of(job, timings)) for job in lineage.jobs}
    rows = []
    for path in tables:
        jobs = lineage.upstream(str(path))
        total = {name: sum(times[job].get(name, 0) for job in jobs) for name in ("wall", "cpu")}
        own = lineage.made_by.get(str(path))
        rows.append({"table": path.name, "hash": sha256(path)[:12], "rule": own.rule if own else "–",
                     "code": own.code[:12] if own else "–", "jobs": len(jobs), **total})  # fmt: skip
    return rows


def format_run_summary(lineage: Lineage, ran: int, began: float, seconds: float, report: str) -> str:
    """The line at the end of a run: how many jobs ran, what was reused, how long it took, where the report is.

    Args:
        ran: all jobs of the run, with those that nothing comes from, as the first trials of models.
    """
    minutes, rest = divmod(round(seconds), 60)
    if report not in lineage.made_by:
        return f"What was asked for is made, in {minutes}:{rest:02d} min; the report comes with the whole study"
    earlier = sum(job.ended < began for job in lineage.jobs)
    jobs = f"{ran} job{'s' * (ran != 1)} ran, {earlier} of earlier runs {'was' if earlier == 1 else 'were'} reused"
    return f"Done in {minutes}:{rest:02d} min: {jobs}. The report is {report}"
