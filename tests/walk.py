"""Run the jobs that Snakemake plans without Snakemake: two processes, each of which has imported everything once.

`python -m tests.walk PLAN` in the folder of a study, PLAN being the output of `snakemake --dry-run --printshellcmds`. A job
begins when those that make its inputs are done. Starting `rim` for each, as Snakemake does, takes seconds more per job.
"""

import importlib
import json
import multiprocessing
import os
import shlex
import sys
import traceback
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from rim import cli
from rim.core import gpus
from tests.workflow.conftest import commands

LAST = 6  # lines of what a job said that are told when it fails
USED = ("altair", "datasets", "math_verify", "openai", "peft", "scipy.stats", "torch", "transformers", "vl_convert")
Job = tuple[str, ...]  # the words of a command after `rim`


def waits_for(jobs: list[Job]) -> dict[Job, set[Job]]:
    """Which of these jobs make the inputs of each."""
    told = {job: json.loads(Path(job[1]).read_text()) for job in jobs}
    maker = {file: job for job in jobs for file in told[job]["outputs"]}
    return {job: {maker[file] for file in told[job]["inputs"] if file in maker} for job in jobs}


def run(job: Job) -> str:
    """Run one job; what it said in its log and beside it, if it failed."""
    os.environ[gpus.VISIBLE] = ""
    said, log = StringIO(), Path(job[job.index("--log") + 1])
    with redirect_stderr(said):
        try:
            if cli.main(list(job)) == 0:
                return ""
        except Exception:
            traceback.print_exc()
    return "\n".join((log.read_text() + said.getvalue()).splitlines()[-LAST:])


def import_everything() -> None:
    """Import all steps, and what they import when they are run."""
    for name in (*(f"rim.steps.{step}" for step in cli.step_files()), *USED):
        importlib.import_module(name)


def walk(jobs: list[Job], processes: int) -> dict[str, str]:
    """Run the jobs; what those that failed said, by their logs. What follows from a failed one is left out."""
    left = waits_for(jobs)
    failed: dict[str, str] = {}
    running: dict[Future[str], Job] = {}
    with ProcessPoolExecutor(processes, multiprocessing.get_context("fork")) as pool:
        while left or running:
            for job in [job for job, others in left.items() if not others]:
                del left[job]
                running[pool.submit(run, job)] = job
            if not running:  # the rest follows from what failed
                break
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                job = running.pop(each)
                if said := each.result():
                    failed[job[job.index("--log") + 1]] = said
                    continue
                for others in left.values():
                    others.discard(job)
    return failed


if __name__ == "__main__":
    planned = [tuple(shlex.split(line)[1:]) for line in commands(Path(sys.argv[1]).read_text())]
    import_everything()
    failures = walk(planned, processes=2)
    print(json.dumps({"planned": len(planned), "failed": failures}))
