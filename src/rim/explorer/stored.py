"""All replies of a study that are stored, as one table: each with its request, what every judge said of it, and its outcome."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

import polars as pl

from rim.config import runs
from rim.config.load import load_study_file, read_yaml
from rim.config.study import Study
from rim.core import contracts, tables
from rim.core.conditions import Condition
from rim.core.errors import UserError
from rim.models.control import unquote
from rim.settings.jobs import Run

CONFIGS = Path("workflow/config")
KINDS = {  # of replies, as their files are called
    "plain": "the model as it is",
    "injected": "after a statement for or against a pattern",
    "without_heads": "with sets of attention heads ablated",
    "without_neurons": "with sets of neurons ablated",
    "counterfactuals": "to the request with something added",
    "checkpoints": "of the checkpoints of a fine-tune",
}
KEYS = ["benchmark", "id", "think", "seed", *contracts.CONDITION]  # of a reply, within a model and a variant
ADDED = {"intent": "counterfactual", "placebo": "placebo"}  # to a request, and the column of the dataset that has it so
OUTCOMES = {  # of a reply, by what its benchmark measures: when that is so, and when not
    "misalignment": ("misaligned", "aligned"),
    "false_refusal": ("refused", "answered"),
    "accuracy": ("correct", "wrong"),
}
PATTERN_WORDS = {
    "confirmatory": "confirmatory reasoning",
    "heuristic": "heuristic reliance",
    "deviation": "instruction deviation",
}
NO_OUTCOME = (*contracts.UNFIT, "unscored")


def find_study(name: str) -> Study:
    """The study in a YAML file, or the one of this name among those here and in workflow/config.

    Raises:
        UserError: there is none.
    """
    if Path(name).is_file() or name.endswith((".yaml", ".yml")):
        return load_study_file(Path(name))
    found: dict[str, Path] = {}
    for path in [*sorted(Path().glob("*.y*ml")), *sorted(CONFIGS.rglob("*.y*ml"))]:
        try:
            known = read_yaml(path)
        except UserError:  # some other file
            continue
        if isinstance(known, dict) and "study" in known:
            found.setdefault(str(known["study"]), path)
    if name not in found:
        close = get_close_matches(name, found, 1)
        meant = f"did you mean '{close[0]}'? " if close else f"there are: {', '.join(found) or 'none'}; "
        raise UserError(f"{name}: no study of this name is here or in {CONFIGS}; {meant}or give its YAML file")
    return load_study_file(found[name])


def read_replies(study: Study, kinds: list[str]) -> pl.DataFrame:
    """The stored replies of these kinds, in the order of the study; see `KINDS`.

    Beside the columns of the contract of responses, a row has its `model`, `variant` and `replies` (its kind), `request`, `category`
    and `answer` from the dataset, the `measure` of its benchmark, `judgements` (a list), `extracted` and `correct` for maths, and
    its `outcome` by the main judge.

    Raises:
        UserError: there are none, or a file is not what it should be.
    """
    found = [_run(study, run, kind) for kind, run in _stored(study, kinds)]
    if not found:
        raise UserError(_nothing(study, kinds))
    replies = pl.concat(found).join(_requests(study), on=["benchmark", "id"], how="left", maintain_order="left")
    request = pl.coalesce(
        *(pl.when(pl.col("target") == target).then(pl.col(column)) for target, column in ADDED.items()),
        pl.col("request"),
        pl.col("prompt"),
    )
    return replies.with_columns(_outcome(study)).with_columns(
        request.alias("request").map_elements(unquote, return_dtype=pl.String)
    )


def place(study: Study, folder: str, run: Run, kind: str) -> Path:
    """Where the replies of a kind lie, or what was said of them, as in rules/paths.smk."""
    model, variant, seed = run
    return Path("data", study.study, folder, model, variant, f"seed{seed}", f"{kind}.parquet")


def _stored(study: Study, kinds: list[str]) -> Iterator[tuple[str, Run]]:
    """The kinds and runs of which there are replies."""
    for kind in kinds:
        for run in runs.all_runs(study):
            if place(study, "responses", run, kind).is_file():
                yield kind, run


def _nothing(study: Study, kinds: list[str]) -> str:
    """Why there is nothing to read."""
    from rim.workflow.records import pointer_of  # it loads Snakemake

    folder = Path("data", study.study)
    what = f"no replies of the kind {' or '.join(kinds)} are stored" if folder.is_dir() else "is not here"
    if (pointer := pointer_of(Path(), study.study)) and not (folder / "responses").is_dir():
        return f"{folder}: {what}; get what {pointer} names with `make pull` (or `dvc pull`), or run the study"
    return f"{folder}: {what}; run the study first: `snakemake --cores all --configfile FILE`"


def _run(study: Study, run: Run, kind: str) -> pl.DataFrame:
    """The replies of one kind of one run, with judgements and grades as far as they are stored."""
    responses = tables.read(place(study, "responses", run, kind), contracts.RESPONSE)
    judged = [
        tables.read(path, contracts.JUDGEMENT)
        for judge in study.judges
        if (path := place(study, f"judgements/{judge}", run, kind)).is_file()
    ]
    judgements = pl.concat([*judged, pl.DataFrame(schema=dict(contracts.JUDGEMENT))])
    fields = [name for name in contracts.JUDGEMENT if name not in KEYS]
    listed = judgements.group_by(KEYS, maintain_order=True).agg(pl.struct(fields).alias("judgements"))
    graded = place(study, "grades", run, kind)
    grades = tables.read(graded, contracts.GRADE) if graded.is_file() else pl.DataFrame(schema=dict(contracts.GRADE))
    grades = grades.rename({"error": "grade_error"})
    whole = responses
    for each in (listed, grades):
        whole = whole.join(each, on=KEYS, how="left", maintain_order="left")
    model, variant, seed = run
    return whole.with_columns(
        pl.lit(kind).alias("replies"), pl.lit(model).alias("model"), pl.lit(variant).alias("variant"), seed=pl.lit(seed)
    )


def _requests(study: Study) -> pl.DataFrame:
    """What each benchmark asks, by id, of the datasets that are stored: request, category, reference answer, and the request with
    something added."""
    schema = dict.fromkeys(["benchmark", "id", "request", "category", "answer", *ADDED.values()], pl.String)
    found = [pl.DataFrame(schema=schema)]
    for name, benchmark in study.benchmarks.items():
        path = Path("data", study.study, "datasets", f"{benchmark.dataset}.parquet")
        if path.is_file():
            rows = tables.read(path, contracts.DATASET).rename({"prompt": "request"})
            found.append(rows.with_columns(benchmark=pl.lit(name)).select(list(schema)))
    return pl.concat(found)


def _outcome(study: Study) -> list[pl.Expr]:
    """The measure of each reply's benchmark, and what the reply counts as by it."""
    measures = {name: benchmark.measure for name, benchmark in study.benchmarks.items()}
    main = pl.col("judgements").list.eval(
        pl.element().filter(pl.element().struct.field("judge") == runs.main_judge(study))
    )
    judged = main.list.first().struct
    verdicts = {
        "misalignment": judged.field("misaligned"),
        "false_refusal": judged.field("refusal"),
        "accuracy": pl.col("correct"),
    }
    measure = pl.col("benchmark").replace_strict(measures)
    cases = [(~pl.col("complete"), "incomplete"), (judged.field("error") == "incoherent", "incoherent")]
    for name, (yes, no) in OUTCOMES.items():
        cases += [((measure == name) & verdicts[name], yes), ((measure == name) & ~verdicts[name], no)]
    outcome = pl.coalesce(*(pl.when(case).then(pl.lit(word)) for case, word in cases), pl.lit("unscored"))
    return [measure.alias("measure"), outcome.alias("outcome")]


def in_words(condition: Condition) -> str:
    """What was done before a model replied, for people; nothing where nothing was."""
    target, number = condition.target.replace("_", " "), condition.draw + 1
    match condition.intervention:
        case "none":
            return ""
        case "finetune":
            return f"step {condition.step}"
        case "inject":
            side = "for" if condition.kind == "target" else "against"
            return f"statement {number} {side} {PATTERN_WORDS[condition.target]}"
        case "add":
            return "malicious intent spelled out" if target == "intent" else "a harmless sentence added"
        case how:
            which = target if condition.kind == "found" else f"{condition.kind} set {number} in place of the {target}"
            return f"{which} set to {'zero' if how == 'zero' else 'their mean'}"
