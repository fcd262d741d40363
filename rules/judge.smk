"""Judging and grading of frozen responses; neither ever generates.

In: data/responses. Out: data/judgements/{study}/{judge}/… for safety and benign prompts, data/grades/{study}/… for maths.
"""


rule judge_responses:
    input:
        behind(receipt(RESPONSES)),
        responses=receipt(RESPONSES),
    output:
        JUDGEMENTS,
    log:
        f"{LOG}/judge_responses/{{judge}}/{{model}}/{{variant}}/seed{{seed}}.log",
    benchmark:
        f"{TIMING}/judge_responses/{{judge}}/{{model}}/{{variant}}/seed{{seed}}.tsv"
    conda:
        CORE_ENV
    params:
        code=code("judge_responses", CORE_ENV),
        settings=lambda w: as_json(
            {
                "name": w.judge,
                "judge": STUDY.judges[w.judge],
                "benchmarks": STUDY.measured("misalignment", "false_refusal"),
            }
        ),
    shell:
        "rim judge_responses --log {log} --settings {params.settings:q} --responses {input.responses} --output {output}"


rule grade_answers:
    input:
        behind(receipt(RESPONSES), *benchmark_datasets("accuracy")),
        responses=receipt(RESPONSES),
        datasets=benchmark_datasets("accuracy"),
    output:
        GRADES,
    log:
        f"{LOG}/grade_answers/{{model}}/{{variant}}/seed{{seed}}.log",
    benchmark:
        f"{TIMING}/grade_answers/{{model}}/{{variant}}/seed{{seed}}.tsv"
    conda:
        CORE_ENV
    params:
        code=code("grade_answers", CORE_ENV),
        settings=as_json({"benchmarks": STUDY.measured("accuracy")}),
    shell:
        "rim grade_answers --log {log} --settings {params.settings:q} --responses {input.responses}"
        " --datasets {input.datasets} --output {output}"
