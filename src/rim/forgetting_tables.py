"""The tables of the analysis of forgetting: per run under data/, and all runs together as results."""

from __future__ import annotations

import polars as pl

from rim.tables import Contract

_RUN: Contract = {"model": pl.String, "variant": pl.String, "seed": pl.Int64}
_BASE: Contract = {"model": pl.String, "seed": pl.Int64}
_INTERVAL: Contract = {"estimate": pl.Float64, "ci_low": pl.Float64, "ci_high": pl.Float64}

NEURONS: Contract = {
    "set": pl.String,  # found | random0, … (as many per layer) | matched0, … (and of like activation)
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
    **_INTERVAL,  # Jaccard index with the sets of bootstrap resamples of the pairs
}
CHECKPOINTS: Contract = {
    "step": pl.Int64,  # optimizer steps so far
    "metric": pl.String,  # see rim.forgetting.METRICS and BASELINES
    "neurons": pl.String,  # safety | random | matched | all; empty for baselines
    "n": pl.Int64,  # texts: the fewer of safety and task
    **_INTERVAL,  # over texts; none for distances of weights
    "kept": pl.Float64,  # share of dimensions with a ratio; none for baselines
}
_CORRELATION: Contract = {
    "metric": pl.String,
    "neurons": pl.String,
    "n": pl.Int64,
    **_INTERVAL,
}
RESULTS: dict[str, Contract] = {
    "neuron_layers": {
        **_BASE,
        "layer": pl.Int64,
        "neurons": pl.Int64,  # found
        "frequency": pl.Float64,  # of the found ones, on average
        "placebo": pl.Float64,
        "magnitude": pl.Float64,
        "matched": pl.Float64,  # magnitude of the sets matched in it
    },
    "neuron_stability": {**_BASE, **CURVE},
    "neuron_effects": {
        **_BASE,
        "draw": pl.String,  # found, or random0, matched0, …
        "neurons": pl.Int64,
        "against": pl.String,  # none: the model as it is; random, matched: the mean of those sets
        "measure": pl.String,
        "benchmark": pl.String,
        "n": pl.Int64,
        "incomplete": pl.Int64,
        **_INTERVAL,  # the change
        "reference": pl.Float64,
        "p": pl.Float64,
        "p_holm": pl.Float64,
    },
    "neuron_effect_summary": {  # over models, as the paper's means are
        "measure": pl.String,
        "sets": pl.String,  # found | random | matched
        "models": pl.Int64,
        "mean": pl.Float64,
        "median": pl.Float64,
        "lowest": pl.Float64,
        "highest": pl.Float64,
    },
    "checkpoints": {**_RUN, **CHECKPOINTS},
    "checkpoint_rates": {**_RUN, "step": pl.Int64, "n": pl.Int64, "incomplete": pl.Int64, **_INTERVAL},
    "correlations": {
        **_RUN,
        **_CORRELATION,  # Pearson's r with Fisher's interval
        "p": pl.Float64,  # Student's t
        "p_exact": pl.Float64,  # over all orders of the checkpoints
        "p_holm": pl.Float64,  # of p_exact, over the metrics of a run
        "spearman": pl.Float64,
        "spearman_p": pl.Float64,
        "kendall": pl.Float64,
        "kendall_p": pl.Float64,
    },
    "correlations_over_runs": {**_CORRELATION, "runs": pl.Int64},  # within runs; interval over runs
    "early_warnings": {  # a metric after a quarter of training with the change at its end, over runs
        **_CORRELATION,  # n runs; Pearson's r with Fisher's interval
        "p_exact": pl.Float64,
        "p_holm": pl.Float64,
        "spearman": pl.Float64,
    },
    "forgetting_predictions": {
        "model": pl.String,  # left out
        "metric": pl.String,
        "neurons": pl.String,
        "n": pl.Int64,
        "error": pl.Float64,  # mean absolute, in misalignment rate
        "reference": pl.Float64,  # error of the mean of the other models
    },
}
