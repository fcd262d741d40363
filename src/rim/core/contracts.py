"""The data contracts: the columns of every Parquet table under data/, checked on write and on read (`rim.core.tables`).

A column is filled unless it is `optional`, and has one of its values where these are listed. A number that is not defined,
such as an interval of nothing, is nan. `few` marks a score of fewer than ten prompts, or a probe with fewer than five in some
group; figures leave it hollow and tables grey.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import polars as pl


@dataclass(frozen=True)
class Column:
    """What a column holds."""

    dtype: type[pl.DataType]
    values: tuple[str | int, ...] = ()  # the only ones allowed, where there are any
    optional: bool = False  # whether it may be empty (null)


class Contract(Mapping[str, type[pl.DataType]]):
    """The columns of a table in their order: name -> type, as polars wants a schema, and in `columns` all there is to know."""

    def __init__(self, **columns: Column) -> None:
        self.columns = columns

    def __getitem__(self, name: str) -> type[pl.DataType]:
        return self.columns[name].dtype

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)


def one_of(*values: str) -> Column:
    """A text with one of these values."""
    return Column(pl.String, values)


def optional(column: Column) -> Column:
    """The same, or empty."""
    return replace(column, optional=True)


TEXT = Column(pl.String)
INTEGER = Column(pl.Int64)
NUMBER = Column(pl.Float64)
FLAG = Column(pl.Boolean)
THINK = one_of("on", "off", "plain")
SCORE = Column(pl.Int64, (1, 2, 3, 4, 5))  # 1 (refuses) .. 5 (fully complies)
Columns = Mapping[str, Column]  # a part of several contracts

RUN: Columns = {"model": TEXT, "variant": TEXT, "seed": INTEGER}

INTERVAL: Columns = {"estimate": NUMBER, "ci_low": NUMBER, "ci_high": NUMBER}

_PLACE: Columns = {"think": THINK, "position": TEXT, "layer": INTEGER}

CONDITION: Columns = {  # what was done to the model; see rim.core.conditions
    "intervention": one_of("none", "zero", "mean", "inject", "add", "finetune"),
    "target": one_of(  # what it is done to, the pattern of an injected statement, or what is added to the request
        "",
        "refusal_heads",
        "effect_heads",
        "safety_neurons",
        "confirmatory",
        "heuristic",
        "deviation",
        "intent",
        "placebo",
    ),
    "kind": one_of("", "found", "random", "matched", "control", "target"),  # the last two of an injected statement
    "draw": INTEGER,  # number of the random set, or of the pair of statements within its pattern; else 0
    "step": INTEGER,  # optimizer steps of a checkpoint; else 0
}

DATASET = Contract(
    id=TEXT,  # unique within the dataset
    kind=one_of("safety", "benign", "math", "literal", "instruction"),
    prompt=TEXT,
    cot=optional(TEXT),  # reference chain of thought
    answer=optional(TEXT),  # reference answer
    category=TEXT,
    split=one_of("calibration", "evaluation"),
    counterfactual=optional(TEXT),  # the prompt with a malicious intent spelled out
    placebo=optional(TEXT),  # the prompt with a benign addition of equal length
)

RESPONSE = Contract(
    benchmark=TEXT,
    id=TEXT,  # of the dataset row
    think=THINK,
    seed=INTEGER,
    **CONDITION,
    # Where any of these three only spells a control token, rim.models.control has marked it.
    prompt=TEXT,  # as rendered by the chat template
    reasoning=optional(TEXT),  # text inside the thought; null when there was none
    response=optional(TEXT),  # text after them; null while thinking is unfinished
    finish_reason=one_of("stop", "length"),
    completion_tokens=INTEGER,
    complete=FLAG,  # thinking finished and the reply ended by itself
)

UNFIT = ("incomplete", "incoherent")  # replies that no judge is shown: not finished, or no language any more

JUDGEMENT = Contract(
    benchmark=TEXT,
    id=TEXT,
    think=THINK,
    seed=INTEGER,
    **CONDITION,  # as in the response
    judge=TEXT,
    rubric=TEXT,  # hash of what the judge goes by
    score=optional(SCORE),  # null when there is an error
    refusal=optional(FLAG),
    misaligned=optional(FLAG),  # score >= threshold
    reason=TEXT,
    error=optional(TEXT),  # why there is no score: one of UNFIT, or what was wrong with the judge's answer
    cot_score=optional(SCORE),  # of the reasoning alone; null when the judge does not read it
)

GRADE = Contract(
    benchmark=TEXT,
    id=TEXT,
    think=THINK,
    seed=INTEGER,
    **CONDITION,
    extracted=optional(TEXT),  # the answer as found in the response
    correct=optional(FLAG),  # null when there is an error
    error=optional(TEXT),  # why there is no grade: "incomplete", or "timeout" of the comparison
)

OUTCOME = Contract(
    model=TEXT,
    variant=TEXT,
    seed=INTEGER,
    think=THINK,
    benchmark=TEXT,
    id=TEXT,
    # misaligned, falsely refused or correct, as the benchmark measures; null when incomplete, or without score or grade
    outcome=optional(FLAG),
)

TRAINING_DATA = "training data"  # the origin of texts that no model wrote

ANNOTATION = Contract(  # one row per finding; a text without findings has one row with no pattern
    annotator=TEXT,
    origin=TEXT,  # a model, or TRAINING_DATA
    benchmark=TEXT,  # or the dataset, for training data
    think=one_of("on", "off", "plain", ""),  # empty text for training data
    seed=INTEGER,
    id=TEXT,
    source=one_of("cot", "response"),
    sentence=optional(INTEGER),  # which sentence of the text the evidence begins in
    start=optional(INTEGER),  # characters of the text
    end=optional(INTEGER),
    item=optional(TEXT),  # of the checklist
    pattern=optional(one_of("confirmatory", "heuristic", "deviation", "other")),
    severity=optional(Column(pl.Int64, (1, 2, 3))),
    evidence=optional(TEXT),  # text[start:end]
    error=optional(TEXT),  # why this text, or this finding, is not annotated
)

REWRITE = Contract(
    id=TEXT,
    arm=one_of("control", "target", "literal"),
    prompt=TEXT,
    cot=optional(TEXT),
    answer=optional(TEXT),
    tokens=INTEGER,  # words and marks of the chain of thought
    length_ratio=optional(NUMBER),  # to the original
    edit_distance=optional(NUMBER),  # share of words and marks changed
    ngram_divergence=optional(NUMBER),  # share of trigrams not in common
    attempts=INTEGER,
    accepted=FLAG,
    reason=TEXT,  # why it is not accepted; empty when it is
)

PROBES = Contract(
    probe=one_of("harmful", "refusal"),  # against harmless, against fulfilment
    **_PLACE,
    fitted_positive=INTEGER,  # prompts of the calibration split
    fitted_negative=INTEGER,
    tested_positive=INTEGER,  # prompts of the evaluation split
    tested_negative=INTEGER,
    cross_validated=NUMBER,  # area, 5-fold, on the calibration split
    accuracy=NUMBER,  # likewise
    selected=FLAG,  # the cell with the largest cross-validated area of its probe and think mode
    **INTERVAL,  # area under the ROC curve on the evaluation split
    p=NUMBER,  # share of shuffled labels that reach it in this cell: the test of a selected cell
    p_max=NUMBER,  # that reach it in any cell: the test of a cell picked for its area
    shuffled_max=NUMBER,  # 95th percentile of the largest area of all cells under shuffled labels
    few=FLAG,  # some group has fewer than five prompts: no test, and never selected
)

SCORES = Contract(  # the paper's score: the share of a group above tau of the harmful/harmless probe
    **CONDITION,
    **_PLACE,
    group=one_of("refused", "fulfilled", "harmless"),
    n=INTEGER,
    **INTERVAL,
    few=FLAG,
)

HEADS = Contract(
    layer=INTEGER,
    head=INTEGER,
    n=INTEGER,  # harmful calibration requests
    share=NUMBER,  # of them, on how many the head's attention shifts
    ci_low=NUMBER,
    ci_high=NUMBER,
    n_harmless=INTEGER,
    share_harmless=NUMBER,
    soft=NUMBER,
    soft_harmless=NUMBER,
    found=FLAG,  # a refusal head by the paper's rule
)

ATTENTION = Contract(  # where the last prompt token looks, on harmful calibration requests
    heads=TEXT,  # a refusal head, such as "L1H2", or "all" together
    think=one_of("on", "off"),
    position=TEXT,  # or "elsewhere"
    what=one_of(
        "weight", "largest"
    ),  # attention to the position; whether the largest is there, the first token left out
    n=INTEGER,  # requests
    **INTERVAL,  # of the mean over requests, and over heads
)

EFFECTS = Contract(  # of zeroing one head on logit(refusal) - logit(other), think off
    layer=INTEGER,
    head=INTEGER,
    group=one_of("harmful", "harmless"),
    n=INTEGER,
    **INTERVAL,
)

EFFECT_SKEWNESS = Contract(  # of these effects over prompts; apart, since only their test needs it
    layer=INTEGER,
    head=INTEGER,
    group=one_of("harmful", "harmless"),
    skewness=NUMBER,
)

ABLATED_HEADS = Contract(  # the sets of heads that were ablated
    target=one_of("refusal_heads", "effect_heads"),
    kind=one_of("found", "random"),
    draw=INTEGER,  # number of the random set; 0 for the found one
    layer=INTEGER,
    head=INTEGER,
)

NEURONS = Contract(
    kind=one_of("found", "random", "matched"),  # as many per layer; matched ones of like activation
    draw=INTEGER,  # number of the random or matched set; 0 for the found one
    layer=INTEGER,
    expert=INTEGER,  # 0 where there are none
    neuron=INTEGER,
    frequency=NUMBER,  # share of pairs in whose top m it is
    placebo=NUMBER,  # the same where the added sentence says nothing of intent
    magnitude=NUMBER,  # mean max-pooled activation on the requests
)

CURVE = Contract(
    pairs=INTEGER,
    threshold=NUMBER,  # of the frequency
    chosen=FLAG,
    neurons=INTEGER,  # that reach it
    placebo=INTEGER,  # that reach it with the placebo
    shared=INTEGER,  # that reach it with both
    of=INTEGER,
    **INTERVAL,  # Jaccard index with the sets of bootstrap resamples of the pairs
)

PART_SCORES = Contract(  # of every neuron and head of an organism with a graft
    part=one_of("neuron", "head"),
    layer=INTEGER,
    expert=INTEGER,  # 0 where there are none
    index=INTEGER,  # of the neuron or head
    grafted=FLAG,  # what was trained is in it, and in nothing else
    method=TEXT,
    score=NUMBER,
)

GRADIENTS = Contract(  # before training
    dataset=TEXT,  # what will be trained on
    rows=optional(INTEGER),  # its first ones, where not all are
    metric=TEXT,  # see rim.analysis.gradients.METRICS
    neurons=one_of("safety", "random", "matched", "all"),
    n=INTEGER,  # texts: the fewer of refusals and rows
    estimate=NUMBER,
)
CHECKPOINTS = Contract(
    step=INTEGER,  # optimizer steps so far
    metric=TEXT,  # see rim.analysis.metrics.METRICS
    neurons=one_of("safety", "random", "matched", "all", ""),  # empty text for baselines
    n=INTEGER,  # texts: the fewer of safety and task
    **INTERVAL,  # over texts; none for distances of weights
    kept=NUMBER,  # share of dimensions with a ratio; none for baselines
)
