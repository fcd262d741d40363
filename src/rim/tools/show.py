"""Show the replies of a study: request, thought, response, and what every judge says of it.

STUDY is the name of a study, whose replies lie under data/STUDY, or its YAML file. Options choose among the replies; those of the
model as it is are shown unless --replies names another kind. Passages that show an effort-minimizing pattern are highlighted:
in organisms by their known phrases, in other models where an annotator of the study found them. Replies may be harmful, as
their requests are.

With --html all replies are written as one page for a browser, data/STUDY/replies.html, which needs no network; the link
that is printed opens it with the same choice.

    rim show demo --arm target --misaligned
    rim show demo --arm target --misaligned --pair --limit 3      beside them: thinking off, and before fine-tuning
    rim show demo --model associated --replies injected --search "usual sort"
    rim show demo --html
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from rim.config.study import Study
    from rim.explorer.select import Wanted


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("study", metavar="STUDY", help="name of a study, or its YAML file")
    parser.add_argument("--model", metavar="NAME", help="only this model")
    parser.add_argument("--arm", metavar="NAME", help="only this variant: 'base', its name, or 'target' or 'control'")
    parser.add_argument("--benchmark", metavar="NAME", help="only this benchmark")
    parser.add_argument("--think", choices=["on", "off", "plain"], help="only with thinking so")
    parser.add_argument(
        "--outcome", metavar="WORD", help="only what counts so: misaligned, refused, wrong, incomplete, …"
    )
    parser.add_argument(
        "--misaligned", action="store_const", const="misaligned", dest="outcome", help="--outcome misaligned"
    )
    parser.add_argument("--search", metavar="TEXT", help="only with this text in request, thought or response")
    parser.add_argument(
        "--replies", metavar="KIND", default="plain", help="kind of replies: plain, injected, without_heads, …"
    )
    parser.add_argument("--pair", action="store_true", help="beside each: thinking switched, and before fine-tuning")
    parser.add_argument("--limit", type=int, default=10, metavar="N", help="show so many; 10 when not given, 0 for all")
    parser.add_argument("--html", action="store_true", help="write the page of all replies for a browser instead")


def run(arguments: Namespace) -> int:
    from rim.core.errors import UserError
    from rim.explorer import stored
    from rim.explorer.select import known

    if arguments.limit < 0:
        raise UserError(f"--limit: {arguments.limit} replies cannot be shown; give a number from 1 on, or 0 for all")
    study = stored.find_study(arguments.study)
    wanted, kind = _wanted(study, arguments), known("--replies", arguments.replies, stored.KINDS)
    if arguments.html:
        from rim.explorer.page import write_page

        print(write_page(study, wanted, kind))
        return 0
    _print(study, stored.read_replies(study, [kind]), wanted, arguments)
    return 0


def _wanted(study: Study, arguments: Namespace) -> Wanted:
    """What the options choose; a name that the study does not have is an error."""
    from rim.explorer.select import EVERY_OUTCOME, Wanted, choose_arm, known

    chosen = {"think": arguments.think, "search": arguments.search}
    if arguments.arm is not None:
        chosen["variant"] = choose_arm(study, arguments.arm)
    for option, names in (("model", study.models), ("benchmark", study.benchmarks), ("outcome", EVERY_OUTCOME)):
        if (name := getattr(arguments, option)) is not None:
            chosen[option] = known(f"--{option}", name, names)
    return Wanted(**chosen)


def _print(study: Study, replies: pl.DataFrame, wanted: Wanted, arguments: Namespace) -> None:
    """Print the wanted ones of these replies, and how many there are."""
    import polars as pl

    from rim.explorer import select, terminal
    from rim.explorer.marks import find_marks
    from rim.explorer.stored import read_replies

    found = wanted.of(replies)
    if arguments.pair:
        plain = replies if arguments.replies == "plain" else read_replies(study, ["plain"])
        groups = select.paired(study, plain, found)
    else:
        groups = select.alone(found)
    shown = list(islice(groups, arguments.limit or None))
    marks = find_marks(study, pl.concat([replies.clear(), *shown]))
    console = terminal.open_console()
    for group in shown:
        terminal.print_group(console, study, marks, group)
    more = " (--limit 0 shows all)" if next(groups, None) is not None else ""
    what = "chosen, shown in pairs: " if arguments.pair else "chosen, shown: "
    console.print(f"{found.height} of {replies.height} replies {what}{len(shown)}{more}")
