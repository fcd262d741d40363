"""Probes and refusal heads: what cached activations say about where refusal is decided.

In: an activation cache and the judgements. Out: data/{study}/probes/… (probes, scores, directions) and
data/{study}/heads/….
"""


rule fit_probes:
    input:
        artifacts_of(receipt(ACTIVATIONS), *MECHANISM_DATASETS),
        checkpoints,
        cache=receipt(ACTIVATIONS),
        judgements=judgements("plain"),
        datasets=MECHANISM_DATASETS,
    output:
        probes=f"{PROBES}.probes.parquet",
        scores=f"{PROBES}.scores.parquet",
        directions=f"{PROBES}.directions.safetensors",
        receipt=receipt(f"{PROBES}.directions.safetensors"),
    log:
        logs("fit_probes", RUN),
    benchmark:
        timings("fit_probes", RUN)
    conda:
        TRAIN_ENV
    params:
        code=code("fit_probes", TRAIN_ENV),
        job=job("fit_probes", mechanism_settings()),
    shell:
        step("fit_probes")


rule find_refusal_heads:
    input:
        artifacts_of(receipt(ACTIVATIONS), *MECHANISM_DATASETS),
        checkpoints,
        cache=receipt(ACTIVATIONS),
        judgements=judgements("plain"),
        datasets=MECHANISM_DATASETS,
    output:
        heads=HEADS,
        attention=ATTENTION,
    log:
        logs("find_refusal_heads", RUN),
    benchmark:
        timings("find_refusal_heads", RUN)
    conda:
        TRAIN_ENV
    params:
        code=code("find_refusal_heads", TRAIN_ENV),
        job=job("find_refusal_heads", mechanism_settings("head_share")),
    shell:
        step("find_refusal_heads")
