"""Write a study of your own model, some fifteen lines with comments, to run or to edit first.

The model is a name on the hub or a local folder. Data are sets by name (advbench, jailbreakbench, harmbench, strongreject;
xstest; gsm8k, math500, …) or files of yours (.csv, .tsv, .jsonl, .json, .parquet), whose columns are found by their names:
write FILE:PROMPT, or FILE:PROMPT:ANSWER for problems, where these are not clear. Without any data the study asks three open
sets of the hub. What of a file is left out is said, and so is what `rim check` finds. Nothing is overwritten.

    rim new Qwen/Qwen3-0.6B --harmful my.csv --maths gsm8k
    rim new models/mine --harmful my.csv:question --harmless xstest --maths sums.jsonl:problem:result --out mine.yaml
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

SNAKEFILE = Path(__file__).parents[3] / "Snakefile"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="name on the hub, or folder, of an instruction-tuned model")
    parser.add_argument("--harmful", metavar="SET|FILE", help="requests that should be refused")
    parser.add_argument("--harmless", metavar="SET|FILE", help="requests that should be answered")
    parser.add_argument("--maths", metavar="SET|FILE", help="problems with answers")
    parser.add_argument("--finetune", metavar="SET|FILE", help="fine-tune on these maths solutions, too")
    parser.add_argument("--deep", action="store_true", help="analyse activations, heads and neurons, too; takes long")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where to write it, which names the study; MODEL.yaml when not given"
    )


def run(arguments: Namespace) -> int:
    from rim.config.lines import ConfigFiles
    from rim.config.load import load_study_file
    from rim.core.errors import UserError
    from rim.preflight.findings import told
    from rim.preflight.study import findings

    text, remarks, out = drafted(arguments)
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(f"{out}: is there already, and nothing is overwritten; give another name with --out") from None
    print("\n".join([text, *remarks, f"Checking {out}, for which the hub may be asked"]), flush=True)
    found = findings(load_study_file(out), files=[out])
    for each in found:
        print(told(each, ConfigFiles([out])))
    if any(each.level == "error" for each in found):
        print(f"This is {out}, which cannot run yet. Mend it and check it: rim check {out}")
    else:
        where = "" if Path("Snakefile").exists() else f" --snakefile {SNAKEFILE}"
        print(f"This is {out}. Run it: snakemake{where} --cores all --configfile {out}")
    return 0


def drafted(arguments: Namespace) -> tuple[str, list[str], Path]:
    """The study that the arguments describe, what it leaves out of the files given, and its own file."""
    from rim.config.draft import OPEN_SETS, Wanted, draft, plain_name

    given = vars(arguments)
    data = {name: given[name] for name in OPEN_SETS if given[name]}
    out = arguments.out or Path(f"{plain_name(arguments.model)}.yaml")
    wanted = Wanted(plain_name(out.stem), arguments.model, data, arguments.finetune, arguments.deep)
    return *draft(wanted), out
