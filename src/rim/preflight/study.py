"""All that can be known of a study before its first job, in seconds: for `rim check`, every dry run and every start."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain
from pathlib import Path

from rim.config.study import Study
from rim.preflight import datasets, endpoints, machine, models
from rim.preflight.findings import Finding, in_order
from rim.preflight.todo import Todo, every_job


def findings(
    study: Study, todo: Todo = every_job, on_cluster: bool = False, files: Collection[Path] = ()
) -> list[Finding]:
    """What is wrong, or may be, errors first.

    Args:
        todo: the jobs that are to run; what only others need is not asked for.
        on_cluster: the jobs run on other machines than this one.
        files: those that the study is read from.
    """
    return in_order(
        chain(
            datasets.findings(study, todo),
            models.findings(study, todo),
            endpoints.findings(study, todo, on_cluster),
            machine.findings(study, todo, on_cluster, files),
        )
    )
