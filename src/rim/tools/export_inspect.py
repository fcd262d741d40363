"""Write the replies of a study as logs of Inspect, which `inspect view` shows.

There is a log for every model, variant, seed, benchmark and mode of thinking, with thought and response apart, what each judge says,
and `pairing` in the metadata of a sample: the same for all replies of a model to one request, with thinking on and off, before and
after each arm. Replies of another kind than those of the model as it is have a log for every condition.

inspect_ai needs an environment of its own, see workflow/docs/replies.md. Logs may be harmful, as the requests are.

    rim export-inspect demo
    rim export-inspect demo --replies injected --out logs/inspect
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("study", metavar="STUDY", help="name of a study, or its YAML file")
    parser.add_argument(
        "--replies", metavar="KIND", default="plain", help="kind of replies: plain, injected, without_heads, …"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the logs; data/STUDY/inspect when not given")


def run(arguments: Namespace) -> int:
    from rim.core.errors import UserError
    from rim.explorer import inspect_logs, stored
    from rim.explorer.select import known

    study = stored.find_study(arguments.study)
    replies = stored.read_replies(study, [known("--replies", arguments.replies, stored.KINDS)])
    folder = arguments.out or Path("data", study.study, "inspect")
    if Path("results").resolve() in folder.resolve().parents:
        raise UserError(
            f"--out: '{folder}' lies in results/, which git keeps and where no reply belongs; name another folder"
        )
    number = inspect_logs.write_logs(study, replies, folder)
    print(
        f"{number} logs with {replies.height} replies are in {folder}; look at them with `inspect view --log-dir {folder}`"
    )
    return 0
