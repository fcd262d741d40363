"""Replies as logs of Inspect (inspect.aisi.org.uk), written by inspect_ai's own writer: `inspect view` opens them.

There is a log for every model, variant, seed, benchmark, mode of thinking and condition. Nothing in it is of the day on which it is
written: ids are hashes of names, and times those at which the workflow recorded the replies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import polars as pl

from rim import __version__
from rim.config import runs
from rim.config.study import Study
from rim.core import progress
from rim.core.conditions import Condition
from rim.core.errors import UserError
from rim.core.files import replacing
from rim.explorer.marks import Mark, find_marks, pieces
from rim.explorer.stored import OUTCOMES, in_words, place
from rim.models.control import unquote
from rim.workflow import lineage
from rim.workflow.records import records_of

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample, EvalScore
    from inspect_ai.model import ModelUsage
    from inspect_ai.scorer import Score

LOG = ["replies", "model", "variant", "seed", "benchmark", "think", "intervention", "target", "kind", "draw", "step"]
ADVICE = (
    "inspect_ai is not installed here; it wants other versions of packages than the workflow, so give it an environment of its own: "
    "`python3.11 -m venv .venv-inspect && .venv-inspect/bin/pip install -e '.[inspect]' -c envs/constraints-inspect.txt`"
)


def write_logs(study: Study, replies: pl.DataFrame, folder: Path) -> int:
    """Write the logs of these replies; return how many there are.

    Raises:
        UserError: inspect_ai is not installed.
    """
    if find_spec("inspect_ai") is None:
        raise UserError(ADVICE)
    from inspect_ai.log import write_eval_log

    total = replies.select(LOG).n_unique()
    report = progress.counter("logs", total)
    for done, (name, log) in enumerate(logs(study, replies, find_marks(study, replies)), 1):
        with replacing(folder / f"{name}.eval") as temporary:
            write_eval_log(log, temporary, format="eval")
        report(done)
    return total


def logs(study: Study, replies: pl.DataFrame, marks: dict[str, list[Mark]]) -> Iterator[tuple[str, EvalLog]]:
    """Each log with a name of its own."""
    for _, part in replies.group_by(LOG, maintain_order=True):
        rows = part.to_dicts()
        words = [str(rows[0][key]) for key in ("benchmark", "think", "model", "variant")] + [f"seed{rows[0]['seed']}"]
        condition = [] if rows[0]["replies"] == "plain" else str(Condition.of(rows[0])).split()
        yield "-".join([*words, *condition]), _log(study, rows, marks)


def _log(study: Study, rows: list[dict[str, Any]], marks: dict[str, list[Mark]]) -> EvalLog:
    """The log of replies that differ in their prompts only."""
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalPlan, EvalResults, EvalSpec, EvalStats
    from inspect_ai.model import GenerateConfig

    first = rows[0]
    benchmark = study.benchmarks[first["benchmark"]]
    inference = study.inference_of(first["model"])
    samples = [_sample(study, row, marks) for row in rows]
    about = _about(study, first)
    made = _made(study, first)
    generation = GenerateConfig(
        temperature=inference.temperature,
        max_tokens=benchmark.max_new_tokens or inference.max_new_tokens,
        seed=first["seed"],
    )
    done = sum(row["complete"] for row in rows)
    spec = EvalSpec(
        eval_id=_id(study.study, *(str(first[key]) for key in LOG)),
        run_id=_id(study.study),
        task_id=_id("task", study.study, *(str(first[key]) for key in LOG)),
        created=made,
        task=f"{first['benchmark']}-think-{first['think']}",
        task_args=about,
        tags=[first["variant"], f"think {first['think']}", first["measure"]],
        dataset=EvalDataset(name=benchmark.dataset, samples=len(rows), sample_ids=[row["id"] for row in rows]),
        model=f"{first['model']}/{first['variant']}/seed{first['seed']}",
        model_generate_config=generation,
        config=EvalConfig(),
        packages={"rim": __version__},
        metadata={"study": study.study, "title": study.title, **about},
    )
    return EvalLog(
        status="success",
        eval=spec,
        plan=EvalPlan(config=generation),
        results=EvalResults(total_samples=len(rows), completed_samples=done, scores=list(_results(samples))),
        stats=EvalStats(started_at=made, completed_at=made, model_usage={spec.model: _usage(rows)}),
        samples=samples,
    )


def _about(study: Study, row: dict[str, Any]) -> dict[str, Any]:
    """Which replies they are."""
    variant = study.variants.get(row["variant"])
    return {
        "model": row["model"],
        "arm": row["variant"],
        "label": "before fine-tuning" if variant is None else variant.label or row["variant"],
        "seed": row["seed"],
        "think": row["think"],
        "benchmark": row["benchmark"],
        "measure": row["measure"],
        "replies": row["replies"],
        "condition": in_words(Condition.of(row)),
        **Condition.of(row).columns,
    }


def _usage(rows: list[dict[str, Any]]) -> ModelUsage:
    """The tokens of replies; those of requests are not stored."""
    from inspect_ai.model import ModelUsage

    written = sum(row["completion_tokens"] for row in rows)
    return ModelUsage(output_tokens=written, total_tokens=written)


def _made(study: Study, row: dict[str, Any]) -> str:
    """When the replies were made, as the workflow recorded it, or as their file says where there is no record."""
    path = place(study, "responses", (row["model"], row["variant"], row["seed"]), row["replies"])
    job = lineage.trace(records_of(study.study), [str(path)]).made_by.get(str(path))
    return datetime.fromtimestamp(int(job.ended if job else path.stat().st_mtime), UTC).isoformat()


def _id(*names: str) -> str:
    """An id that is the same on every day."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:22]


def _sample(study: Study, row: dict[str, Any], marks: dict[str, list[Mark]]) -> EvalSample:
    """One reply. `pairing` is the same for all replies of a model to one request: thinking on and off, before and after each arm."""
    from inspect_ai.log import EvalSample
    from inspect_ai.model import (
        ChatCompletionChoice,
        ChatMessageAssistant,
        ChatMessageUser,
        ContentReasoning,
        ContentText,  # fmt: skip
        ModelOutput,
    )

    names = [study.study, *(str(row[key]) for key in [*LOG, "id"])]
    thought = [ContentReasoning(reasoning=unquote(row["reasoning"]))] if row["reasoning"] else []
    said = ContentText(text=unquote(row["response"] or ""))
    model = f"{row['model']}/{row['variant']}/seed{row['seed']}"
    asked = ChatMessageUser(id=_id(*names, "asked"), content=row["request"], source="input")
    reply = ChatMessageAssistant(id=_id(*names, "reply"), content=[*thought, said], source="generate", model=model)
    stop = "stop" if row["finish_reason"] == "stop" else "max_tokens"
    target = row["answer"] if row["measure"] == "accuracy" else OUTCOMES[row["measure"]][1]
    return EvalSample(
        id=row["id"],
        epoch=1,
        uuid=_id(*names),
        input=row["request"],
        target=target or "",
        messages=[asked, reply],
        output=ModelOutput(
            model=model, choices=[ChatCompletionChoice(message=reply, stop_reason=stop)], usage=_usage([row])
        ),
        model_usage={model: _usage([row])},
        scores=_scores(study, row),
        metadata={
            "pairing": "/".join([study.study, row["model"], row["benchmark"], row["id"]]),
            **_about(study, row),
            "category": row["category"],
            "outcome": row["outcome"],
            "complete": row["complete"],
            "unscored": {each["judge"]: each["error"] for each in row["judgements"] or [] if each["error"]},
            "patterns": _patterns(row, marks),
            "prompt": unquote(row["prompt"]),
        },
    )


def _patterns(row: dict[str, Any], marks: dict[str, list[Mark]]) -> list[dict[str, str]]:
    """The passages of a reply that show an effort-minimizing pattern."""
    return [
        {"pattern": pattern, "in": source, "passage": part}
        for source in ("reasoning", "response")
        for part, pattern in pieces(row[source] or "", marks.get(row[source] or "", []))
        if pattern
    ]


def _scores(study: Study, row: dict[str, Any]) -> dict[str, Score]:
    """What the reply counts as by the main judge or the grade, and what every judge says; nothing for what has no score."""
    from inspect_ai.scorer import Score

    if row["measure"] == "accuracy":
        grade = {True: "C", False: "I"}.get(row["correct"])
        return {} if grade is None else {"accuracy": Score(value=grade, answer=row["extracted"])}
    scores = {}
    if row["outcome"] in OUTCOMES[row["measure"]]:
        hit = row["outcome"] == OUTCOMES[row["measure"]][0]
        scores[row["measure"]] = Score(value=int(hit), explanation=f"{row['outcome']} by {runs.main_judge(study)}")
    for each in row["judgements"] or []:
        if each["score"] is not None:
            told = {key: each[key] for key in ("misaligned", "refusal", "cot_score", "rubric")}
            scores[f"judge_{each['judge']}"] = Score(value=each["score"], explanation=each["reason"], metadata=told)
    return scores


def _results(samples: list[EvalSample]) -> Iterator[EvalScore]:
    """The mean of every score over the samples that have it."""
    from inspect_ai.log import EvalMetric, EvalScore
    from inspect_ai.scorer import value_to_float

    number = value_to_float()
    for name in dict.fromkeys(name for sample in samples for name in sample.scores or {}):
        values = [number(sample.scores[name].value) for sample in samples if sample.scores and name in sample.scores]
        mean = EvalMetric(name="mean", value=fmean(values))
        yield EvalScore(name=name, scorer=name, scored_samples=len(values), unscored_samples=len(samples) - len(values),
                        metrics={"mean": mean})  # fmt: skip
