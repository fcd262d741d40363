"""Calibration: how well each method finds the parts in which safety is known to sit, in organisms with a graft.

In: such a model, its replies and, where attention is analysed, its table of heads. Out: data/{study}/part_scores/{model}/base/seed{seed}.parquet
and the table of results `method_grades`.
"""

SCORED = runs.scored_runs(STUDY)
CONTRASTED = benchmark_receipts([STUDY.forgetting.harmful, *STUDY.measured("false_refusal")[:1]])


rule score_parts:
    input:
        lambda w: artifacts_of(receipt(responses("plain")), *CONTRASTED, *checkpoints(w)),
        checkpoints,
        replies=receipt(responses("plain")),
        datasets=CONTRASTED,
        heads=lambda w: per_run(HEADS, [run for run in runs.head_runs(STUDY) if run == (w.model, BASE, int(w.seed))]),
    output:
        scores=PART_SCORES,
    log:
        logs("score_parts", RUN),
    benchmark:
        timings("score_parts", RUN)
    wildcard_constraints:
        variant=BASE,
    conda:
        TRAIN_ENV
    threads: STUDY.threads
    resources:
        **model_resources("score_parts"),
    params:
        code=code("score_parts", TRAIN_ENV),
        job=job("score_parts", score_settings),
    shell:
        model_step("score_parts")


rule grade_methods:
    input:
        scores=per_run(PART_SCORES, SCORED),
    output:
        tables_by("grade_methods"),
    log:
        logs("grade_methods"),
    benchmark:
        timings("grade_methods")
    conda:
        CORE_ENV
    params:
        code=code("grade_methods", CORE_ENV),
        job=job("grade_methods", {"study": SUMMARIZED, "runs": SCORED, "folder": TABLE_FOLDER}),
    shell:
        step("grade_methods")
