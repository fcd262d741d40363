"""Fine-tuning: one arm of one model with one seed.

In: the arm's dataset and the base model. Out: data/checkpoints/{study}/{model}/{variant}/seed{seed}/step*, each a folder
that `from_pretrained` loads.
"""


def finetune_settings(wildcards):
    model, variant = STUDY.models[wildcards.model], STUDY.variants[wildcards.variant]
    return as_json(
        {
            "label": f"{wildcards.model}/{wildcards.variant}/seed{wildcards.seed}",
            "base": base_location(wildcards),
            "revision": model.revision,
            "dtype": model.dtype,
            "think": model.think,
            "recipe": STUDY.finetune_of(wildcards.variant),
            "rows": variant.rows,
            "seed": int(wildcards.seed),
        }
    )


rule finetune:
    input:
        dataset=lambda w: DATASET.format(dataset=STUDY.variants[w.variant].dataset),
        base=base_files,
    output:
        folder=directory(CHECKPOINT),
        receipt=CHECKPOINT + ".receipt.json",
    params:
        settings=finetune_settings,
    log:
        f"{LOG}/finetune/{{model}}/{{variant}}/seed{{seed}}.log",
    benchmark:
        f"{TIMING}/finetune/{{model}}/{{variant}}/seed{{seed}}.tsv"
    wildcard_constraints:
        variant=any_of(STUDY.variants),
    threads: STUDY.threads
    resources:
        gpu=1,
    conda:
        TRAIN_ENV
    shell:
        "rim finetune --log {log} --threads {threads} --settings {params.settings:q} --dataset {input.dataset}"
        " --output {output.folder} --receipt {output.receipt}"
