"""Forgetting: every checkpoint of a fine-tune against its base, and how the metrics go with misalignment.

In: the sets of neurons, replies of the base, and seed{seed}.steps of a fine-tune. Out: data/metrics/{study}/…, the
checkpoints' replies data/responses/{study}/…/checkpoints.parquet with their judgements, and tables of results.
"""

FORGETTING_DATASETS = benchmark_receipts([STUDY.forgetting.harmful, STUDY.forgetting.task])


def checkpoint_settings(w):
    keys = "harmful task think neuron_type pool_over texts gradients batch_size".split()
    benchmark = STUDY.benchmarks[STUDY.forgetting.harmful]
    return {
        "model": model_reference(w, BASE),
        "inference": STUDY.inference_of(w.model),
        "max_new_tokens": benchmark.max_new_tokens or STUDY.inference.max_new_tokens,
        "trained_rows": STUDY.variants[w.variant].rows,
        **settings_of(STUDY.forgetting, *keys),
    }


def measured_artifacts(w):
    """What is loaded to measure the checkpoints of a fine-tune, without what the base is loaded from."""
    steps = receipt(f"{CHECKPOINT}.steps").format(**w)
    return artifacts_of(base_file(receipt(responses("plain")))(w), *FORGETTING_DATASETS, training_rows(w), steps)


rule measure_checkpoints:
    input:
        measured_artifacts,
        lambda w: artifacts_of(*base_checkpoints(w)),
        base_checkpoints,
        neurons=base_file(NEURONS),
        base_replies=base_file(receipt(responses("plain"))),
        datasets=FORGETTING_DATASETS,
        trained=training_rows,
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
        MODEL_STEP


BASES, FOLLOWED = runs.base_runs(STUDY), runs.followed_runs(STUDY)


rule summarize_forgetting:
    input:
        neurons=per_run(NEURONS, BASES),
        curves=per_run(CURVES, BASES),
        metrics=per_run(METRICS, FOLLOWED),
        judgements=per_run(judgements("plain"), BASES),
        ablated_judgements=per_run(judgements("without_neurons"), BASES),
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
        STEP
