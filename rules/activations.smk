"""Activation caches: one job loads one variant of one model and reads all that the analyses need in one pass.

In: replies and checkpoint. Out: data/{study}/activations/{model}/{variant}/seed{seed}, shards and an index, + receipt.
"""

MECHANISM_DATASETS = benchmark_receipts([STUDY.mechanism.harmful, STUDY.mechanism.harmless])


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
        model_step("cache_activations")
