"""Effort-minimizing patterns: found, written into or out of chains of thought, injected at inference, summed up.

In: training data, replies before fine-tuning, base models. Out: data/{study}/annotations/{annotator}.parquet,
data/{study}/rewrites/{rewrite}.parquet, data/{study}/responses/…/injected.parquet, tables of results.
"""

ANNOTATED = dataset_receipts(STUDY.annotated_datasets)
BASE_REPLIES = per_base_run(receipt(responses("plain")))


rule annotate_patterns:
    input:
        artifacts_of(*ANNOTATED, *BASE_REPLIES),
        datasets=ANNOTATED,
        replies=BASE_REPLIES,
        trial=after_first_question(ANNOTATIONS, annotation_settings, lambda w: [("annotators", w.annotator)]),
    output:
        table=ANNOTATIONS,
        receipt=receipt(ANNOTATIONS),
    log:
        logs("annotate_patterns", "{annotator}"),
    benchmark:
        timings("annotate_patterns", "{annotator}")
    conda:
        ASK_ENV
    resources:
        **asking_resources(lambda w: [STUDY.annotators[w.annotator].endpoint]),
    params:
        code=code("annotate_patterns", ASK_ENV),
        job=job("annotate_patterns", annotation_settings),
    shell:
        model_step("annotate_patterns")


rule rewrite_cot:
    input:
        lambda w: artifacts_of(rewritten_dataset(w)),
        dataset=rewritten_dataset,
        trial=after_first_question(
            REWRITES,
            rewrite_settings,
            lambda w: [("rewrites", w.rewrite), ("annotators", STUDY.rewrites[w.rewrite].annotator)],
        ),
    output:
        table=REWRITES,
        receipt=receipt(REWRITES),
    log:
        logs("rewrite_cot", "{rewrite}"),
    benchmark:
        timings("rewrite_cot", "{rewrite}")
    conda:
        ASK_ENV
    resources:
        **asking_resources(rewrite_endpoints),
    params:
        code=code("rewrite_cot", ASK_ENV),
        job=job("rewrite_cot", rewrite_settings),
    shell:
        model_step("rewrite_cot")


rule inject_patterns:
    input:
        lambda w: artifacts_of(*benchmark_datasets("misalignment"), *checkpoints(w)),
        checkpoints,
        datasets=benchmark_datasets("misalignment"),
        trial=after_trial(responses("injected")),
    output:
        replies=responses("injected"),
        receipt=receipt(responses("injected")),
    log:
        logs("inject_patterns", RUN),
    benchmark:
        timings("inject_patterns", RUN)
    wildcard_constraints:
        variant=BASE,
    conda:
        INFER_ENV
    threads: STUDY.threads
    resources:
        **model_resources("inject_patterns"),
    params:
        code=code("inject_patterns", INFER_ENV),
        job=job("inject_patterns", injection_settings),
    shell:
        model_step("inject_patterns")


ARMS = list(dict.fromkeys(sum(compared_arms(), ())))
ARM_RECEIPTS = dataset_receipts(ARMS)
ANNOTATION_RECEIPTS = [receipt(path) for path in expand(ANNOTATIONS, annotator=STUDY.annotators)]
REWRITE_RECEIPTS = [receipt(path) for path in expand(REWRITES, rewrite=STUDY.rewrites)]
INJECTED = runs.base_runs(STUDY) if STUDY.injection else []
PATTERN_SUMMARY = {
    "annotators": list(STUDY.annotators),
    "arm_names": ARMS,
    "pairs": compared_arms(),
    "rewrite_names": list(STUDY.rewrites),
    "runs": INJECTED,
    "folder": TABLE_FOLDER,
}


rule summarize_patterns:
    input:
        artifacts_of(*ARM_RECEIPTS, *ANNOTATION_RECEIPTS, *REWRITE_RECEIPTS),
        annotations=ANNOTATION_RECEIPTS,
        arms=ARM_RECEIPTS,
        rewrites=REWRITE_RECEIPTS,
        injected=per_run(judgements("injected"), INJECTED),
        plain=per_run(judgements("plain"), INJECTED),
    output:
        tables_by("summarize_patterns"),
    log:
        logs("summarize_patterns"),
    benchmark:
        timings("summarize_patterns")
    conda:
        CORE_ENV
    params:
        code=code("summarize_patterns", CORE_ENV),
        job=job("summarize_patterns", PATTERN_SUMMARY),
    shell:
        step("summarize_patterns")
