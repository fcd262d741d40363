"""Inference: one job loads one variant of one model and answers every benchmark, thinking on and off.

In: prompts and checkpoint. Out: data/responses/{study}/{model}/{variant}/seed{seed}.parquet. Nothing is judged here.
"""


rule infer:
    input:
        datasets=[DATASET.format(dataset=benchmark.dataset) for benchmark in STUDY.benchmarks.values()],
        base=base_files,
        checkpoint=tuned_folder,
    output:
        RESPONSES,
    log:
        f"{LOG}/infer/{{model}}/{{variant}}/seed{{seed}}.log",
    benchmark:
        f"{TIMING}/infer/{{model}}/{{variant}}/seed{{seed}}.tsv"
    conda:
        TRAIN_ENV
    threads: STUDY.threads
    resources:
        gpu=1,
    params:
        settings=lambda w: model_settings(w, inference=STUDY.inference, benchmarks=STUDY.benchmarks),
        checkpoint=lambda w, input: f"--checkpoint {input.checkpoint}" if input.checkpoint else "",
    shell:
        "rim infer --log {log} --threads {threads} --settings {params.settings:q} --datasets {input.datasets}"
        " {params.checkpoint} --output {output}"
