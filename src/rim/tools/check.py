"""Check a study before its first job: its keys, files, models and language models, and the machine.

Everything that is found is told at once, errors first, a line each: the file and line of the key, what is wrong, and what to
do about it: keys, and of all that does not depend on a wrong one, models (a folder or a hub name, whole, with a chat template
that does what is asked of it, of a family that the analyses know), endpoints (key, server and the model's name there), free
disk and memory against the bill, and whether another study of this name is here. No weights are loaded; of a hub model only
its small files are read. Servers and hub have a few seconds to answer.

A dry run tells the same of what the jobs that it lists need, and so does every start of a run, which errors stop; here
everything is looked at, as if nothing had been run yet. The exit status is 0 when the study can run,
be it with warnings, and 1 otherwise.

    rim check workflow/config/paper.yaml
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the study's YAML file")


def run(arguments: Namespace) -> int:
    from rim.core.errors import UserError

    try:
        lines, errors = _found(arguments.file)
    except UserError as nothing_to_look_at:
        lines = str(nothing_to_look_at).splitlines()
        errors = len(lines)
    counts = ((errors, "error"), (len(lines) - errors, "warning"))
    told_counts = ", ".join(f"{count} {word}{'s' * (count != 1)}" for count, word in counts)
    print("\n".join([*lines, f"{arguments.file}: {'cannot run' if errors else 'can run'} ({told_counts})"]))
    return 1 if errors else 0


def _found(file: Path) -> tuple[list[str], int]:
    """What is found of a study, errors first, in a line each, and how many are errors.

    Raises:
        UserError: the file cannot be read, or nothing is left of it without its wrong keys.
    """
    from rim.config import partial
    from rim.config.lines import ConfigFiles
    from rim.config.load import load_study, read_mapping
    from rim.preflight.findings import error, in_order, told
    from rim.preflight.study import findings

    mapping, files = read_mapping(file), ConfigFiles([file])
    study, problems, left_out = partial.read(mapping)
    rest = findings(study or load_study(mapping, files), files=[file])
    rest = [each for each in rest if not left_out.explains(each.where, each.what)]
    found = in_order([*(error(*problem) for problem in problems), *rest])
    return [told(each, files) for each in found], sum(each.level == "error" for each in found)
