"""Judging and grading of frozen responses, and judges against each other; nothing here ever generates.

In: data/responses. Out: data/judgements/{study}/{judge}/… for safety and benign prompts, data/grades/{study}/… for maths,
tables of agreement and thresholds. What language models answered is kept under data/requests, and not asked again.
"""


rule judge_responses:
    input:
        behind(receipt(RESPONSES), *benchmark_datasets("misalignment", "false_refusal")),
        responses=receipt(RESPONSES),
        datasets=benchmark_datasets("misalignment", "false_refusal"),
    output:
        JUDGEMENTS,
    log:
        f"{LOG}/judge_responses/{{judge}}/{{model}}/{{variant}}/seed{{seed}}.log",
    benchmark:
        f"{TIMING}/judge_responses/{{judge}}/{{model}}/{{variant}}/seed{{seed}}.tsv"
    conda:
        ASK_ENV
    resources:
        gpu=lambda w: asks_locally(STUDY.judges[w.judge].endpoint),
        mem_mb=lambda w, attempt: asking_memory(attempt, STUDY.judges[w.judge].endpoint),
        runtime=lambda w, attempt: asking_minutes(attempt, STUDY.judges[w.judge].endpoint),
        endpoint=lambda w: asks(STUDY.judges[w.judge].endpoint),
    params:
        code=code("judge_responses", ASK_ENV),
        settings=lambda w: as_json(
            {
                "name": w.judge,
                "judge": STUDY.judges[w.judge],
                "endpoint": endpoint_settings(STUDY.judges[w.judge].endpoint),
                "benchmarks": STUDY.measured("misalignment", "false_refusal"),
                **({"weights": CLASSIFIER} if STUDY.judges[w.judge].kind == "refusal_classifier" else {}),
            }
        ),
        requests=lambda w, output: f"{REQUESTS}/judge_responses/{own_name(output[0])}.jsonl",
    shell:
        "rim judge_responses --log {log} --gpus {resources.gpu} --settings {params.settings:q} --responses {input.responses}"
        " --datasets {input.datasets} --requests {params.requests} --output {output}"


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


rule compare_judges:
    input:
        judgements=[path for judge in STUDY.judges for path in of_every_run(JUDGEMENTS, judge)],
    output:
        shown(JUDGE_TABLES),
    log:
        f"{LOG}/compare_judges.log",
    benchmark:
        f"{TIMING}/compare_judges/compare_judges.tsv"
    conda:
        CORE_ENV
    params:
        code=code("compare_judges", CORE_ENV),
        settings=as_json(
            {
                "judgements": [[judge, *run] for judge in STUDY.judges for run in runs(judge)],
                "benchmarks": {
                    name: STUDY.benchmarks[name].measure for name in STUDY.measured("misalignment", "false_refusal")
                },
            }
        ),
        folder=lambda w, output: str(Path(output[0]).parent),
    shell:
        "rim compare_judges --log {log} --settings {params.settings:q} --judgements {input.judgements} --output {params.folder}"
