"""Print what a study costs before it is submitted: jobs, GPUs, hours, memory and disk.

There is a line for every hub model and phase, and a total. They are estimated from `parameters` of each model and from
`hardware` in the study's file, within a factor of two or three; models without `parameters` are named and left out. Once
jobs have finished in this folder, a second table sets what they took against the estimate. Nothing is run or loaded.

    rim plan workflow/config/paper.yaml
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the study's YAML file")


def run(arguments: Namespace) -> int:
    from rim.config.load import load_study_file
    from rim.workflow import plan

    study = load_study_file(arguments.file)
    print("\n".join([*plan.bill(study), "", *plan.actual(study, Path("data", study.study, "timings"))]))
    return 0
