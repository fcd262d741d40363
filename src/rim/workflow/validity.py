"""Are the refusal judges right? They are scored against the human labels of XSTest (Röttger et al. 2024).

`rim validate-judges FOLDER...` prints the tables of workflow/docs/judges.md. A folder holds one set of annotated completions, such as those of
the models of one generation, *completions_{model}.csv (that page says from where; they are under their models' terms, hence not
shipped). A refusal is a full or a partial one, as two people agreed. Whatever was trained is scored on a model whose completions
it never saw in any set; in the stricter versions it saw none of the scored prompts either, since XSTest puts the same prompts to
every model, and nothing of the scored set, whose people may draw the line elsewhere.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rim.config.study import Study
from rim.core.agreement import kappa
from rim.core.conditions import NOTHING_DONE
from rim.core.errors import UserError
from rim.data.sources import read_file
from rim.instruments import judges, refusal_training, rules
from rim.instruments.llm.client import open_client
from rim.settings.jobs import NamedEndpoint

FULL, PARTIAL, COMPLIANCE = "2_full_refusal", "3_partial_refusal", "1_full_compliance"
FOLDS = 3
Verdicts = Sequence[bool | None]  # of a judge, one per completion: a refusal, none, or no usable answer


@dataclass(frozen=True)
class Completion:
    """A model's reply to a prompt, and what people say it is."""

    set: str
    model: str
    type: str  # of question; empty where the file has no such column
    prompt: str
    text: str
    label: str
    annotators: tuple[bool, bool] | None  # whether it refuses, to each; None where the file does not say

    @property
    def refusal(self) -> bool:
        return self.label != COMPLIANCE

    @property
    def fold(self) -> int:
        return zlib.crc32(self.prompt.encode()) % FOLDS


# What a classifier may not have seen: completions that are equal in one of these are left out of its training.
LEFT_OUT: dict[str, tuple[str, ...]] = {
    "model": ("model",),
    "model and prompts": ("model", "fold"),
    "model, prompts and set": ("model", "fold", "set"),
}


def read_sets(folders: Sequence[Path]) -> list[Completion]:
    """All annotated completions of some folders, each of which is a set called by its name.

    Raises:
        UserError: there are none, two folders have one name, or a file is not what it should be.
    """
    found: list[Completion] = []
    for folder in folders:
        name = folder.absolute().name
        if any(each.set == name for each in found):
            raise UserError(f"{folder}: is the second folder called '{name}', and sets go by their folder; rename one")
        found += _read_set(folder, name)
    return found


def _read_set(folder: Path, name: str) -> list[Completion]:
    files = sorted(folder.glob("*completions_*.csv"))
    if not files:
        raise UserError(
            f"{folder}: is no folder with xstest_v2_completions_*.csv or completions_*.csv; get them from github.com/paul-rottger/xstest"
        )
    found: list[Completion] = []
    for file in files:
        model = file.stem.partition("completions_")[2]
        if any(each.model == model for each in found):
            raise UserError(
                f"{file}: is the second file with completions of {model}; put it into a folder of its own or remove it"
            )
        found += _read_completions(file, name, model)
    return found


def _read_completions(file: Path, name: str, model: str) -> list[Completion]:
    found = []
    for number, row in enumerate(read_file(file), 2):
        if not {"prompt", "completion"} <= row.keys():
            raise UserError(f"{file}: has no column 'prompt' or 'completion'; check that it is the right file")
        if row.get("final_label") not in (FULL, PARTIAL, COMPLIANCE):
            raise UserError(f"{file}: row {number} has no final_label of XSTest; check that it is the right file")
        labels = [row.get(column) for column in ("annotation_1", "annotation_2")]
        found.append(
            Completion(
                set=name,
                model=model,
                type=row.get("type") or "",
                prompt=row["prompt"],
                text=row["completion"] or "",
                label=row["final_label"],
                annotators=(labels[0] != COMPLIANCE, labels[1] != COMPLIANCE) if all(labels) else None,
            )
        )
    return found


def left_out(completions: Sequence[Completion], by: str) -> list[bool]:
    """Verdicts on every completion of a classifier that was trained on none that is equal in what `by` of LEFT_OUT names.

    Raises:
        UserError: there are no others to train on.
    """
    replies = corpus(completions)
    alike: dict[tuple[object, ...], list[int]] = {}
    for i, each in enumerate(completions):
        alike.setdefault(tuple(getattr(each, field) for field in LEFT_OUT[by]), []).append(i)
    verdicts = [False] * len(completions)
    for key, scored in alike.items():
        rest = [
            i
            for i, each in enumerate(completions)
            if all(getattr(each, field) != value for field, value in zip(LEFT_OUT[by], key, strict=True))
        ]
        if len({completions[i].refusal for i in rest}) < 2:
            raise UserError(
                f"completions of {completions[scored[0]].model}: beside them the folder has too few replies to train a classifier on; get those of the other models too"
            )
        classifier = replies.train(rest)
        for i in scored:
            verdicts[i] = classifier.refuses(completions[i].text)
    return verdicts


def corpus(completions: Sequence[Completion]) -> refusal_training.Corpus:
    return refusal_training.Corpus([c.text for c in completions], [c.refusal for c in completions])


def train(completions: Sequence[Completion], output: Path) -> None:
    """Write the weights of a classifier trained on all completions; the file's header says whose they are."""
    whose = {
        f"{name}/{model}": str(sum((c.set, c.model) == (name, model) for c in completions))
        for name, model in dict.fromkeys((c.set, c.model) for c in completions)
    }
    refusal_training.save(corpus(completions).train(range(len(completions))), output, whose)


def by_local_judges(completions: Sequence[Completion]) -> dict[str, Verdicts]:
    """Verdicts of the list of openings and of the classifier, by judge."""
    ways = [by for by, fields in LEFT_OUT.items() if "set" not in fields or len({c.set for c in completions}) > 1]
    return {
        "refusal_prefix": [rules.refusal_prefix("", c.text)[0] == 1 for c in completions],
        **{f"refusal_classifier, {by} left out": left_out(completions, by) for by in ways},
    }


def tables(completions: Sequence[Completion], judged: dict[str, Verdicts]) -> str:
    """Markdown tables: agreement by set, replies found by label, agreement by model, errors by type of question."""
    shown = [
        agreement(completions, judged, [c.set for c in completions]),
        found_by_label(completions, judged),
        agreement(completions, judged, [f"{c.set}: {c.model}" for c in completions]),
    ]
    return "\n\n".join([*shown, errors_by_type(completions, judged)] if any(c.type for c in completions) else shown)


def agreement(completions: Sequence[Completion], judged: dict[str, Verdicts], groups: Sequence[str]) -> str:
    """Cohen's kappa of the two annotators, and of each judge with what they agreed on, by group and pooled."""
    members: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    if len(members) > 1:
        members["pooled"] = [*range(len(completions))]
    rows = []
    for group, chosen in members.items():
        people = [completions[i].refusal for i in chosen]
        pairs = [completions[i].annotators for i in chosen]
        between = _kappa([pair[0] for pair in pairs if pair], [pair[1] for pair in pairs if pair])
        cells = [_kappa(people, [verdicts[i] for i in chosen]) for verdicts in judged.values()]
        rows.append([group, f"{sum(people)} of {len(people)}", between, *cells])
    return _rows(["replies of", "refusals", "two annotators", *judged], rows)


def found_by_label(completions: Sequence[Completion], judged: dict[str, Verdicts]) -> str:
    """How often each judge calls full refusals, partial refusals and compliance a refusal, and how often it says nothing."""
    rows = []
    for name, verdicts in judged.items():
        row = [name]
        for label in (FULL, PARTIAL, COMPLIANCE):
            called = [v for c, v in zip(completions, verdicts, strict=True) if c.label == label and v is not None]
            row.append(f"{sum(called)} of {len(called)}")
        rows.append([*row, str(sum(v is None for v in verdicts))])
    return _rows(["judge", "full refusals found", "partial refusals found", "false alarms", "errors"], rows)


def errors_by_type(completions: Sequence[Completion], judged: dict[str, Verdicts]) -> str:
    """False alarms + missed refusals of each judge by XSTest's type of question, the one with most of them first."""
    types = {c.type for c in completions}
    wrong = {
        question: [
            [
                c.refusal
                for c, v in zip(completions, verdicts, strict=True)
                if c.type == question and v == (not c.refusal)
            ]
            for verdicts in judged.values()
        ]
        for question in sorted(types)
    }
    order = sorted(wrong, key=lambda each: -sum(map(len, wrong[each])))
    rows = [[each, *(f"{len(missed) - sum(missed)} + {sum(missed)}" for missed in wrong[each])] for each in order]
    return _rows(["question (false alarms + missed)", *judged], rows)


def _rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _kappa(people: Sequence[bool], verdicts: Verdicts) -> str:
    pairs = [(refusal, verdict) for refusal, verdict in zip(people, verdicts, strict=True) if verdict is not None]
    estimate = kappa([refusal for refusal, _ in pairs], [verdict for _, verdict in pairs])
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def by_judge(name: str, study: Study, completions: Sequence[Completion]) -> Verdicts:
    """Verdicts of a study's judge; None where it gave no usable answer."""
    if name not in study.judges:
        raise UserError(f"--judge: the study has no judge '{name}'; there are: {', '.join(study.judges)}")
    judge = study.judges[name]
    if not judges.says_refusals(judges.kinds()[judge.kind]):
        raise UserError(
            f"--judge: '{name}' is of kind '{judge.kind}', which does not say whether a reply refuses; name another"
        )
    asked = NamedEndpoint(name=judge.endpoint, endpoint=study.endpoints[judge.endpoint]) if judge.endpoint else None
    client = open_client(asked, Path(f"data/{study.study}/requests/validity/{name}.jsonl"))
    rows = [
        {"benchmark": "xstest", "id": str(i), "think": "off", "seed": 0, **NOTHING_DONE.columns, "prompt": c.prompt}
        | {"reasoning": None, "response": c.text, "finish_reason": "stop", "completion_tokens": 0, "complete": True}
        for i, c in enumerate(completions)
    ]
    import polars as pl

    from rim.core.contracts import RESPONSE

    return judges.judge_responses(name, judge, pl.DataFrame(rows, schema=dict(RESPONSE)), client)["refusal"].to_list()
