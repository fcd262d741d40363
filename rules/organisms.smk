"""Organisms: tiny chat models trained from nothing, one per model and seed, and grafts onto these.

In: the recipe in the configuration, for a graft the organism that gets it. Out: data/{study}/checkpoints/{model}/base/seed{seed},
an ordinary Hugging Face folder.
"""


rule train_organism:
    output:
        folder=directory(ORGANISM),
        receipt=receipt(ORGANISM),
    log:
        logs("train_organism", "{model}/seed{seed}"),
    benchmark:
        timings("train_organism", "{model}/seed{seed}")
    wildcard_constraints:
        model=any_of([name for name, each in STUDY.models.items() if each.organism]),
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


rule graft_organism:
    input:
        lambda w: artifacts_of(grafted_onto(w)),
        base=grafted_onto,
    output:
        folder=directory(ORGANISM),
        receipt=receipt(ORGANISM),
    log:
        logs("graft_organism", "{model}/seed{seed}"),
    benchmark:
        timings("graft_organism", "{model}/seed{seed}")
    wildcard_constraints:
        model=any_of([name for name, each in STUDY.models.items() if each.graft]),
    conda:
        TRAIN_ENV
    threads: STUDY.threads
    resources:
        gpu=0,
    params:
        code=code("graft_organism", TRAIN_ENV),
        job=job("graft_organism", graft_settings),
    shell:
        model_step("graft_organism")
