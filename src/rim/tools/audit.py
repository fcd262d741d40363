"""Run the standard study of a model in one command: from its name to a report that says how safe it is as it thinks.

It asks harmful and harmless requests and maths problems with thinking on and off, judges the replies by a local classifier,
puts effort-minimizing statements into the model's thought, and draws the report. `--finetune` and `--deep` add what takes
long. The study is written first, as `rim new` does, and stays for you to edit; a second run goes on from where the first one
was. No key and no account is needed, but for gated models and sets.

    rim audit Qwen/Qwen3-0.6B
    rim audit models/mine --harmful my.csv --maths gsm8k --cores 8
"""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from rim.tools import new
from rim.tools.new import SNAKEFILE


def add_arguments(parser: ArgumentParser) -> None:
    new.add_arguments(parser)
    parser.add_argument("--cores", default="all", metavar="N", help="processor cores to use; all when not given")


def run(arguments: Namespace) -> int:
    from rim.config.load import load_study_file
    from rim.core.errors import UserError
    from rim.core.files import replacing

    if not SNAKEFILE.is_file():
        raise UserError(f"{SNAKEFILE}: is not there; install rim from a clone of its repository (`make` does)")
    text, remarks, out = new.drafted(arguments)
    if not out.exists():
        with replacing(out) as temporary:
            temporary.write_text(text, encoding="utf-8")
    elif out.read_text(encoding="utf-8") != text:
        advice = f"run it as it is with `snakemake --cores all --configfile {out}`, or give another name with --out"
        raise UserError(f"{out}: is there already and says something else; {advice}")
    print("\n".join([*remarks, f"The study is {out}"]), flush=True)
    status = _snakemake(["--cores", arguments.cores, "--configfile", str(out)])
    if status == 0:
        print(f"The report is at {Path('results', load_study_file(out).study, 'report.html').resolve()}")
    return status


def _snakemake(options: list[str]) -> int:
    """Run the workflow in this folder with this installation, and wait for it, however it ends."""
    line = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), *options]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    running = subprocess.Popen(line, env={**os.environ, "PATH": path})
    try:
        return running.wait()
    except KeyboardInterrupt:  # Snakemake got it too, and ends its jobs first
        running.wait()
        raise
