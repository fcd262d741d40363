"""What the analyses are given: which runs they look at, datasets, and their settings."""


def mechanism_settings(wildcards, *keys, **more):
    """Settings of an analysis job: its model, and those keys of the analysis that it goes by."""
    chosen = {key: getattr(STUDY.mechanism, key) for key in ("harmful", "harmless", *keys)}
    return model_settings(wildcards, mechanism=chosen, **more)


def analysed_runs():
    """The runs whose activations are read."""
    only = STUDY.mechanism.variants
    return [run for run in runs() if only is None or run[1] in only]


def head_runs():
    """Those of them whose attention can be compared between thinking on and off at an empty think span."""
    both = set(STUDY.inference.think) == {"on", "off"}
    return [run for run in analysed_runs() if both and STUDY.models[run[0]].think == "tags"]


def ablated_runs():
    """The runs on which heads are ablated."""
    return [run for run in head_runs() if run[1] in STUDY.mechanism.ablate]


def mechanism_datasets(wildcards):
    """Receipts of the datasets of harmful and harmless requests, in this order."""
    names = (STUDY.mechanism.harmful, STUDY.mechanism.harmless)
    return [receipt(DATASET.format(dataset=STUDY.benchmarks[name].dataset)) for name in names]


def forgetting_settings(wildcards, **more):
    """Settings of a job on neurons or forgetting: its model, and the analysis."""
    return model_settings(wildcards, forgetting=STUDY.forgetting, **more)


def followed_runs():
    """The fine-tunes whose checkpoints are measured."""
    return [run for run in runs() if run[1] in STUDY.forgetting.variants]


def forgetting_datasets(*keys):
    """Receipts of the datasets of those benchmarks of the analysis."""
    names = [getattr(STUDY.forgetting, key) for key in keys]
    return [receipt(DATASET.format(dataset=STUDY.benchmarks[name].dataset)) for name in names]


def arms():
    """The pairs of training sets, (target, control), that the study compares."""
    pairs = [(pair.target, pair.control) for pair in STUDY.pairs] or [("gsm8k_target", "gsm8k_control")]
    return [
        tuple(STUDY.variants[arm].dataset for arm in pair)
        for pair in dict.fromkeys(pairs)
        if all(arm in STUDY.variants for arm in pair)
    ]


def rewritten(wildcards):
    """Receipt of the dataset whose chains of thought are rewritten."""
    return receipt(DATASET.format(dataset=STUDY.rewrites[wildcards.rewrite].dataset))
