"""Inference: one job loads one variant of one model and answers every benchmark, thinking on and off.

In: prompts and checkpoint. Out: data/responses/{study}/{model}/{variant}/seed{seed}.parquet. Nothing is judged here.
"""


rule infer:
    input:
        lambda w: behind(*benchmark_datasets(), *checkpoints(w, w.variant)),
        datasets=benchmark_datasets(),
        checkpoints=lambda w: checkpoints(w, w.variant),
    output:
        table=RESPONSES,
        receipt=receipt(RESPONSES),
    log:
        f"{LOG}/infer/{{model}}/{{variant}}/seed{{seed}}.log",
    benchmark:
        f"{TIMING}/infer/{{model}}/{{variant}}/seed{{seed}}.tsv"
    wildcard_constraints:
        variant=any_of([BASE, *STUDY.variants]),
    conda:
        INFER_ENV
    threads: STUDY.threads
    resources:
        gpu=gpus("infer"),
        mem_mb=memory,
        runtime=minutes("infer"),
    params:
        code=code("infer", INFER_ENV),
        settings=lambda w: model_settings(w, inference=STUDY.inference_of(w.model), benchmarks=STUDY.benchmarks),
    shell:
        "rim infer --log {log} --threads {threads} --gpus {resources.gpu} --settings {params.settings:q} --datasets {input.datasets}"
        " --checkpoints {input.checkpoints} --output {output.table}"
