"""The tables of the activation analyses: per run under data/, and all runs together as results.

The tables of results have the columns of the per-run ones behind model, variant and seed. `few` marks a cell in which
some group has fewer than ten prompts; figures leave it hollow and tables grey.
"""

from __future__ import annotations

import polars as pl

from rim.tables import Contract

_RUN: Contract = {"model": pl.String, "variant": pl.String, "seed": pl.Int64}
_CELL: Contract = {"think": pl.String, "position": pl.String, "layer": pl.Int64}
_INTERVAL: Contract = {"estimate": pl.Float64, "ci_low": pl.Float64, "ci_high": pl.Float64}

PROBES: Contract = {
    "probe": pl.String,  # harmful (against harmless) | refusal (against fulfilment)
    **_CELL,
    "fitted_positive": pl.Int64,  # prompts of the calibration split
    "fitted_negative": pl.Int64,
    "tested_positive": pl.Int64,  # prompts of the evaluation split
    "tested_negative": pl.Int64,
    **_INTERVAL,  # area under the ROC curve on the evaluation split
    "p": pl.Float64,  # share of shuffled labels that reach it
    "shuffled": pl.Float64,  # 95th percentile of the area under shuffled labels
    "accuracy": pl.Float64,  # 5-fold, on the calibration split
    "few": pl.Boolean,
}
SCORES: Contract = {  # the paper's score: the share of a group above tau of the harmful/harmless probe
    "ablation": pl.String,
    **_CELL,
    "group": pl.String,  # refused | fulfilled | harmless
    "n": pl.Int64,
    **_INTERVAL,
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
    **_INTERVAL,
}
RESULTS: dict[str, Contract] = {
    "probes": {**_RUN, **PROBES},
    "probe_scores": {**_RUN, **SCORES},
    "heads": {**_RUN, **HEADS},
    "head_effects": {**_RUN, **EFFECTS},
    "ablation_effects": {
        **_RUN,
        "head_set": pl.String,  # refusal_heads | effect_heads
        "replacement": pl.String,  # zero | mean
        "draw": pl.String,  # found, or random0, random1, …
        "heads": pl.String,  # which they are, such as "L1H2 L3H0"
        "against": pl.String,  # none: the model as it is; random: the mean of the random draws
        "think": pl.String,
        "measure": pl.String,
        "benchmark": pl.String,
        "n": pl.Int64,  # all replies
        "incomplete": pl.Int64,  # of them, not finished without the heads; they count as unparsable only
        **_INTERVAL,  # the change
        "reference": pl.Float64,  # the share without ablation on the same prompts
        "p": pl.Float64,
        "p_holm": pl.Float64,
    },
}
