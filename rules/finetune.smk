"""Fine-tuning: one arm of one model with one seed.

In: the arm's dataset and the base model. Out: data/{study}/checkpoints/{model}/{variant}/seed{seed}, a folder that
`from_pretrained` loads, and beside it seed{seed}.steps with such a folder for each checkpoint on the way. The table of results
`finetunes` lists what was trained on.
"""


rule finetune_model:
    input:
        lambda w: artifacts_of(training_rows(w), *base_checkpoints(w), *refused_requests(w)),
        base_checkpoints,
        dataset=training_rows,
        requests=refused_requests,
        neurons=frozen_neurons,
        trial=after_trial(CHECKPOINT),
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
        model_step("finetune_model")


TUNED = runs.tuned_runs(STUDY)


rule summarize_finetunes:
    input:
        receipts=per_run(receipt(CHECKPOINT), TUNED),
    output:
        tables_by("summarize_finetunes"),
    log:
        logs("summarize_finetunes"),
    benchmark:
        timings("summarize_finetunes")
    conda:
        CORE_ENV
    params:
        code=code("summarize_finetunes", CORE_ENV),
        job=job("summarize_finetunes", {"runs": TUNED, "folder": TABLE_FOLDER}),
    shell:
        step("summarize_finetunes")
