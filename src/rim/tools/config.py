"""Print the reference of all settings, or the name of a study.

The schema is the one published in workflow/schemas/study.schema.json, the Markdown are the tables of
workflow/config/README.md; both are made from the types of the settings. `name` checks the study as a run would.

    rim config schema > workflow/schemas/study.schema.json
    rim config markdown
    rim config name workflow/config/demo.yaml
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("schema", help="the JSON schema of a study")
    kinds.add_parser("markdown", help="every key with its type, default and meaning, as tables")
    name = kinds.add_parser("name", help="the name of the study in a file")
    name.add_argument("file", type=Path, metavar="FILE", help="the study's YAML file")


def run(arguments: Namespace) -> int:
    from rim.config import reference
    from rim.config.load import load_study_file

    if arguments.kind == "schema":
        print(json.dumps(reference.schema(), indent=2))
    elif arguments.kind == "markdown":
        print(reference.markdown(), end="")
    else:
        print(load_study_file(arguments.file).study)
    return 0
