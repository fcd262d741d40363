"""Effort-minimizing patterns: found, written into or out of chains of thought, injected at inference, summed up.

In: training data, replies before fine-tuning, base models. Out: data/annotations/{study}/{annotator}.parquet,
data/rewrites/{study}/{rewrite}.parquet, data/responses/{study}/{model}/injected/…, tables of results.
"""

TRAINED_ON = list(dict.fromkeys(variant.dataset for variant in STUDY.variants.values()))
ARM_RECEIPTS = [receipt(DATASET.format(dataset=name)) for name in dict.fromkeys(sum(arms(), ()))]
ANNOTATION_RECEIPTS = [receipt(path) for path in expand(ANNOTATIONS, annotator=STUDY.annotators)]
REWRITE_RECEIPTS = [receipt(path) for path in expand(REWRITES, rewrite=STUDY.rewrites)]
TRAINED_ON_RECEIPTS = [receipt(DATASET.format(dataset=name)) for name in TRAINED_ON]


rule annotate_patterns:
    input:
        behind(*TRAINED_ON_RECEIPTS, *of_every_base(receipt(RESPONSES))),
        datasets=TRAINED_ON_RECEIPTS,
        responses=of_every_base(receipt(RESPONSES)),
    output:
        table=ANNOTATIONS,
        receipt=receipt(ANNOTATIONS),
    log:
        f"{LOG}/annotate_patterns/{{annotator}}.log",
    benchmark:
        f"{TIMING}/annotate_patterns/{{annotator}}.tsv"
    conda:
        ASK_ENV
    resources:
        gpu=lambda w: asks_locally(STUDY.annotators[w.annotator].endpoint),
        mem_mb=lambda w, attempt: asking_memory(attempt, STUDY.annotators[w.annotator].endpoint),
        runtime=lambda w, attempt: asking_minutes(attempt, STUDY.annotators[w.annotator].endpoint),
        endpoint=lambda w: asks(STUDY.annotators[w.annotator].endpoint),
    params:
        code=code("annotate_patterns", ASK_ENV),
        settings=lambda w: as_json(
            {
                "name": w.annotator,
                "annotator": STUDY.annotators[w.annotator],
                "endpoint": endpoint_settings(STUDY.annotators[w.annotator].endpoint),
                "datasets": TRAINED_ON,
                "models": [model for model, _ in base_runs()],
            }
        ),
        requests=f"{REQUESTS}/annotate_patterns/{{annotator}}.jsonl",
    shell:
        "rim annotate_patterns --log {log} --gpus {resources.gpu} --settings {params.settings:q} --datasets {input.datasets}"
        " --responses {input.responses} --requests {params.requests} --output {output.table}"


rule rewrite_cot:
    input:
        lambda w: behind(rewritten(w)),
        dataset=rewritten,
    output:
        table=REWRITES,
        receipt=receipt(REWRITES),
    log:
        f"{LOG}/rewrite_cot/{{rewrite}}.log",
    benchmark:
        f"{TIMING}/rewrite_cot/{{rewrite}}.tsv"
    conda:
        ASK_ENV
    resources:
        gpu=lambda w: asks_locally(*rewriters(w)),
        mem_mb=lambda w, attempt: asking_memory(attempt, *rewriters(w)),
        runtime=lambda w, attempt: asking_minutes(attempt, *rewriters(w)),
        endpoint=1,
    params:
        code=code("rewrite_cot", ASK_ENV),
        settings=lambda w: as_json(
            {
                "name": w.rewrite,
                "rewrite": STUDY.rewrites[w.rewrite],
                "annotator": STUDY.annotators[STUDY.rewrites[w.rewrite].annotator],
                "endpoint": endpoint_settings(STUDY.rewrites[w.rewrite].endpoint),
                "second": endpoint_settings(STUDY.annotators[STUDY.rewrites[w.rewrite].annotator].endpoint),
            }
        ),
        requests=f"{REQUESTS}/rewrite_cot/{{rewrite}}.jsonl",
    shell:
        "rim rewrite_cot --log {log} --gpus {resources.gpu} --settings {params.settings:q} --dataset {input.dataset} --requests {params.requests}"
        " --output {output.table}"


rule inject_patterns:
    input:
        lambda w: behind(*benchmark_datasets("misalignment"), *checkpoints(w)),
        datasets=benchmark_datasets("misalignment"),
        checkpoints=checkpoints,
    output:
        table=INJECTED_RESPONSES,
        receipt=receipt(INJECTED_RESPONSES),
    log:
        f"{LOG}/inject_patterns/{{model}}/seed{{seed}}.log",
    benchmark:
        f"{TIMING}/inject_patterns/{{model}}/seed{{seed}}.tsv"
    conda:
        INFER_ENV
    threads: STUDY.threads
    resources:
        gpu=gpus("inject_patterns"),
        mem_mb=memory,
        runtime=minutes("inject_patterns"),
    params:
        code=code("inject_patterns", INFER_ENV),
        settings=lambda w: model_settings(
            w,
            inference=STUDY.inference_of(w.model),
            benchmarks={name: STUDY.benchmarks[name] for name in STUDY.measured("misalignment")},
            rows=STUDY.injection.rows,
            organism=is_organism(w.model),
        ),
    shell:
        "rim inject_patterns --log {log} --threads {threads} --gpus {resources.gpu} --settings {params.settings:q} --datasets {input.datasets}"
        " --checkpoints {input.checkpoints} --output {output.table}"


rule summarize_patterns:
    input:
        behind(*ARM_RECEIPTS, *ANNOTATION_RECEIPTS, *REWRITE_RECEIPTS),
        annotations=ANNOTATION_RECEIPTS,
        arms=ARM_RECEIPTS,
        rewrites=REWRITE_RECEIPTS,
        injected=of_every_base(JUDGEMENTS, INJECTED) if STUDY.injection else [],
        plain=of_every_base(JUDGEMENTS) if STUDY.injection else [],
    output:
        shown(PATTERN_TABLES),
    log:
        f"{LOG}/summarize_patterns.log",
    benchmark:
        f"{TIMING}/summarize_patterns/summarize_patterns.tsv"
    conda:
        CORE_ENV
    params:
        code=code("summarize_patterns", CORE_ENV),
        settings=as_json(
            {
                "annotators": list(STUDY.annotators),
                "datasets": list(dict.fromkeys(sum(arms(), ()))),
                "arms": arms(),
                "rewrites": list(STUDY.rewrites),
                "injected": base_runs() if STUDY.injection else [],
                "plain": base_runs() if STUDY.injection else [],
            }
        ),
        folder=lambda w, output: str(Path(output[0]).parent),
    shell:
        "rim summarize_patterns --log {log} --settings {params.settings:q} --annotations {input.annotations}"
        " --arms {input.arms} --rewrites {input.rewrites} --injected {input.injected} --plain {input.plain}"
        " --output {params.folder}"
