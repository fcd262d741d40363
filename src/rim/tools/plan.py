"""Print what a study costs before it is submitted: jobs, GPUs, hours, memory, disk, and what to change to halve it.

There is a line for every hub model and phase, with the engine that generates, and a total. They are estimated from `parameters` of
each model and from `hardware` in the study's file, within a factor of two or three; models without `parameters` are named and left
out. With `hardware.price` it says money too. Once jobs have finished in this folder, a second table sets what they took against the
estimate. Nothing is run or loaded. `--check` sets the estimates of speed against figures that others published.

    rim plan workflow/config/paper.yaml
    rim plan --check
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("file", type=Path, nargs="?", metavar="FILE", help="the study's YAML file")
    what.add_argument("--check", action="store_true", help="compare estimated speeds with published ones, of no study")


def run(arguments: Namespace) -> int:
    from rim.config.load import load_study_file
    from rim.workflow import plan, public_speeds, savings

    if arguments.check:
        print("\n".join(public_speeds.check()))
        return 0
    study = load_study_file(arguments.file)
    found = [plan.bill(study), savings.halving(study), plan.actual(study, Path("data", study.study, "timings"))]
    print("\n\n".join("\n".join(each) for each in found if each))
    return 0
