"""Forgetting: every checkpoint of a fine-tune against its base, and how the metrics go with misalignment.

In: the sets of neurons, replies of the base, and seed{seed}.steps of a fine-tune. Out: data/metrics/{study}/…, the
checkpoints' replies data/responses/{study}/….steps.parquet with their judgements, and tables of results.
"""


rule compute_ras:
    input:
        lambda w: behind(
            of_base(receipt(RESPONSES))(w),
            *forgetting_datasets("harmful", "task"),
            trained_on(w),
            *checkpoints(w),
            receipt(f"{CHECKPOINT}.steps").format(**w),
        ),
        neurons=of_base(f"{NEURONS}.parquet"),
        responses=of_base(receipt(RESPONSES)),
        datasets=forgetting_datasets("harmful", "task"),
        trained=trained_on,
        checkpoints=checkpoints,
        steps=receipt(f"{CHECKPOINT}.steps"),
    output:
        metrics=METRICS,
        responses=STEPS["responses"],
        receipt=receipt(STEPS["responses"]),
    log:
        f"{LOG}/compute_ras/{{model}}/{{variant}}/seed{{seed}}.log",
    benchmark:
        f"{TIMING}/compute_ras/{{model}}/{{variant}}/seed{{seed}}.tsv"
    wildcard_constraints:
        variant=any_of(STUDY.forgetting.variants),
    conda:
        INFER_ENV
    threads: STUDY.threads
    resources:
        gpu=gpus("compute_ras"),
        mem_mb=memory,
        runtime=minutes("compute_ras"),
    params:
        code=code("compute_ras", INFER_ENV),
        settings=lambda w: forgetting_settings(
            w,
            inference=STUDY.inference_of(w.model),
            rows=STUDY.variants[w.variant].rows,
            max_new_tokens=STUDY.benchmarks[STUDY.forgetting.harmful].max_new_tokens or STUDY.inference.max_new_tokens,
        ),
    shell:
        "rim compute_ras --log {log} --threads {threads} --gpus {resources.gpu} --settings {params.settings:q} --neurons {input.neurons}"
        " --responses {input.responses} --datasets {input.datasets} --trained {input.trained}"
        " --checkpoints {input.checkpoints} --steps {input.steps} --output {output.metrics} --replies {output.responses}"


use rule judge_responses as judge_checkpoints with:
    input:
        behind(receipt(STEPS["responses"]), *benchmark_datasets("misalignment", "false_refusal")),
        responses=receipt(STEPS["responses"]),
        datasets=benchmark_datasets("misalignment", "false_refusal"),
    output:
        STEPS["judgements"],
    log:
        f"{LOG}/judge_responses/{{judge}}/{{model}}/{{variant}}/seed{{seed}}.steps.log",
    benchmark:
        f"{TIMING}/judge_responses/{{judge}}/{{model}}/{{variant}}/seed{{seed}}.steps.tsv"


rule summarize_forgetting:
    input:
        neurons=of_every_base(f"{NEURONS}.parquet"),
        curves=of_every_base(f"{NEURONS}.curve.parquet"),
        metrics=of_every_run(METRICS, among=followed_runs()),
        judgements=of_every_base(JUDGEMENTS),
        ablated=of_every_base(WITHOUT_NEURONS["judgements"]),
        steps=of_every_run(STEPS["judgements"], among=followed_runs()),
        grades=of_every_base(GRADES) + of_every_base(WITHOUT_NEURONS["grades"]),
    output:
        shown(FORGETTING_TABLES),
    log:
        f"{LOG}/summarize_forgetting.log",
    benchmark:
        f"{TIMING}/summarize_forgetting/summarize_forgetting.tsv"
    conda:
        CORE_ENV
    params:
        code=code("summarize_forgetting", CORE_ENV),
        settings=as_json({"study": STUDY, "bases": base_runs(), "runs": followed_runs()}),
        folder=lambda w, output: str(Path(output[0]).parent),
    shell:
        "rim summarize_forgetting --log {log} --settings {params.settings:q} --neurons {input.neurons}"
        " --curves {input.curves} --metrics {input.metrics} --judgements {input.judgements} --ablated {input.ablated}"
        " --steps {input.steps} --grades {input.grades} --output {params.folder}"
