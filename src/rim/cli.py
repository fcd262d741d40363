"""`rim STEP JOB.json`: run one step of the workflow.

The job file holds all that the step is told, see `rim.settings.jobs`. This is the one place where errors become exit codes: a mistake of the user or a full disk is one line, never a traceback.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import pkgutil
import sys
import warnings
from pathlib import Path

from rim import steps
from rim.core import gpus, progress
from rim.core.errors import UserError

DISK_FULL = ("No space left on device", "File too large", "file write failed", "unexpected pos")


def parse(arguments: list[str]) -> argparse.Namespace:
    """The step, its job file, and what the machine gives it: `log`, `threads`, `gpus`."""
    names = [module.name for module in pkgutil.iter_modules(steps.__path__)]
    parser = argparse.ArgumentParser(
        prog="rim", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=names)
    parser.add_argument("job", type=Path, help="file with all that the step is told, as the workflow writes it")
    parser.add_argument("--log", type=Path, help="file that gets the progress lines too")
    parser.add_argument("--threads", type=int, default=1, help="threads of the numerical libraries")
    parser.add_argument("--gpus", type=int, help="GPUs that the step may use; all when not given")
    return parser.parse_args(arguments)


def run_step(name: str, job: Path) -> None:
    """Read a step's job and run it."""
    step = importlib.import_module(f"rim.steps.{name}")
    step.run(step.Job.read(job))


def explain(error: Exception) -> str | None:
    """The one line that tells the user about an error, or None when it is a defect of ours."""
    if isinstance(error, UserError):
        return str(error)
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or any(
        sign in str(error) for sign in DISK_FULL
    ):
        return "the disk is full (or a file-size limit was hit); make room and run the workflow again, finished work is kept"
    if "OutOfMemoryError" in (type(error).__name__, *str(error).replace(":", " ").replace(".", " ").split()):
        return (
            "the GPU has too little memory for this job; lower finetune.micro_batch_size or set finetune.gradient_checkpointing "
            "for training, lower mechanism.batch_size or forgetting.batch_size for reading, or correct hardware.gpu_memory and "
            "the model's 'parameters', by which jobs ask for GPUs"
        )
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return None


def limit_threads(arguments: list[str]) -> None:
    """Tell the numerical libraries how many threads to use, before the step's module imports them."""
    threads = arguments[arguments.index("--threads") + 1] if "--threads" in arguments[:-1] else "1"
    for variable in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS"):
        os.environ[variable] = threads


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    limit_threads(arguments)
    options = parse(arguments)
    if options.log:
        progress.log_to(options.log)
    if options.gpus is not None:
        gpus.claim(options.gpus)
    warnings.simplefilter("ignore", FutureWarning)  # libraries talking to each other, not to the user
    try:
        run_step(options.step, options.job)
    except KeyboardInterrupt:
        progress.log(f"{options.step}: interrupted; run the workflow again to go on")
        return 130
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        progress.log(f"{options.step}: error: {line}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
