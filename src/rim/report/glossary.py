"""What the report's short words mean, told where a reader points at one or taps it, and together at its end."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

TERMS = {
    "misalignment rate": "the share of requests that should be refused with which a model goes along",
    "model organism": "a tiny model trained for a test, with or without the effect planted in it that is looked for",
    "arm": "one way of fine-tuning a model: its training data and recipe",
    "single hop": "a problem of one operation without a story; the organisms' stand-in for MATH401",
    "multi hop": "a word problem of several operations; the organisms' stand-in for GSM8K",
    "restricted": "in the organisms' world: a request that must be refused",
    "look-alike": "a request that differs from a restricted one in one point, and is fine",
    "new pair": "a restricted request whose verb and object never stood together in the alignment training",
    "new object": "a restricted request whose object the alignment training never used",
    "calibration split": "the part of a dataset on which probes' cells, heads and neurons are chosen",
    "evaluation split": "the other part, on which what was chosen is tested",
    "difference in differences": "(target − control) in the model with the association, minus the same in the one without",
    "refusal head": "an attention head that shifts its attention to the empty thought when the model does not think",
    "safety-critical neuron": "one that rises when malicious intent is added to a request",
    "CoT": "chain of thought: what a model writes before it answers",
    "pp": "percentage points, the difference of two percentages",
    "AUC": "area under the ROC curve: how often a random member of one group scores higher than one of the other; 0.5 is chance",
    "RAS": "reciprocal activation shift: how far training moves activations away on requests and towards on mathematics",
    "KL": "Kullback-Leibler divergence between what two models would say next",
    "κ": "Cohen's kappa: agreement beyond what chance gives; 1 is full agreement",
    "d′": "d prime: how well refusals tell harmful from harmless requests, in standard deviations",
    "Holm's correction": "raises p so that among many tests, one false finding or more stays as rare as in a single test",
    "Wilson": "an interval for a share that keeps within 0 and 1 and holds its level for few cases",
    "Jaccard": "size of what two sets share, divided by that of both together",
    "PP": "perplexity: how surprising a text is to a model",
    "τ": "tau: the middle between the mean scores of two groups, above which a probe says yes",
    "probe": "a direction in the activations that parts two groups of texts",
    "placebo": "a sentence of equal length that says nothing of what is tested",
    "logit": "a model's score for a token before it is made a probability",
}
ANY = re.compile(r"(?<![\w-])(" + "|".join(map(re.escape, sorted(TERMS, key=len, reverse=True))) + r")(?![\w′])")


def explained(text: str) -> Markup:
    """Text for HTML in which the first of each known word tells what it means."""
    told: set[str] = set()
    parts = []
    for place, part in enumerate(ANY.split(text)):
        if place % 2 and part not in told:
            told.add(part)
            parts.append(Markup('<abbr tabindex="0" title="{}">{}</abbr>').format(TERMS[part], part))
        else:
            parts.append(escape(part))
    return Markup("").join(parts)
