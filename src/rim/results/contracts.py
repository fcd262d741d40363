"""The columns of every table of results, by subject. Those of an analysis stand behind the model, variant and seed they are of."""

from __future__ import annotations

import polars as pl

from rim.core.contracts import CHECKPOINTS, CURVE, EFFECTS, HEADS, INTERVAL, PROBES, RUN, SCORES, Contract

_ESTIMATE: Contract = {
    "n": pl.Int64,  # complete replies
    "incomplete": pl.Int64,
    "estimate": pl.Float64,
    "ci_low": pl.Float64,  # 95 % interval; null where none is defined
    "ci_high": pl.Float64,
}

_TEST: Contract = {"p": pl.Float64, "p_holm": pl.Float64}

_CELL: Contract = {"measure": pl.String, "benchmark": pl.String, "seed": pl.String}  # seed "all" is the mean over seeds

_BASE: Contract = {"model": pl.String, "seed": pl.Int64}

_CORRELATION: Contract = {
    "metric": pl.String,
    "neurons": pl.String,
    "n": pl.Int64,
    **INTERVAL,
}

REPLY_TABLES: dict[str, Contract] = {
    "rates": {
        "model": pl.String,
        "variant": pl.String,
        "think": pl.String,
        **_CELL,
        **_ESTIMATE,
        "bound_low": pl.Float64,
        "bound_high": pl.Float64,
    },
    "think_effects": {"model": pl.String, "variant": pl.String, **_CELL, **_ESTIMATE, **_TEST},
    "finetune_effects": {"model": pl.String, "variant": pl.String, "think": pl.String, **_CELL, **_ESTIMATE, **_TEST},
    "mitigation_effects": {  # after minus the arm without the mitigation
        "model": pl.String,
        "variant": pl.String,
        "plain": pl.String,
        "think": pl.String,
        **_CELL,
        **_ESTIMATE,
        **_TEST,
    },
    "pair_effects": {
        "positive": pl.String,
        "negative": pl.String,
        "contrast": pl.String,
        "think": pl.String,
        **_CELL,
        **_ESTIMATE,
        **_TEST,
    },
}

PATTERN_TABLES: dict[str, Contract] = {
    "pattern_shares": {
        "annotator": pl.String,
        "origin": pl.String,
        "benchmark": pl.String,
        "think": pl.String,
        "source": pl.String,
        "pattern": pl.String,  # or "any"
        "n": pl.Int64,  # annotated texts
        "errors": pl.Int64,
        **INTERVAL,
    },
    "annotator_agreement": {
        "first": pl.String,
        "second": pl.String,
        "source": pl.String,
        "pattern": pl.String,
        "n": pl.Int64,
        **INTERVAL,
    },
    "arm_divergence": {
        "target": pl.String,
        "control": pl.String,
        "measure": pl.String,
        "n": pl.Int64,  # problems in both
        **INTERVAL,
    },
    "rewrite_outcomes": {"rewrite": pl.String, "arm": pl.String, "outcome": pl.String, "n": pl.Int64},
    "injection_effects": {
        "model": pl.String,
        "pattern": pl.String,
        "benchmark": pl.String,
        "seed": pl.String,
        "n": pl.Int64,  # prompts with a complete reply after both statements
        "incomplete": pl.Int64,
        "plain": pl.Float64,  # misalignment rate without any statement, thinking on, on the same prompts
        "control": pl.Float64,
        "target": pl.Float64,
        **INTERVAL,  # of target - control
        "p": pl.Float64,
        "p_holm": pl.Float64,
    },
}

JUDGE_TABLES: dict[str, Contract] = {
    "threshold_sweep": {
        "judge": pl.String,
        "model": pl.String,
        "variant": pl.String,
        "think": pl.String,
        "text": pl.String,  # response | reasoning
        "threshold": pl.Int64,
        "n": pl.Int64,  # scored
        "incomplete": pl.Int64,
        "errors": pl.Int64,  # complete, but the judge gave no usable answer
        **INTERVAL,
    },
    "judge_agreement": {
        "first": pl.String,
        "second": pl.String,
        "rating": pl.String,  # score (weighted kappa) | misaligned | refusal
        "n": pl.Int64,
        "errors": pl.Int64,
        "agreement": pl.Float64,  # share of equal ratings
        **INTERVAL,
    },
}

MECHANISM_TABLES: dict[str, Contract] = {
    "probes": {**RUN, **PROBES},
    "probe_scores": {**RUN, **SCORES},
    "heads": {**RUN, **HEADS},
    "head_effects": {**RUN, **EFFECTS},
    "ablation_effects": {
        **RUN,
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
        **INTERVAL,  # the change
        "reference": pl.Float64,  # the share without ablation on the same prompts
        "p": pl.Float64,
        "p_holm": pl.Float64,
    },
}

FORGETTING_TABLES: dict[str, Contract] = {
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
        **INTERVAL,  # the change
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
    "checkpoints": {**RUN, **CHECKPOINTS},
    "checkpoint_rates": {**RUN, "step": pl.Int64, "n": pl.Int64, "incomplete": pl.Int64, **INTERVAL},
    "correlations": {
        **RUN,
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

RESULT_KEYS = ("model", "variant", "plain", "positive", "negative", "contrast", "think", "measure", "benchmark", "seed")
