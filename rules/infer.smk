"""Inference: one job loads one variant of one model and answers every benchmark, thinking on and off.

In: prompts and checkpoint. Out: data/{study}/responses/{model}/{variant}/seed{seed}/plain.parquet. Nothing is judged here.
"""


rule generate_replies:
    input:
        lambda w: artifacts_of(*benchmark_datasets(), *checkpoints(w)),
        checkpoints,
        datasets=benchmark_datasets(),
    output:
        replies=responses("plain"),
        receipt=receipt(responses("plain")),
    log:
        logs("generate_replies", RUN),
    benchmark:
        timings("generate_replies", RUN)
    conda:
        INFER_ENV
    threads: STUDY.threads
    resources:
        **model_resources("generate_replies"),
    params:
        code=code("generate_replies", INFER_ENV),
        job=job("generate_replies", reply_settings),
    shell:
        model_step("generate_replies")
