"""Activation caches: one job loads one variant of one model and reads all that the analyses need in one pass.

In: replies and checkpoint. Out: data/activations/{study}/{model}/{variant}/seed{seed}, shards and an index, + receipt.
"""


def mechanism_settings(*keys):
    """Settings of an analysis of activations: its model, its requests, and those keys of the section."""
    chosen = settings_of(STUDY.mechanism, "harmful", "harmless", *keys)
    return lambda w: {"model": model_reference(w), **chosen}


MECHANISM_DATASETS = benchmark_receipts([STUDY.mechanism.harmful, STUDY.mechanism.harmless])


def cache_settings(w):
    chosen = mechanism_settings("positions", "neurons", "batch_size")(w)
    return {**chosen, "code": code("cache_activations", TRAIN_ENV)}


rule cache_activations:
    input:
        lambda w: artifacts_of(receipt(responses("plain")), *checkpoints(w)),
        checkpoints,
        replies=receipt(responses("plain")),
    output:
        folder=directory(ACTIVATIONS),
        receipt=receipt(ACTIVATIONS),
    log:
        logs("cache_activations", RUN),
    benchmark:
        timings("cache_activations", RUN)
    conda:
        TRAIN_ENV
    threads: STUDY.threads
    resources:
        **model_resources("cache_activations"),
    params:
        code=code("cache_activations", TRAIN_ENV),
        job=job("cache_activations", cache_settings),
    shell:
        MODEL_STEP
