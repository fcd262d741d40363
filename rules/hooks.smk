"""What is said before the first job, at the end of a dry run, and when jobs fail.

Before: what is wrong, and what could be pulled instead of made. Of a dry run: the bill too. Of failed jobs: one line each,
last on the screen, as is what to do where a study is named as if it were to be made.
"""

import atexit
from contextlib import suppress
from functools import partial

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

from rim.workflow import failures, pullable
from rim.workflow.early_cutoff import stop_where_nothing_changed
from rim.workflow.lineage import mean_times
from rim.workflow.screen import INTERRUPTION, duration, tell


def pull_advice():
    """The command that fetches what DVC's pointers name and jobs would make again; None when there is nothing.

    It is only advice: where DVC or its remote fails, the jobs can still run.
    """
    planned = pullable.read_plan(workflow.dag)
    if not planned.missing:
        return None
    try:
        listing = pullable.read_listing(Path.cwd(), NAME)
        sources = [each.path for dataset in STUDY.datasets.values() for each in dataset.sources if each.path]
        return listing and pullable.advise(planned, partial(pullable.replan, workflow), listing, sources)
    except Exception as error:  # whatever the library of a remote may raise
        return f"dvc: cannot tell what could be pulled instead of made: {error}"


def tell_what_runs():
    """How many jobs, about how long where all were timed before, and where the report will be."""
    jobs = [job for job in workflow.dag.needrun_jobs() if not job.rule.norun]
    means = {}
    with suppress(UserError):  # a torn file of times; the report tells of it
        means = mean_times(Path(TIMING))
    line = f"{NAME}: {len(jobs)} job{'s' * (len(jobs) != 1)} to run"
    if workflow.local_exec and all(job.rule.name in means for job in jobs):
        work = sum(means[job.rule.name] * job.threads for job in jobs) / workflow.cores
        line += f", which took about {duration(work)} before"
    tell(f"{line}; the report will be {final_targets()[0]}", seconds=means)
    if bill := plan.summary(STUDY).rstrip("\n"):
        tell(bill)


BEFORE, AFTER = [], []  # lines around the bill of a dry run
INTERRUPTED = []  # what Snakemake says when it is interrupted, which has no hook either


def listen(record):
    """Listen for Snakemake's table of the jobs of a dry run, which has no hook: at exit, no thread can be started."""
    if record.getMessage().startswith(INTERRUPTION):
        INTERRUPTED.append(record)
    if getattr(record, "event", None) == LogEvent.RUN_INFO and workflow.dryrun and not AFTER:
        AFTER.append(pull_advice())
        BEFORE.extend(preflight_lines())
    return True


def end_dry_run():
    if workflow.dryrun and workflow.scheduler:  # there is one when the jobs to run are known
        for line in filter(None, [*BEFORE, plan.summary(STUDY), *AFTER]):
            print(line.rstrip("\n"), file=sys.stderr)


def end_failed_run():
    for line in FAILED_JOBS.summary() if FAILED_JOBS else ():
        print(line, file=sys.stderr)


def end_without_study():
    settings = workflow.dag_settings  # Snakemake tells the targets only after it has read all rules
    for target in sorted(settings.targets) if settings else ():
        if Path(target).suffix in (".yaml", ".yml"):
            print(f"{target}: is no result; to run the study in it, write --configfile {target}", file=sys.stderr)


def end_interrupted_run():
    """End with the exit status of an interrupted command, as every `rim` does, and not with that of a failed one."""
    if INTERRUPTED:
        sys.exit(130)


logger.addFilter(listen)
FAILED_JOBS = failures.watch(workflow)
atexit.register(end_dry_run)
atexit.register(end_failed_run)
atexit.register(end_without_study)


onstart:  # once, before any job
    tell_what_runs()
    if advice := pull_advice():
        tell(advice)
    preflight_checks()
    stop_where_nothing_changed(workflow.dag, tell)
