"""A run on the screen: one bar on a terminal, one line per job in a file; Snakemake's own words are in its log.

The bar counts jobs, estimates the time left, and shows under it how far the running jobs are, which it reads in their logs:
jobs write there and never on the screen, so that nothing tears the bar. A dry run, `--verbose` and `--printshellcmds` show what
Snakemake shows.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

BANNERS = (  # what Snakemake says of itself, and is not shown
    "Assuming unrestricted shared filesystem", "Building DAG of jobs", "host: ", "Using shell: ", "Conda environments: ignored",
    "Some jobs were triggered by provenance information",  # and advice against that, after which results may be old ones
)  # fmt: skip
INTERRUPTION = "Terminating processes on user request"
STOPS = (INTERRUPTION, "Will exit after finishing")  # what it does when it is interrupted
SHOWN_JOBS = 8  # running jobs under the bar
TAIL = 2000  # bytes at the end of a log in which its last count lies
COUNTED = re.compile(r"\b\d+/\d+, [\d.]+/s, [^\r\n]*")  # how far a job is, in a line of `rim.core.progress.counter`


def tell(line: str, **facts: Any) -> None:
    """Put a line on the screen, and into Snakemake's log.

    Args:
        facts: what the screen is told beside it: `seconds`, the mean time of a job of each rule, where it is known.
    """
    from snakemake.logging import logger

    logger.info(line, extra={"for_people": True, **facts})


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def clock(seconds: float) -> str:
    """Seconds as a clock shows them."""
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours}:{minutes:02d}:{int(seconds) % 60:02d}" if hours else f"{minutes}:{int(seconds) % 60:02d}"


@dataclass
class RunningJob:
    """A job that was handed out, and since when."""

    rule: str
    wildcards: dict[str, str]
    log: Path
    began: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        """The job as people know it: its rule and its wildcards."""
        return " ".join([self.rule, *(f"{name}={value}" for name, value in self.wildcards.items())])

    @property
    def short_name(self) -> str:
        """The same by its log, which is logs/{study}/{rule}/{job}.log."""
        job = "/".join(self.log.parts[3:]).removesuffix(".log")
        return self.rule if job == "all" else f"{self.rule} {job}"

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def how_far(self) -> str:
        """The last count in its log."""
        try:
            with self.log.open("rb") as stream:
                stream.seek(max(0, self.log.stat().st_size - TAIL))
                counts = COUNTED.findall(stream.read().decode(errors="replace"))
        except OSError:
            return ""
        return "".join(each for each in counts[-1] if each.isprintable()) if counts else ""


@dataclass
class Count:
    """How many jobs are done, and what the others may take, by the mean time of the jobs of each rule."""

    left: Counter[str] = field(default_factory=Counter)  # jobs by rule
    total: int = 0
    done: int = 0
    began: float = field(default_factory=time.monotonic)
    earlier: dict[str, float] = field(default_factory=dict)  # mean seconds by rule, of earlier runs
    taken: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # seconds in this run
    work: float = 0.0  # seconds of the jobs that are done

    def end(self, job: RunningJob) -> None:
        self.done += 1
        self.left[job.rule] -= 1
        self.taken[job.rule].append(job.seconds)
        self.work += job.seconds

    def mean(self, rule: str) -> float | None:
        taken = self.taken.get(rule)
        return sum(taken) / len(taken) if taken else self.earlier.get(rule)

    def seconds_left(self, running: list[RunningJob]) -> float | None:
        """What is left, at the speed of this run; None while the times of most jobs that are left are not known."""
        means = {rule: mean for rule in +self.left if (mean := self.mean(rule)) is not None}
        jobs, known = sum((+self.left).values()), sum(self.left[rule] for rule in means)
        begun = sum(min(job.seconds, means.get(job.rule, job.seconds)) for job in running)
        if not known or known < jobs / 2 or not self.work + begun:
            return None
        speed = (self.work + begun) / max(time.monotonic() - self.began, 1e-9)
        work = sum(self.left[rule] * mean for rule, mean in means.items()) / known * (self.total - self.done)
        return max(work - begun, 0) / speed


class Screen(LogHandlerBase):
    """Snakemake's handler of what goes on the screen; the filter and the words of Snakemake come with it."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = False
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        settings: Any = self.common_settings
        self.stream = sys.stdout if settings.stdout else sys.stderr
        self.as_snakemake = settings.dryrun or settings.verbose or settings.printshellcmds
        self.jobs: dict[int, RunningJob] = {}
        self.count = Count()
        self.live: Live | None = None
        if not settings.quiet and not settings.verbose:
            print("Reading the study and working out what there is to do …", file=self.stream, flush=True)

    @cached_property
    def console(self) -> Console:
        from rich.console import Console

        return Console(file=self.stream, no_color=self.common_settings.nocolor or None, highlight=False, emoji=False)

    @cached_property
    def snakemake(self) -> logging.Handler:
        """What writes as Snakemake does."""
        from snakemake.logging import ColorizingTextHandler

        handler: logging.Handler = ColorizingTextHandler(self.common_settings.nocolor, self.stream, self.formatter)
        return handler

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "event", None)
        if not self.common_settings.verbose and (
            event == LogEvent.WORKFLOW_STARTED or record.getMessage().startswith(BANNERS)
        ):
            return
        if self.as_snakemake:
            self.snakemake.emit(record)
        elif event in REACTIONS:
            REACTIONS[event](self, record)
        elif event not in UNSEEN:
            self._tell(record)

    def _tell(self, record: logging.LogRecord) -> None:
        """Show a line: before the jobs any, later ours, warnings and errors. That of a job that failed names the job."""
        self.jobs.pop(getattr(record, "jobid", -1), None)
        self.count.earlier.update(getattr(record, "seconds", {}))
        text = self.format(record)
        if (
            record.levelno > logging.INFO
            or not self.count.total
            or hasattr(record, "for_people")
            or text.startswith(STOPS)
        ):
            self._write(text, "red" if record.levelno >= logging.ERROR else "")

    def _write(self, text: str, style: str = "") -> None:
        if text.strip() not in ("", "None"):
            self.console.print(text, style=style, markup=False, soft_wrap=True)

    def _plan(self, record: Any) -> None:
        jobs = {rule: count for rule, count in record.stats.items() if rule not in ("all", "total")}
        self.count = Count(Counter(jobs), sum(jobs.values()))
        self.aside = record.stats["total"] - self.count.total  # `all` makes nothing

    def _begin(self, record: Any) -> None:
        if record.rule_name != "all":
            log = Path(record.log[0] if record.log else "")
            self.jobs[record.jobid] = RunningJob(record.rule_name, dict(record.wildcards), log)
        if self.live is None and self.count.total and self.console.is_terminal and not self.console.is_dumb_terminal:
            from rich.live import Live

            self.live = Live(
                console=self.console, get_renderable=self.picture, refresh_per_second=2, transient=True,
                redirect_stdout=sys.stdout.isatty(),
            )  # fmt: skip
            self.live.start()

    def _end(self, record: Any) -> None:
        if job := self.jobs.pop(record.job_id, None):
            self.count.end(job)
            if self.live is None:
                now = time.strftime("%H:%M:%S")
                self._write(f"{now} {self.count.done}/{self.count.total} {job.name} ({duration(job.seconds)})")

    def _count(self, record: Any) -> None:
        self.count.total = max(record.total - self.aside, self.count.done)  # jobs may turn out not to be needed
        if record.done >= record.total:
            self._stop()

    def picture(self) -> RenderableType:
        """The bar, and a line for each running job."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        running = list(self.jobs.values())
        left = self.count.seconds_left(running)
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(max(self.count.total, 1), self.count.done, width=30),
            f"{self.count.done} of {self.count.total} jobs, {clock(time.monotonic() - self.count.began)}",
            f"about {duration(left)} left" if left is not None else "",
        )
        lines = Table.grid(padding=(0, 1))
        lines.add_column(no_wrap=True, overflow="ellipsis")
        lines.add_column(no_wrap=True, overflow="ellipsis")
        for job in running[:SHOWN_JOBS]:
            lines.add_row(*map(Text, (f"  {job.short_name}", job.how_far() or duration(job.seconds))), style="dim")
        more = len(running) - SHOWN_JOBS
        return Group(bar, lines, f"  and {more} more") if more > 0 else Group(bar, lines)

    def _stop(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None

    def close(self) -> None:
        self._stop()
        super().close()


REACTIONS = {
    LogEvent.RUN_INFO: Screen._plan,
    LogEvent.JOB_INFO: Screen._begin,
    LogEvent.JOB_FINISHED: Screen._end,
    LogEvent.PROGRESS: Screen._count,
}
UNSEEN = (LogEvent.JOB_STARTED, LogEvent.SHELLCMD, LogEvent.RESOURCES_INFO, LogEvent.GROUP_INFO, LogEvent.RULEGRAPH)
