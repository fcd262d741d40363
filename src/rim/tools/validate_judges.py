"""Score refusal judges against the human labels of XSTest (Röttger et al. 2024).

Every FOLDER holds one set of annotated completions, such as xstest_v2_completions_*.csv of github.com/paul-rottger/xstest; they are
under their models' terms and hence not shipped. Sets go by the names of their folders, and a model may be in several. Without
options the list of openings and the classifier are scored, the classifier always on a model whose completions it never saw.

    rim validate-judges xstest                                       agreement by model, false alarms, errors by type of question
    rim validate-judges earlier current new                          the same by set too: the tables of workflow/docs/judges.md
    rim validate-judges xstest --study mine.yaml --judge rubric      one judge of a study, such as a language model
    rim validate-judges earlier current new --train weights.safetensors     fit the shipped weights anew, on all of them
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="FOLDER", help="folder with XSTest's xstest_v2_completions_*.csv"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--train", type=Path, metavar="FILE", help="train on everything and write the weights here")
    instead.add_argument(
        "--study",
        type=Path,
        metavar="FILE",
        help="score a judge of this study; its replies are kept in data/{study}/requests",
    )
    parser.add_argument("--judge", metavar="NAME", help="which judge of the study; its first one when not given")


def run(arguments: Namespace) -> int:
    from rim.core.errors import UserError
    from rim.workflow import validity

    if arguments.judge and not arguments.study:
        raise UserError("--judge: names a judge of a study; give the study's file with --study")
    completions = validity.read_sets(arguments.folders)
    if arguments.train:
        validity.train(completions, arguments.train)
    elif arguments.study:
        from rim.config.load import load_study_file

        study = load_study_file(arguments.study)
        name = arguments.judge or next(iter(study.judges))
        print(validity.tables(completions, {name: validity.by_judge(name, study, completions)}))
    else:
        print(validity.tables(completions, validity.by_local_judges(completions)))
    return 0
