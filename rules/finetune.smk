"""Fine-tuning: one arm of one model with one seed.

In: the arm's dataset and the base model. Out: data/checkpoints/{study}/{model}/{variant}/seed{seed}/step*, each a folder
that `from_pretrained` loads.
"""


rule finetune:
    input:
        dataset=lambda w: DATASET.format(dataset=STUDY.variants[w.variant].dataset),
        checkpoints=checkpoints,
        receipts=receipts,
    output:
        folder=directory(CHECKPOINT),
        receipt=f"{CHECKPOINT}.receipt.json",
    log:
        f"{LOG}/finetune/{{model}}/{{variant}}/seed{{seed}}.log",
    benchmark:
        f"{TIMING}/finetune/{{model}}/{{variant}}/seed{{seed}}.tsv"
    wildcard_constraints:
        variant=any_of(STUDY.variants),
    conda:
        TRAIN_ENV
    threads: STUDY.threads
    resources:
        gpu=1,
    params:
        code=code("finetune", TRAIN_ENV),
        settings=lambda w: model_settings(w, recipe=STUDY.finetune_of(w.variant), rows=STUDY.variants[w.variant].rows),
    shell:
        "rim finetune --log {log} --threads {threads} --settings {params.settings:q} --dataset {input.dataset}"
        " --receipts {input.receipts} --output {output.folder} --receipt {output.receipt}"
