"""Effort-minimizing patterns: found, written into or out of chains of thought, injected at inference, summed up.

In: training data, replies before fine-tuning, base models. Out: data/annotations/{study}/{annotator}.parquet,
data/rewrites/{study}/{rewrite}.parquet, data/responses/{study}/…/injected.parquet, tables of results.
"""

TRAINED_ON = list(dict.fromkeys(variant.dataset for variant in STUDY.variants.values()))
TRAINED_ON_RECEIPTS = dataset_receipts(TRAINED_ON)
BASE_REPLIES = per_base_run(receipt(responses("plain")))


def annotation_settings(w):
    annotator = STUDY.annotators[w.annotator]
    return {
        "name": w.annotator,
        "annotator": annotator,
        "endpoint": named_endpoint(annotator.endpoint),
        "dataset_names": TRAINED_ON,
        "models": [model for model, *_ in runs.base_runs(STUDY)],
        "requests": f"{REQUESTS}/annotate_patterns/{w.annotator}.jsonl",
    }


rule annotate_patterns:
    input:
        artifacts_of(*TRAINED_ON_RECEIPTS, *BASE_REPLIES),
        datasets=TRAINED_ON_RECEIPTS,
        replies=BASE_REPLIES,
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
        MODEL_STEP


def rewritten_dataset(wildcards):
    """Receipt of the dataset whose chains of thought are rewritten."""
    return dataset_receipts([STUDY.rewrites[wildcards.rewrite].dataset])[0]


def rewrite_endpoints(wildcards):
    """The language models that rewrite, and that check what was rewritten."""
    rewrite = STUDY.rewrites[wildcards.rewrite]
    return [rewrite.endpoint, STUDY.annotators[rewrite.annotator].endpoint]


def rewrite_settings(w):
    rewrite = STUDY.rewrites[w.rewrite]
    endpoint, annotator_endpoint = map(named_endpoint, rewrite_endpoints(w))
    return {
        "name": w.rewrite,
        "rewrite": rewrite,
        "endpoint": endpoint,
        "annotator": STUDY.annotators[rewrite.annotator],
        "annotator_endpoint": annotator_endpoint,
        "requests": f"{REQUESTS}/rewrite_cot/{w.rewrite}.jsonl",
    }


rule rewrite_cot:
    input:
        lambda w: artifacts_of(rewritten_dataset(w)),
        dataset=rewritten_dataset,
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
        MODEL_STEP


def injection_settings(w):
    return {
        "model": model_reference(w),
        "inference": STUDY.inference_of(w.model),
        "benchmarks": {name: STUDY.benchmarks[name] for name in STUDY.measured("misalignment")},
        "rows": STUDY.injection.rows,
        "organism": is_organism(w.model),
    }


rule inject_patterns:
    input:
        lambda w: artifacts_of(*benchmark_datasets("misalignment"), *checkpoints(w)),
        checkpoints,
        datasets=benchmark_datasets("misalignment"),
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
        MODEL_STEP


def compared_arms():
    """The pairs of training sets, (target, control), that the study compares."""
    pairs = [(pair.target, pair.control) for pair in STUDY.pairs] or [("gsm8k_target", "gsm8k_control")]
    return [
        tuple(STUDY.variants[arm].dataset for arm in pair)
        for pair in dict.fromkeys(pairs)
        if all(arm in STUDY.variants for arm in pair)
    ]


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
        STEP
