"""Ablation: the effect of every head on the next token, and what the model replies without sets of heads.

In: heads, probes, replies and the checkpoint. Out: data/{study}/effects/…, and replies without heads in
data/{study}/responses/…/without_heads.parquet, judged and graded by the same rules as those of the model as it is.
"""


rule measure_head_effects:
    input:
        lambda w: artifacts_of(receipt(responses("plain")), *MECHANISM_DATASETS, *checkpoints(w)),
        checkpoints,
        replies=receipt(responses("plain")),
        judgements=judgements("plain"),
        datasets=MECHANISM_DATASETS,
    output:
        effects=EFFECTS,
        skewness=EFFECT_SKEWNESS,
    log:
        logs("measure_head_effects", RUN),
    benchmark:
        timings("measure_head_effects", RUN)
    conda:
        TRAIN_ENV
    threads: STUDY.threads
    resources:
        **model_resources("measure_head_effects"),
    params:
        code=code("measure_head_effects", TRAIN_ENV),
        job=job("measure_head_effects", mechanism_settings("sweep_prompts")),
    shell:
        model_step("measure_head_effects")


rule ablate_heads:
    input:
        ablation_artifacts,
        checkpoints,
        cache=receipt(ACTIVATIONS),
        plain=receipt(responses("plain")),
        judgements=judgements("plain"),
        heads=HEADS,
        effects=EFFECTS,
        directions=receipt(f"{PROBES}.directions.safetensors"),
        datasets=ablated_datasets(STUDY.mechanism),
    output:
        replies=responses("without_heads"),
        receipt=receipt(responses("without_heads")),
        scores=f"{PROBES}.ablated.parquet",
        sets=f"{PROBES}.ablated_heads.parquet",
    log:
        logs("ablate_heads", RUN),
    benchmark:
        timings("ablate_heads", RUN)
    conda:
        INFER_ENV
    threads: STUDY.threads
    resources:
        **model_resources("ablate_heads"),
    params:
        code=code("ablate_heads", INFER_ENV),
        job=job("ablate_heads", ablation_settings),
    shell:
        model_step("ablate_heads")


ANALYSED, COMPARABLE, ABLATED = (each(STUDY) for each in (runs.analysed_runs, runs.head_runs, runs.ablated_runs))


MECHANISM_SUMMARY = {
    "study": SUMMARIZED,
    "runs": ANALYSED,
    "head_runs": COMPARABLE,
    "ablated_runs": ABLATED,
    "folder": TABLE_FOLDER,
}


rule summarize_mechanism:
    input:
        probes=per_run(f"{PROBES}.probes.parquet", ANALYSED),
        scores=per_run(f"{PROBES}.scores.parquet", ANALYSED),
        heads=per_run(HEADS, COMPARABLE),
        attention=per_run(ATTENTION, COMPARABLE),
        effects=per_run(EFFECTS, ABLATED),
        skewness=per_run(EFFECT_SKEWNESS, ABLATED),
        sets=per_run(f"{PROBES}.ablated_heads.parquet", ABLATED),
        ablated_scores=per_run(f"{PROBES}.ablated.parquet", ABLATED),
        judgements=per_run(judgements("plain"), ABLATED),
        ablated_judgements=per_run(judgements("without_heads"), ABLATED),
        grades=per_run(grades("plain"), ABLATED) if STUDY.measured("accuracy") else [],
        ablated_grades=per_run(grades("without_heads"), ABLATED) if STUDY.measured("accuracy") else [],
    output:
        tables_by("summarize_mechanism"),
    log:
        logs("summarize_mechanism"),
    benchmark:
        timings("summarize_mechanism")
    conda:
        CORE_ENV
    params:
        code=code("summarize_mechanism", CORE_ENV),
        job=job("summarize_mechanism", MECHANISM_SUMMARY),
    shell:
        step("summarize_mechanism")
