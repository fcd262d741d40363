"""Organisms: tiny chat models trained from nothing, one per model and seed.

In: the recipe in the configuration. Out: data/{study}/checkpoints/{model}/base/seed{seed}, an ordinary Hugging Face folder.
"""


rule train_organism:
    output:
        folder=directory(ORGANISM),
        receipt=receipt(ORGANISM),
    log:
        logs("train_organism", "{model}/seed{seed}"),
    benchmark:
        timings("train_organism", "{model}/seed{seed}")
    conda:
        TRAIN_ENV
    threads: STUDY.threads
    resources:
        gpu=0,  # too small to gain by one
    params:
        code=code("train_organism", TRAIN_ENV),
        job=job("train_organism", organism_settings),
    shell:
        model_step("train_organism")
