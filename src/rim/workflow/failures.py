"""Failed jobs on the screen: one line when a job fails, and all of them once more, last, when the run has ended.

A step that fails says why in one line in its log, which is read there. Snakemake adds a dozen: an exception, and the inputs,
outputs and command of the job. These go to its own log only (.snakemake/log), or to the screen too with `--verbose`.
"""

from __future__ import annotations

import logging
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.common import LogEvent

FAILED_COMMAND = re.compile(
    r"^RuleException:\nCalledProcessError .* --log (\S+).*' "
    r"(?:returned non-zero exit status (?P<status>\d+)|died with <Signals\.(?P<signal>\w+))",
    re.DOTALL,
)
ERROR = re.compile(r"^\w+: error: (.+)$", re.MULTILINE)
INTERRUPTED = re.compile(r"^\w+: interrupted;", re.MULTILINE)
TRACEBACK = re.compile(r"^Traceback \(most recent call last\):\n.*", re.MULTILINE | re.DOTALL)
SAID_ANYWAY = (
    "Exiting because a job execution failed. Look above for error messages",
    "WorkflowError:\nAt least one job did not complete successfully.",
)


class FailedJobs(logging.Filter):
    """A filter of what Snakemake writes on the screen, which remembers how the commands of jobs ended.

    Args:
        workflow: Snakemake's.
        screen: the handler that is filtered.
    """

    def __init__(self, workflow: Any, screen: logging.Handler) -> None:
        super().__init__()
        self.workflow, self.screen = workflow, screen
        self.folder, self.began = Path.cwd(), time.time()  # Snakemake is elsewhere again when it ends
        self.endings: dict[str, str] = {}  # by log

    def filter(self, record: Any) -> bool:
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_ERROR:
            for line in self._on_failure(record):
                facts = {"msg": line, "levelname": "ERROR", "levelno": logging.ERROR, "jobid": record.jobid}
                self.screen.handle(logging.makeLogRecord(facts))
            return False
        if event == LogEvent.ERROR and (failed := FAILED_COMMAND.match(record.getMessage())):
            self.endings[failed[1]] = how_it_ended(failed["status"], failed["signal"])
            return False
        return record.getMessage() not in SAID_ANYWAY

    def _on_failure(self, record: Any) -> Iterator[str]:
        """What is shown when a job fails: where it went wrong if that is a defect, and which job it was, and why."""
        job = next((each for each in self.workflow.dag.jobs if self.workflow.dag.jobid(each) == record.jobid), None)
        if job is None:
            return
        text, log = self._read_log(job)
        if INTERRUPTED.search(text):
            return
        if "external_jobid" in record.aux:
            self.endings.setdefault(log, (record.rule_msg or "").partition("For further error details")[0].strip())
        if self.workflow.output_settings.show_failed_logs:
            yield text.rstrip()
        elif not ERROR.search(text) and (traceback := TRACEBACK.search(text)):
            yield traceback[0].rstrip()
        yield f"Failed: {name_of(job)}: {self.reason(text, log)} ({log})"

    def reason(self, text: str, log: str) -> str:
        """Why a job failed, in one line: its own words, or how its command ended."""
        if errors := ERROR.findall(text):
            return str(errors[-1])
        if traceback := TRACEBACK.search(text):
            return traceback[0].rstrip().splitlines()[-1]
        return self.endings.get(log) or "its log says nothing of an error"

    def summary(self) -> Iterator[str]:
        """The jobs that failed for good, one line each; nothing of those that were interrupted."""
        failed = getattr(self.workflow.scheduler, "failed", ())
        jobs = [each for job in failed for each in (job.jobs if job.is_group() else [job])]
        lines = []
        for job in sorted(jobs, key=name_of):
            text, log = self._read_log(job)
            if not INTERRUPTED.search(text):
                lines.append(f"  {name_of(job)}: {self.reason(text, log)} ({log})")
        if lines:
            yield f"\n{len(lines)} {'job' if len(lines) == 1 else 'jobs'} failed:"
            yield from lines

    def _read_log(self, job: Any) -> tuple[str, str]:
        """What a job wrote into its log in this run, and the log's name."""
        log = next(map(str, job.log), "")
        path = self.folder / log
        try:
            return path.read_text(errors="replace") if path.stat().st_mtime >= self.began else "", log
        except OSError:
            return "", log


def watch(workflow: Any) -> FailedJobs | None:
    """Filter what is written on the screen, unless all is wanted there or this is a job's own process on a node."""
    handlers = [*workflow.logger_manager.get_log_handlers(), *logging.getLogger("snakemake.logging").handlers]
    screens = [each for each in handlers if getattr(each, "writes_to_stream", each.name == "DefaultStreamHandler")]
    if not screens or workflow.output_settings.verbose or not workflow.is_main_process:
        return None
    failed = FailedJobs(workflow, screens[0])
    screens[0].addFilter(failed)
    return failed


def name_of(job: Any) -> str:
    """A job as people know it: its rule and its wildcards."""
    return " ".join([job.rule.name, *(f"{name}={value}" for name, value in job.wildcards_dict.items())])


def how_it_ended(status: str | None, signal_name: str | None) -> str:
    """The end of a command that said nothing, in words."""
    if status and int(status) - 128 in set(signal.Signals):  # as a shell tells it
        signal_name = signal.Signals(int(status) - 128).name
    if signal_name == "SIGKILL":
        return "was killed (SIGKILL), most often because the machine's memory was full; give it more, or run fewer jobs at once"
    return f"was ended by {signal_name}" if signal_name else f"ended with exit status {status}"
