"""Jobs that need not run after all: what they read was made again and came out as it was.

Snakemake plans every job downstream of one that runs. But a job that runs again, say after a harmless edit of its code,
mostly writes the bytes that were there before. So whenever a job ends, those that waited for it and are ready now are
looked at again: one that has its outputs, whose params and inputs are those of its record, and of whose inputs every one
has the recorded content, is taken off the plan, and the jobs that waited for it are looked at likewise. A job that is
forced, or has lost an output or its record, runs as planned.

Snakemake has no hook for this; what is used of its DAG (pinned below 9.28) is `finish`, which its scheduler calls when a
job has ended, and the sets of jobs that `finish` keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def stop_where_nothing_changed(dag: Any, tell: Callable[[str], object]) -> None:
    """From now on, take jobs off the plan of a DAG when what they read turns out unchanged.

    Args:
        dag: Snakemake's, planned and not begun.
        tell: is given a line about each such job.
    """
    finish = dag.finish

    async def finish_and_look(job: Any, **options: Any) -> bool:
        more: bool = await finish(job, **options)
        waiting = list(dag.depending[job])
        while waiting:
            each = waiting.pop()
            if each in dag._ready_jobs and await _unchanged(dag, each):
                tell(f"Not run again, since what it reads came out as before: {_name(each)}")
                waiting += _take_off(dag, each)
        return more

    dag.finish = finish_and_look


def _name(job: Any) -> str:
    return " ".join([job.rule.name, *(f"{name}={value}" for name, value in job.wildcards_dict.items())])


async def _unchanged(dag: Any, job: Any) -> bool:
    """Whether the record of a job that is ready to run describes what would be made, and it is there."""
    records = dag.workflow.persistence
    if not job.output or job.group is not None or _forced(dag, job):
        return False
    if not all(Path(path).exists() for path in job.output) or await records.incomplete(job):
        return False
    if not records.has_metadata(job) or records.params_changed(job) or any(records.input_changed(job)):
        return False
    return all(file.is_ancient or records.is_as_recorded(job, file) for file in job.input)


def _forced(dag: Any, job: Any) -> bool:
    return (job.rule in dag.forcerules and job not in dag.omitforce) or not dag.forcefiles.isdisjoint(job.output)


def _take_off(dag: Any, job: Any) -> list[Any]:
    """Take a ready job off the plan; return the jobs that waited for it."""
    dag._ready_jobs.discard(job)
    dag._needrun.discard(job)
    dag._len -= 1
    waiting = [] if dag.in_until(job) else [each for each in dag.depending[job] if dag.needrun(each)]
    for each in waiting:
        dag._n_until_ready[each] -= 1
    dag.update_ready(waiting)
    return waiting
