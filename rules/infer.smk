"""Inference: one job loads one variant of one model and answers every benchmark, thinking on and off.

In: prompts and checkpoint. Out: data/responses/{study}/{model}/{variant}/seed{seed}.parquet. Nothing is judged here.
"""


def infer_settings(wildcards):
    model = STUDY.models[wildcards.model]
    return as_json(
        {
            "label": f"{wildcards.model}/{wildcards.variant}/seed{wildcards.seed}",
            "base": base_location(wildcards),
            "revision": model.revision,
            "dtype": model.dtype,
            "think": model.think,
            "inference": STUDY.inference,
            "benchmarks": STUDY.benchmarks,
            "seed": int(wildcards.seed),
        }
    )


def tuned_folder(wildcards):
    return [] if wildcards.variant == settings.BASE else CHECKPOINT.format(**wildcards)


rule infer:
    input:
        datasets=[DATASET.format(dataset=benchmark.dataset) for benchmark in STUDY.benchmarks.values()],
        base=base_files,
        checkpoint=tuned_folder,
    output:
        RESPONSES,
    params:
        settings=infer_settings,
        checkpoint=lambda w, input: f"--checkpoint {input.checkpoint}" if input.checkpoint else "",
    log:
        f"{LOG}/infer/{{model}}/{{variant}}/seed{{seed}}.log",
    benchmark:
        f"{TIMING}/infer/{{model}}/{{variant}}/seed{{seed}}.tsv"
    threads: STUDY.threads
    resources:
        gpu=1,
    conda:
        TRAIN_ENV
    shell:
        "rim infer --log {log} --threads {threads} --settings {params.settings:q} --datasets {input.datasets}"
        " {params.checkpoint} --output {output}"
