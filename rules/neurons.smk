"""Safety-critical neurons: found in the model before fine-tuning on the calibration split, ablated on the evaluation split.

In: replies of the model before fine-tuning, and the checkpoint. Out: data/{study}/neurons/{model}/base/seed{seed}.… (the sets,
and how stable they are), and in data/{study}/responses/{model}/base/seed{seed} without_neurons.parquet and, where they are asked,
counterfactuals.parquet.
"""

HARMFUL_DATASET = benchmark_receipts([STUDY.forgetting.harmful])[0]


OWN_REPLIES = [receipt(responses("counterfactuals"))] if STUDY.forgetting.replies == "own" else []


rule answer_counterfactuals:
    input:
        lambda w: artifacts_of(HARMFUL_DATASET, *checkpoints(w)),
        checkpoints,
        datasets=[HARMFUL_DATASET],
        trial=after_trial(responses("counterfactuals")),
    output:
        replies=responses("counterfactuals"),
        receipt=receipt(responses("counterfactuals")),
    log:
        logs("answer_counterfactuals", RUN),
    benchmark:
        timings("answer_counterfactuals", RUN)
    wildcard_constraints:
        variant=BASE,
    conda:
        INFER_ENV
    threads: STUDY.threads
    resources:
        **model_resources("answer_counterfactuals"),
    params:
        code=code("answer_counterfactuals", INFER_ENV),
        job=job("answer_counterfactuals", counterfactual_settings),
    shell:
        model_step("answer_counterfactuals")


rule find_safety_neurons:
    input:
        lambda w: artifacts_of(receipt(responses("plain")), *OWN_REPLIES, HARMFUL_DATASET, *checkpoints(w)),
        checkpoints,
        replies=receipt(responses("plain")),
        counterfactual_replies=OWN_REPLIES,
        dataset=HARMFUL_DATASET,
    output:
        neurons=NEURONS,
        curve=CURVES,
    log:
        logs("find_safety_neurons", RUN),
    benchmark:
        timings("find_safety_neurons", RUN)
    wildcard_constraints:
        variant=BASE,
    conda:
        TRAIN_ENV
    threads: STUDY.threads
    resources:
        **model_resources("find_safety_neurons"),
    params:
        code=code("find_safety_neurons", TRAIN_ENV),
        job=job("find_safety_neurons", neuron_settings),
    shell:
        model_step("find_safety_neurons")


rule ablate_neurons:
    input:
        lambda w: artifacts_of(*ablated_datasets(STUDY.forgetting), *checkpoints(w)),
        checkpoints,
        neurons=NEURONS,
        datasets=ablated_datasets(STUDY.forgetting),
    output:
        replies=responses("without_neurons"),
        receipt=receipt(responses("without_neurons")),
    log:
        logs("ablate_neurons", RUN),
    benchmark:
        timings("ablate_neurons", RUN)
    wildcard_constraints:
        variant=BASE,
    conda:
        INFER_ENV
    threads: STUDY.threads
    resources:
        **model_resources("ablate_neurons"),
    params:
        code=code("ablate_neurons", INFER_ENV),
        job=job("ablate_neurons", without_neurons_settings),
    shell:
        model_step("ablate_neurons")
