"""The command `rim`: tools for people (`rim.tools`) and the steps of the workflow (`rim.steps`), one per job.

This is the one place where errors become exit codes: a mistake of the user or a full disk is one line, never a traceback.
Nothing heavy is imported before the command is known.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import errno
import importlib
import inspect
import os
import pkgutil
import re
import shutil
import sys
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rim import __version__, steps
from rim.core import gpus, progress, sums
from rim.core.errors import UserError
from rim.tools import audit, check, check_gpu, check_model, config, export_inspect, new, plan, show, validate_judges


class Tool(Protocol):
    """A module of `rim.tools`. Its docstring is its help, and the first line of that stands in the help of `rim`."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


GROUPS: dict[str, dict[str, Tool]] = {  # in the order in which one needs them
    "Study a model in one command": {"audit": audit},
    "Study your own question, in this order": {
        "new": new,
        "check-model": check_model,
        "check": check,
        "plan": plan,
        "check-gpu": check_gpu,
    },
    "Look at what came out": {"show": show, "export-inspect": export_inspect, "validate-judges": validate_judges},
    "Look things up": {"config": config},
}
TOOLS = {name: tool for group in GROUPS.values() for name, tool in group.items()}
LISTS = {
    "steps": "List the steps of the workflow: its jobs, which Snakemake starts with the right files.",
    "completion": 'Print what lets a shell complete these commands; in ~/.bashrc: eval "$(rim completion bash)", or zsh.',
}
STORY = """\
rim asks whether making a language model reason better makes it less safe, where in the model that happens, and whether the
answer holds up. A study is one YAML file, and Snakemake runs it: `snakemake --cores 2 --configfile FILE` makes its tables,
figures and report, and does again only what has changed. The commands here help before and after such a run.
"""
DISK_FULL = ("No space left on device", "File too large", "file write failed", "unexpected pos")
FILE_ERRORS = {
    errno.ENOENT: "there is no such file or folder; check the path",
    errno.EISDIR: "is a folder, and a file is expected; check the path",
    errno.ENOTDIR: "a part of this path is a file, and a folder is expected; check the path",
    errno.EACCES: "this user may not read or write it; change its permissions or give another path",
    errno.EROFS: "lies on a disk that is read-only; give another path",
}


def step_files() -> dict[str, Path]:
    """The file of every step, by name."""
    [folder] = steps.__path__
    return {module.name: Path(folder, f"{module.name}.py") for module in pkgutil.iter_modules([folder])}


def summary(docstring: str | None) -> str:
    """The first line of a docstring."""
    return (docstring or "").partition("\n")[0]


def overview() -> str:
    """The help of `rim` itself."""
    groups = {title: {name: summary(tool.__doc__) for name, tool in group.items()} for title, group in GROUPS.items()}
    groups[list(groups)[-1]] |= LISTS
    indent = max(len(name) for group in groups.values() for name in group) + 4
    return "\n".join(
        [
            "usage: rim COMMAND …        `rim COMMAND --help` explains a command, `rim --version` prints the version\n",
            textwrap.fill(STORY, _width()),
            *(line for title, group in groups.items() for line in (f"\n{title}:", *_listed(group, indent))),
        ]
    )


def list_steps() -> str:
    """What `rim steps` prints; the docstrings of steps are read without importing one."""
    jobs = {name: summary(ast.get_docstring(ast.parse(file.read_text()))) for name, file in step_files().items()}
    return "\n".join(_listed(jobs, max(map(len, jobs)) + 4))


def completion(arguments: list[str]) -> str:
    """What `rim completion` prints."""
    import shtab

    asked = argparse.ArgumentParser(prog="rim completion", description=LISTS["completion"])
    asked.add_argument("shell", choices=shtab.SUPPORTED_SHELLS)
    shell = asked.parse_args(arguments).shell
    parser = argparse.ArgumentParser(prog="rim")
    commands = parser.add_subparsers()
    for name, line in LISTS.items():
        commands.add_parser(name, help=line)
    for name, tool in TOOLS.items():
        tool.add_arguments(commands.add_parser(name, help=summary(tool.__doc__)))
    return str(shtab.complete(parser, shell))


def _listed(summaries: dict[str, str], indent: int) -> list[str]:
    """Two columns, the second wrapped to the terminal."""
    return [
        textwrap.fill(f"  {name:{indent - 2}}{line}", _width(), subsequent_indent=" " * indent)
        for name, line in summaries.items()
    ]


def _width() -> int:
    """Columns to write in: those of the terminal, within reason."""
    return min(120, max(60, shutil.get_terminal_size((120, 0)).columns))


def run_tool(name: str, arguments: list[str]) -> int:
    """Parse the arguments of a tool and run it."""
    tool = TOOLS[name]
    parser = argparse.ArgumentParser(
        prog=f"rim {name}", description=tool.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tool.add_arguments(parser)
    status = 1
    with _as_long_as_it_is_read():
        status = tool.run(parser.parse_args(arguments))
    return status


@contextmanager
def _as_long_as_it_is_read() -> Iterator[None]:
    """Write to our output until whoever reads it has seen enough, as `head` has, and nothing more after that."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run_step(name: str, arguments: list[str]) -> int:
    """Read the job of a step and run it: its inputs are checked first, and what it wrote is recorded last."""
    limit_threads(arguments)
    from rim.workflow.jobs import read_job

    step = importlib.import_module(f"rim.steps.{name}")
    parser = argparse.ArgumentParser(prog=f"rim {name}", description=inspect.getdoc(step))
    parser.add_argument("job", type=Path, help="file with all that the step is told, as the workflow writes it")
    parser.add_argument("--log", type=Path, help="file that gets the progress lines instead of the screen")
    parser.add_argument("--threads", type=int, default=1, help="threads of the numerical libraries")
    parser.add_argument("--gpus", type=int, help="GPUs that the step may use; all when not given")
    options = parser.parse_args(arguments)
    if options.log:
        progress.log_to(options.log)
    if options.gpus is not None:
        gpus.claim(options.gpus)
    warnings.simplefilter("ignore", FutureWarning)  # libraries talking to each other, not to the user
    job = read_job(options.job, step.Job)
    sums.check(job.inputs)
    sums.forget(job.outputs)
    step.run(job)
    sums.record(job.outputs)
    return 0


def limit_threads(arguments: list[str]) -> None:
    """Tell the numerical libraries how many threads to use, before the step's module imports them."""
    threads = arguments[arguments.index("--threads") + 1] if "--threads" in arguments[:-1] else "1"
    for variable in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS"):
        os.environ[variable] = threads


def explain(error: Exception) -> str | None:
    """The one line that tells the user about an error, or None when it is a defect of ours."""
    if isinstance(error, UserError):
        return str(error)
    path = getattr(error, "filename", None)
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or any(
        sign in str(error) for sign in DISK_FULL
    ):
        where = f", writing {path}" if path else ""
        return (
            f"the disk is full (or a file-size limit was hit){where}; make room and run the workflow again, finished work is "
            "kept"
        )
    if "OutOfMemoryError" in (type(error).__name__, *str(error).replace(":", " ").replace(".", " ").split()):
        return (
            f"the GPU has too little memory for this job{_memory(str(error))}; lower finetune.micro_batch_size or set "
            "finetune.gradient_checkpointing for training, lower mechanism.batch_size or forgetting.batch_size for reading, "
            "or correct hardware.gpu_memory and the model's 'parameters', by which jobs ask for GPUs"
        )
    if isinstance(error, OSError) and path is not None:
        return f"{path}: {FILE_ERRORS.get(error.errno or 0, error.strerror)}"
    return None


def _memory(message: str) -> str:
    """What an out-of-memory error of torch says was asked for and is there."""
    asked = re.search(r"Tried to allocate ([\d.]+ .iB)", message)
    there = re.search(r"total capacity of ([\d.]+ .iB)", message)
    said = [f"{each[1]} {words}" for each, words in ((asked, "more were asked for"), (there, "are there")) if each]
    return f" ({', '.join(said)})" if said else ""


def unknown(command: str) -> str:
    """What to say of a command that does not exist."""
    close = difflib.get_close_matches(command, [*TOOLS, *LISTS, *step_files()], 1)
    meant = f"did you mean '{close[0]}'? " if close else ""
    return f"rim: error: there is no command '{command}'; {meant}`rim --help` and `rim steps` list all"


def _told(command: str, arguments: list[str]) -> str:
    """What a command prints that only tells of the others."""
    match command:
        case "--version":
            return f"rim {__version__}"
        case "completion":
            return completion(arguments)
        case "steps":
            argparse.ArgumentParser(prog="rim steps", description=LISTS["steps"]).parse_args(arguments)
            return list_steps()
    return overview()


def main(arguments: list[str] | None = None) -> int:
    progress.configure([], aloud=True)
    command, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if command in ("-h", "--help", "--version", *LISTS):
        with _as_long_as_it_is_read():
            print(_told(command, rest))
        return 0
    if command not in TOOLS and command not in step_files():
        progress.log(unknown(command))
        return 2
    run, label, advice = (
        (run_tool, f"rim {command}", "")
        if command in TOOLS
        else (run_step, command, "; run the workflow again to go on")
    )
    try:
        return run(command, rest)
    except KeyboardInterrupt:
        progress.log(f"{label}: interrupted{advice}")
        return 130
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        progress.log(f"{label}: error: {line}")
        return 1
