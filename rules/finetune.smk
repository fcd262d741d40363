"""Fine-tuning: one arm of one model with one seed.

In: the arm's dataset and the base model. Out: data/checkpoints/{study}/{model}/{variant}/seed{seed}, a folder that
`from_pretrained` loads, and beside it seed{seed}.steps with such a folder for each checkpoint on the way.
"""


def training_rows(wildcards):
    """Receipt of the dataset of an arm."""
    return dataset_receipts([STUDY.variants[wildcards.variant].dataset])[0]


def refused_requests(wildcards):
    """Receipt of the dataset that a mitigation has the base refuse, if it does."""
    mitigation = STUDY.variants[wildcards.variant].mitigation
    return dataset_receipts([mitigation.dataset]) if mitigation and mitigation.dataset else []


def frozen_neurons(wildcards):
    """The base's safety-critical neurons, if a mitigation freezes them."""
    mitigation = STUDY.variants[wildcards.variant].mitigation
    return [base_file(NEURONS)(wildcards)] if mitigation and mitigation.kind == "freeze_neurons" else []


def finetune_settings(w):
    return {
        "model": model_reference(w, BASE),
        "recipe": STUDY.finetune_of(w.variant),
        "code": code("finetune_model", TRAIN_ENV),
        **settings_of(STUDY.variants[w.variant], "rows", "mitigation"),
    }


rule finetune_model:
    input:
        lambda w: artifacts_of(training_rows(w), *base_checkpoints(w), *refused_requests(w)),
        base_checkpoints,
        dataset=training_rows,
        requests=refused_requests,
        neurons=frozen_neurons,
    output:
        folder=directory(CHECKPOINT),
        receipt=receipt(CHECKPOINT),
        steps=directory(f"{CHECKPOINT}.steps"),
        steps_receipt=receipt(f"{CHECKPOINT}.steps"),
    log:
        logs("finetune_model", RUN),
    benchmark:
        timings("finetune_model", RUN)
    wildcard_constraints:
        variant=any_of(STUDY.variants),
    conda:
        TRAIN_ENV
    threads: STUDY.threads
    resources:
        **model_resources("finetune_model"),
    params:
        code=code("finetune_model", TRAIN_ENV),
        job=job("finetune_model", finetune_settings),
    shell:
        MODEL_STEP
