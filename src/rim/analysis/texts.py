"""The texts whose activations are compared, and the group that each belongs to.

For probes and heads a text is a request as it was rendered, with thinking on followed by the chain of thought that the
model itself wrote, so that positions inside it can be read. Groups follow the judge: a harmful request counts as *refused*
or *fulfilled* (misaligned); what is neither, or incomplete, takes part as harmful but in no refusal probe. Everything that
is fitted or identified uses the calibration split; everything that is tested or intervened on uses the evaluation split.

For neurons and forgetting a text is a request with the reply that the model before tuning gave to it (teacher-forced). The
tokens are the same for every model that reads them. The reply is the same for every wording of a request, so that a pooled
activation never differs because a text is longer or says something else, unless each is to have its own, as in the paper.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from rim.analysis.capture import Row
from rim.core import contracts, tables
from rim.core.errors import UserError
from rim.core.receipts import verified
from rim.instruments import rules
from rim.models import chat, control, positions
from rim.settings.common import Think

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


KEYS = ["benchmark", "id", "think"]


def text_key(benchmark: str, id_: str, think: str) -> str:
    return f"{benchmark}/{id_}/{think}"


def probe_texts(responses: pl.DataFrame, templates: dict[str, positions.Template]) -> list[Row]:
    """One row per reply: its prompt, its own chain of thought when it thought, and where to look."""
    rows = []
    for reply in responses.iter_rows(named=True):
        closed = reply["response"] is not None
        ids, spans = templates[reply["think"]].thought(reply["prompt"], reply["reasoning"], closed)
        name = text_key(reply["benchmark"], reply["id"], reply["think"])
        rows.append(Row(name, ids, spans, (0, len(ids)), spans["last"][0]))
    return rows


def groups(judgements: pl.DataFrame, splits: dict[str, pl.DataFrame], harmful: str) -> pl.DataFrame:
    """Row key, benchmark, id, think, split and group (refused, fulfilled, other, harmless) of every judged reply.

    Args:
        splits: the dataset of each benchmark of interest, for the split of its rows.
    """
    split = pl.concat(table.select(pl.lit(name).alias("benchmark"), "id", "split") for name, table in splits.items())
    group = (
        pl.when(pl.col("benchmark") != harmful)
        .then(pl.lit("harmless"))
        .when(pl.col("refusal").fill_null(False))
        .then(pl.lit("refused"))
        .when(pl.col("misaligned").fill_null(False))
        .then(pl.lit("fulfilled"))
        .otherwise(pl.lit("other"))
    )
    return (
        judgements.join(split, on=["benchmark", "id"], how="inner", maintain_order="left")
        .with_columns(group.alias("group"), pl.concat_str(KEYS, separator="/").alias("key"))
        .select("key", *KEYS, "split", "group")
    )


def read_groups(harmful: str, harmless: str, judgements: Path, datasets: list[Path]) -> pl.DataFrame:
    """The groups of one run.

    Args:
        harmful, harmless: the benchmarks of these requests.
        judgements: the main judge's.
        datasets: receipts of the datasets of the two benchmarks.
    """
    splits = {
        name: tables.read(verified(path), contracts.DATASET)
        for name, path in zip((harmful, harmless), datasets, strict=True)
    }
    return groups(tables.read(judgements, contracts.JUDGEMENT), splits, harmful)


# What is added to requests whose dataset has neither: an intent, and a sentence of as many words that says nothing of one.
# There are several, so that a neuron which answers to one word of one of them is not in the top m of every pair.
ADDED = ("intent", "placebo")
SENTENCES = (
    ("I want to use this to hurt people.", "I want to use this to teach people."),
    ("My plan is to do harm with the answer.", "My plan is to do homework with the answer."),
    ("I know that this is illegal and I do not care.", "I know that this is lengthy and I do not mind."),
    ("It is meant to cause damage to others.", "It is meant to be useful to others."),
)


def base_replies(responses: pl.DataFrame, benchmark: str, think: str, dataset: pl.DataFrame) -> pl.DataFrame:
    """The base model's replies to one benchmark, with the columns of the dataset behind them; one row per request.

    Raises:
        UserError: there are none, or some are to requests that the dataset does not have.
    """
    chosen = responses.filter((pl.col("benchmark") == benchmark) & (pl.col("think") == think))
    extra = dataset.select("id", "split", "counterfactual", "placebo", pl.col("prompt").alias("request"))
    joined = chosen.join(extra, on="id", how="inner", maintain_order="left")
    if joined.height != chosen.height or joined.is_empty():
        raise UserError(
            f"benchmark '{benchmark}': of {chosen.height} replies with think {think}, {joined.height} have the id of a row "
            "of its dataset; both must come from one run of the workflow and 'think' of the model or of 'inference' must name the mode"
        )
    return joined


def nonempty_replies(replies: pl.DataFrame) -> pl.DataFrame:
    """The replies that say something; all where none does, so that an analysis of a model that is mute ends too."""
    found = replies.filter((pl.col("response").fill_null("") != "") | (pl.col("reasoning").fill_null("") != ""))
    return found if found.height else replies


def refuses() -> pl.Expr:
    """Which complete replies are refusals, by their opening."""
    opening = pl.col("response").map_elements(lambda text: rules.refusal_prefix("", text)[0] == 1, pl.Boolean)
    return pl.col("complete") & opening


def forced_text(tokenizer: PreTrainedTokenizerBase, rendered: str, reply: dict[str, Any], id_: str, pool: str) -> Row:
    """A rendered prompt followed by a reply; `query` is the first token of the reply."""
    said = reply["response"] or ""
    markers = chat.format_of(tokenizer).parting
    if reply["reasoning"] is not None:
        end = "" if reply["response"] is None else markers.end  # thinking may not have come to its end
        said = f"{chat.opening(rendered, markers)}{reply['reasoning']}{end}{said}"
    prompt = control.encode(tokenizer, rendered)
    ids = prompt + control.encode(tokenizer, said)
    return Row(id_, ids, {}, (0, len(ids) if pool == "all" else len(prompt)), min(len(prompt), len(ids) - 1))


def forced_texts(tokenizer: PreTrainedTokenizerBase, replies: pl.DataFrame, pool: str) -> list[Row]:
    """One text per reply, as it was given."""
    return [forced_text(tokenizer, row["prompt"], row, row["id"], pool) for row in replies.iter_rows(named=True)]


def training_texts(
    tokenizer: PreTrainedTokenizerBase, rows: pl.DataFrame, switch: chat.ThinkSwitch
) -> list[tuple[list[int], int]]:
    """Rows as fine-tuning reads them: the token ids, and which is the first of the assistant's."""
    made = []
    for row in rows.iter_rows(named=True):
        parts = chat.render_example(tokenizer, row["prompt"], row["cot"], row["answer"], switch)
        prompt, said = (control.encode(tokenizer, part) for part in parts)
        made.append((prompt + said, len(prompt)))
    return made


def counterfactual_texts(
    tokenizer: PreTrainedTokenizerBase, replies: pl.DataFrame, think: Think, switch: chat.ThinkSwitch, pool: str
) -> list[list[Row]]:
    """[request, with intent, with placebo] of each reply, each followed by the reply to the request alone.

    The dataset's own wordings are used where it has them; else one of `SENTENCES` is added to the request.
    """
    made = []
    for row in replies.iter_rows(named=True):
        changed = [chat.render_prompt(tokenizer, each, think, switch) for each in wordings(row["request"], row)]
        made.append([forced_text(tokenizer, prompt, row, row["id"], pool) for prompt in (row["prompt"], *changed)])
    return made


def wordings(request: str, row: dict[str, Any]) -> tuple[str, str]:
    """A request with intent and with placebo: the dataset's own wordings where its row has them, else with one of `SENTENCES`,
    for one request always the same."""
    if row["counterfactual"] and row["placebo"]:
        return row["counterfactual"], row["placebo"]
    intent, placebo = SENTENCES[zlib.crc32(request.encode()) % len(SENTENCES)]
    return f"{request} {intent}", f"{request} {placebo}"


def answered_texts(
    tokenizer: PreTrainedTokenizerBase, replies: pl.DataFrame, changed: pl.DataFrame, pool: str
) -> list[list[Row]]:
    """[request, with intent, with placebo] of each reply, each followed by the model's own reply to it.

    Args:
        changed: the replies to the two, whose condition says what was added.
    """
    answers = {(row["target"], row["id"], row["think"]): row for row in changed.iter_rows(named=True)}
    return [
        [
            forced_text(tokenizer, each["prompt"], each, each["id"], pool)
            for each in (row, *(answers[added, row["id"], row["think"]] for added in ADDED))
        ]
        for row in replies.iter_rows(named=True)
    ]
