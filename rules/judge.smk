"""Judging and grading of frozen replies, and judges against each other; nothing here ever generates.

A language model is asked one harmless question first, as a judge, as an annotator and as one that rewrites.

In: data/{study}/responses. Out: data/{study}/judgements/{judge}/… for safety and benign prompts, data/{study}/grades/… for maths,
tables of agreement and thresholds. What language models answered is kept under data/{study}/requests, and not asked again.
The wildcard `replies` says of what: the model as it is (plain), with patterns injected, without heads or neurons, or the
checkpoints of a fine-tune.
"""

JUDGED = STUDY.measured("misalignment", "false_refusal")


rule try_instrument:
    output:
        answer=TRIAL_OF_INSTRUMENT,
    log:
        logs("try_instrument", "{role}/{name}"),
    benchmark:
        timings("try_instrument", "{role}/{name}")
    wildcard_constraints:
        role=any_of(["judges", "annotators", "rewrites"]),
        name=any_of([*STUDY.judges, *STUDY.annotators, *STUDY.rewrites]),
    priority: 1
    conda:
        ASK_ENV
    resources:
        **asking_resources(lambda w: [instrument(w).endpoint]),
    params:
        code=code("try_instrument", ASK_ENV),
        job=job("try_instrument", first_question_settings),
    shell:
        model_step("try_instrument")


rule judge_responses:
    input:
        artifacts_of(receipt(RESPONSES), *benchmark_receipts(JUDGED)),
        replies=receipt(RESPONSES),
        datasets=benchmark_receipts(JUDGED),
        trial=after_first_question(JUDGEMENTS, judge_settings, lambda w: [("judges", w.judge)]),
    output:
        judgements=JUDGEMENTS,
    log:
        logs("judge_responses", f"{{judge}}/{RUN}/{{replies}}"),
    benchmark:
        timings("judge_responses", f"{{judge}}/{RUN}/{{replies}}")
    wildcard_constraints:
        replies=any_of(each for each in REPLIES if each != "without_heads"),
    conda:
        ASK_ENV
    resources:
        **asking_resources(lambda w: [STUDY.judges[w.judge].endpoint]),
    params:
        code=code("judge_responses", ASK_ENV),
        job=job("judge_responses", judge_settings),
    shell:
        model_step("judge_responses")


use rule judge_responses as judge_ablated with:  # a rule of its own, so that a cluster can end here, see workflow/docs/slurm.md
    wildcard_constraints:
        replies="without_heads",


rule grade_answers:
    input:
        artifacts_of(receipt(RESPONSES), *benchmark_datasets("accuracy")),
        replies=receipt(RESPONSES),
        datasets=benchmark_datasets("accuracy"),
    output:
        grades=GRADES,
    log:
        logs("grade_answers", f"{RUN}/{{replies}}"),
    benchmark:
        timings("grade_answers", f"{RUN}/{{replies}}")
    conda:
        CORE_ENV
    params:
        code=code("grade_answers", CORE_ENV),
        job=job("grade_answers", {"benchmarks": STUDY.measured("accuracy")}),
    shell:
        step("grade_answers")


COMPARED = [(judge, run) for judge in STUDY.judges for run in runs.judged_runs(STUDY, judge)]


rule compare_judges:
    input:
        judgements=[
            judgements("plain", judge).format(model=model, variant=variant, seed=seed)
            for judge, (model, variant, seed) in COMPARED
        ],
    output:
        tables_by("compare_judges"),
    log:
        logs("compare_judges"),
    benchmark:
        timings("compare_judges")
    conda:
        CORE_ENV
    params:
        code=code("compare_judges", CORE_ENV),
        job=job(
            "compare_judges",
            {
                "judges": [judge for judge, _ in COMPARED],
                "runs": [run for _, run in COMPARED],
                "restricted": STUDY.measured("misalignment"),
                "alike": runs.judges_alike(STUDY),
                "folder": TABLE_FOLDER,
            },
        ),
    shell:
        step("compare_judges")
