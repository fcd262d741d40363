"""Forgetting: what gradients foretell before training, every checkpoint against its base, and how both go with misalignment.

In: the sets of neurons, replies of the base, and seed{seed}.steps of a fine-tune. Out: data/{study}/gradients/… of bases,
data/{study}/metrics/…, the checkpoints' replies data/{study}/responses/…/checkpoints.parquet with their judgements, and tables of results.
"""

FORGETTING_DATASETS = benchmark_receipts([STUDY.forgetting.harmful, STUDY.forgetting.task])


rule measure_gradients:
    input:
        lambda w: artifacts_of(receipt(responses("plain")), HARMFUL_DATASET, *lesson_datasets(w), *checkpoints(w)),
        checkpoints,
        neurons=NEURONS,
        replies=receipt(responses("plain")),
        dataset=HARMFUL_DATASET,
        trained=lesson_datasets,
    output:
        gradients=GRADIENTS,
    log:
        logs("measure_gradients", RUN),
    benchmark:
        timings("measure_gradients", RUN)
    wildcard_constraints:
        variant=BASE,
    conda:
        TRAIN_ENV
    threads: STUDY.threads
    resources:
        **model_resources("measure_gradients"),
    params:
        code=code("measure_gradients", TRAIN_ENV),
        job=job("measure_gradients", gradient_settings),
    shell:
        model_step("measure_gradients")


rule measure_checkpoints:
    input:
        measured_artifacts,
        lambda w: artifacts_of(*base_checkpoints(w)),
        base_checkpoints,
        neurons=base_file(NEURONS),
        base_replies=base_file(receipt(responses("plain"))),
        datasets=FORGETTING_DATASETS,
        steps=receipt(f"{CHECKPOINT}.steps"),
    output:
        metrics=METRICS,
        replies=responses("checkpoints"),
        receipt=receipt(responses("checkpoints")),
    log:
        logs("measure_checkpoints", RUN),
    benchmark:
        timings("measure_checkpoints", RUN)
    wildcard_constraints:
        variant=any_of(STUDY.forgetting.variants),
    conda:
        INFER_ENV
    threads: STUDY.threads
    resources:
        **model_resources("measure_checkpoints"),
    params:
        code=code("measure_checkpoints", INFER_ENV),
        job=job("measure_checkpoints", checkpoint_settings),
    shell:
        model_step("measure_checkpoints")


BASES, FOLLOWED = runs.base_runs(STUDY), runs.followed_runs(STUDY)


rule summarize_forgetting:
    input:
        neurons=per_run(NEURONS, BASES),
        curves=per_run(CURVES, BASES),
        gradients=per_run(GRADIENTS, runs.gradient_runs(STUDY)),
        metrics=per_run(METRICS, FOLLOWED),
        judgements=per_run(judgements("plain"), BASES),
        ablated_judgements=per_run(judgements("without_neurons"), BASES),
        counterfactual_judgements=per_run(judgements("counterfactuals"), runs.counterfactual_runs(STUDY)),
        checkpoint_judgements=per_run(judgements("checkpoints"), FOLLOWED),
        grades=per_run(grades("plain"), BASES),
        ablated_grades=per_run(grades("without_neurons"), BASES),
    output:
        tables_by("summarize_forgetting"),
    log:
        logs("summarize_forgetting"),
    benchmark:
        timings("summarize_forgetting")
    conda:
        CORE_ENV
    params:
        code=code("summarize_forgetting", CORE_ENV),
        job=job("summarize_forgetting", {"study": SUMMARIZED, "bases": BASES, "runs": FOLLOWED, "folder": TABLE_FOLDER}),
    shell:
        step("summarize_forgetting")
