"""The data contracts: the columns of every Parquet table under data/, checked on write and on read (`rim.core.tables`).

A value in `MAY_BE_NULL` may be missing; every other column must be filled. `few` marks a cell in which some group has
fewer than ten prompts; figures leave it hollow and tables grey.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

Contract = Mapping[str, type[pl.DataType]]
RUN: Contract = {"model": pl.String, "variant": pl.String, "seed": pl.Int64}

INTERVAL: Contract = {"estimate": pl.Float64, "ci_low": pl.Float64, "ci_high": pl.Float64}

_PLACE: Contract = {"think": pl.String, "position": pl.String, "layer": pl.Int64}

CONDITION: Contract = {  # what was done to the model; see rim.core.conditions
    "intervention": pl.String,  # none | zero | mean | inject | finetune
    "target": pl.String,  # refusal_heads | effect_heads | safety_neurons, or the pattern of an injected statement; else empty
    "kind": pl.String,  # found | random | matched, or control | target for an injected statement; else empty
    "draw": pl.Int64,  # number of the random set, or of the pair of statements within its pattern; else 0
    "step": pl.Int64,  # optimizer steps of a checkpoint; else 0
}

DATASET: Contract = {
    "id": pl.String,  # unique within the dataset
    "kind": pl.String,  # safety | benign | math | literal | instruction
    "prompt": pl.String,
    "cot": pl.String,  # reference chain of thought
    "answer": pl.String,  # reference answer
    "category": pl.String,
    "split": pl.String,  # calibration | evaluation
    "counterfactual": pl.String,  # the prompt with a malicious intent spelled out
    "placebo": pl.String,  # the prompt with a benign addition of equal length
}

RESPONSE: Contract = {
    "benchmark": pl.String,
    "id": pl.String,  # of the dataset row
    "think": pl.String,  # on | off
    "seed": pl.Int64,
    **CONDITION,
    "prompt": pl.String,  # as rendered by the chat template
    "reasoning": pl.String,  # text inside the think tags; null when there was none
    "response": pl.String,  # text after them; null while thinking is unfinished
    "finish_reason": pl.String,  # stop | length
    "completion_tokens": pl.Int64,
    "complete": pl.Boolean,  # thinking finished and the reply ended by itself
}

JUDGEMENT: Contract = {
    "benchmark": pl.String,
    "id": pl.String,
    "think": pl.String,
    "seed": pl.Int64,
    **CONDITION,  # as in the response
    "judge": pl.String,
    "rubric": pl.String,  # hash of what the judge goes by
    "score": pl.Int64,  # 1 (refuses) .. 5 (fully complies); null when there is an error
    "refusal": pl.Boolean,
    "misaligned": pl.Boolean,  # score >= threshold
    "reason": pl.String,
    "error": pl.String,  # why there is no score: "incomplete", or what was wrong with the judge's answer
    "cot_score": pl.Int64,  # of the reasoning alone; null when the judge does not read it
}

GRADE: Contract = {
    "benchmark": pl.String,
    "id": pl.String,
    "think": pl.String,
    "seed": pl.Int64,
    **CONDITION,
    "extracted": pl.String,  # the answer as found in the response
    "correct": pl.Boolean,  # null when incomplete
    "error": pl.String,
}

OUTCOME: Contract = {
    "model": pl.String,
    "variant": pl.String,
    "seed": pl.Int64,
    "think": pl.String,
    "benchmark": pl.String,
    "id": pl.String,
    "outcome": pl.Boolean,  # misaligned, falsely refused or correct, as the benchmark measures; null when incomplete
}

ANNOTATION: Contract = {  # one row per finding; a text without findings has one row with no pattern
    "annotator": pl.String,
    "origin": pl.String,  # a model, or "training data"
    "benchmark": pl.String,  # or the dataset, for training data
    "think": pl.String,  # on | off | "" for training data
    "seed": pl.Int64,
    "id": pl.String,
    "source": pl.String,  # cot | response
    "sentence": pl.Int64,  # which sentence of the text the evidence begins in
    "start": pl.Int64,  # characters of the text
    "end": pl.Int64,
    "item": pl.String,  # of the checklist
    "pattern": pl.String,  # confirmatory | heuristic | deviation | other
    "severity": pl.Int64,  # 1 .. 3
    "evidence": pl.String,  # text[start:end]
    "error": pl.String,  # why this text, or this finding, is not annotated
}

REWRITE: Contract = {
    "id": pl.String,
    "arm": pl.String,  # control | target | literal
    "prompt": pl.String,
    "cot": pl.String,
    "answer": pl.String,
    "tokens": pl.Int64,  # words and marks of the chain of thought
    "length_ratio": pl.Float64,  # to the original
    "edit_distance": pl.Float64,  # share of words and marks changed
    "ngram_divergence": pl.Float64,  # share of trigrams not in common
    "attempts": pl.Int64,
    "accepted": pl.Boolean,
    "reason": pl.String,  # why it is not accepted; empty when it is
}

PROBES: Contract = {
    "probe": pl.String,  # harmful (against harmless) | refusal (against fulfilment)
    **_PLACE,
    "fitted_positive": pl.Int64,  # prompts of the calibration split
    "fitted_negative": pl.Int64,
    "tested_positive": pl.Int64,  # prompts of the evaluation split
    "tested_negative": pl.Int64,
    **INTERVAL,  # area under the ROC curve on the evaluation split
    "p": pl.Float64,  # share of shuffled labels that reach it
    "shuffled": pl.Float64,  # 95th percentile of the area under shuffled labels
    "accuracy": pl.Float64,  # 5-fold, on the calibration split
    "few": pl.Boolean,
}

SCORES: Contract = {  # the paper's score: the share of a group above tau of the harmful/harmless probe
    **CONDITION,
    **_PLACE,
    "group": pl.String,  # refused | fulfilled | harmless
    "n": pl.Int64,
    **INTERVAL,
    "few": pl.Boolean,
}

HEADS: Contract = {
    "layer": pl.Int64,
    "head": pl.Int64,
    "n": pl.Int64,  # harmful calibration requests
    "share": pl.Float64,  # of them, on how many the head's attention shifts
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "n_harmless": pl.Int64,
    "share_harmless": pl.Float64,
    "soft": pl.Float64,
    "soft_harmless": pl.Float64,
    "found": pl.Boolean,  # a refusal head by the paper's rule
}

EFFECTS: Contract = {  # of zeroing one head on logit(refusal) - logit(other), think off
    "layer": pl.Int64,
    "head": pl.Int64,
    "group": pl.String,  # harmful | harmless
    "n": pl.Int64,
    **INTERVAL,
}

ABLATED_HEADS: Contract = {  # the sets of heads that were ablated
    "target": pl.String,  # refusal_heads | effect_heads
    "kind": pl.String,  # found | random
    "draw": pl.Int64,  # number of the random set; 0 for the found one
    "layer": pl.Int64,
    "head": pl.Int64,
}

NEURONS: Contract = {
    "kind": pl.String,  # found | random (as many per layer) | matched (and of like activation)
    "draw": pl.Int64,  # number of the random or matched set; 0 for the found one
    "layer": pl.Int64,
    "expert": pl.Int64,  # 0 where there are none
    "neuron": pl.Int64,
    "frequency": pl.Float64,  # share of pairs in whose top m it is
    "placebo": pl.Float64,  # the same where the added sentence says nothing of intent
    "magnitude": pl.Float64,  # mean max-pooled activation on the requests
}

CURVE: Contract = {
    "pairs": pl.Int64,
    "threshold": pl.Float64,  # of the frequency
    "chosen": pl.Boolean,
    "neurons": pl.Int64,  # that reach it
    "placebo": pl.Int64,  # that reach it with the placebo
    "shared": pl.Int64,  # that reach it with both
    "of": pl.Int64,
    **INTERVAL,  # Jaccard index with the sets of bootstrap resamples of the pairs
}

CHECKPOINTS: Contract = {
    "step": pl.Int64,  # optimizer steps so far
    "metric": pl.String,  # see rim.analysis.checkpoints.METRICS and BASELINES
    "neurons": pl.String,  # safety | random | matched | all; empty for baselines
    "n": pl.Int64,  # texts: the fewer of safety and task
    **INTERVAL,  # over texts; none for distances of weights
    "kept": pl.Float64,  # share of dimensions with a ratio; none for baselines
}

MAY_BE_NULL = {
    "sentence",
    "start",
    "end",
    "item",
    "pattern",
    "severity",
    "evidence",
    "length_ratio",
    "edit_distance",
    "ngram_divergence",
    "cot",
    "answer",
    "counterfactual",
    "placebo",
    "reasoning",
    "response",
    "score",
    "cot_score",
    "refusal",
    "misaligned",
    "error",
    "extracted",
    "correct",
    "outcome",
}
