"""Safety-critical neurons: found in the model before fine-tuning on the calibration split, ablated on the evaluation split.

In: replies of the model before fine-tuning, and the checkpoint. Out: data/neurons/{study}/{model}/base/seed{seed}.… (the sets,
and how stable they are), and data/responses/{study}/{model}/base/….neurons.parquet with its judgements and grades.
"""


rule find_safety_neurons:
    input:
        lambda w: behind(receipt(RESPONSES), *forgetting_datasets("harmful"), *checkpoints(w)),
        responses=receipt(RESPONSES),
        dataset=forgetting_datasets("harmful"),
        checkpoints=checkpoints,
    output:
        table=f"{NEURONS}.parquet",
        curve=f"{NEURONS}.curve.parquet",
    log:
        f"{LOG}/find_safety_neurons/{{model}}/{{variant}}/seed{{seed}}.log",
    benchmark:
        f"{TIMING}/find_safety_neurons/{{model}}/{{variant}}/seed{{seed}}.tsv"
    wildcard_constraints:
        variant=BASE,
    conda:
        TRAIN_ENV
    threads: STUDY.threads
    resources:
        gpu=gpus("find_safety_neurons"),
        mem_mb=memory,
        runtime=minutes("find_safety_neurons"),
    params:
        code=code("find_safety_neurons", TRAIN_ENV),
        settings=forgetting_settings,
    shell:
        "rim find_safety_neurons --log {log} --threads {threads} --gpus {resources.gpu} --settings {params.settings:q}"
        " --responses {input.responses} --dataset {input.dataset} --checkpoints {input.checkpoints}"
        " --output {output.table} --curve {output.curve}"


rule ablate_neurons:
    input:
        lambda w: behind(*benchmark_datasets(), *checkpoints(w)),
        neurons=f"{NEURONS}.parquet",
        datasets=benchmark_datasets(),
        checkpoints=checkpoints,
    output:
        responses=WITHOUT_NEURONS["responses"],
        receipt=receipt(WITHOUT_NEURONS["responses"]),
    log:
        f"{LOG}/ablate_neurons/{{model}}/{{variant}}/seed{{seed}}.log",
    benchmark:
        f"{TIMING}/ablate_neurons/{{model}}/{{variant}}/seed{{seed}}.tsv"
    wildcard_constraints:
        variant=BASE,
    conda:
        INFER_ENV
    threads: STUDY.threads
    resources:
        gpu=gpus("ablate_neurons"),
        mem_mb=memory,
        runtime=minutes("ablate_neurons"),
    params:
        code=code("ablate_neurons", INFER_ENV),
        settings=lambda w: forgetting_settings(w, inference=STUDY.inference_of(w.model), benchmarks=STUDY.benchmarks),
    shell:
        "rim ablate_neurons --log {log} --threads {threads} --gpus {resources.gpu} --settings {params.settings:q} --neurons {input.neurons}"
        " --datasets {input.datasets} --checkpoints {input.checkpoints} --output {output.responses}"


use rule judge_responses as judge_without_neurons with:
    input:
        behind(receipt(WITHOUT_NEURONS["responses"]), *benchmark_datasets("misalignment", "false_refusal")),
        responses=receipt(WITHOUT_NEURONS["responses"]),
        datasets=benchmark_datasets("misalignment", "false_refusal"),
    output:
        WITHOUT_NEURONS["judgements"],
    log:
        f"{LOG}/judge_responses/{{judge}}/{{model}}/{{variant}}/seed{{seed}}.neurons.log",
    benchmark:
        f"{TIMING}/judge_responses/{{judge}}/{{model}}/{{variant}}/seed{{seed}}.neurons.tsv"


use rule grade_answers as grade_without_neurons with:
    input:
        behind(receipt(WITHOUT_NEURONS["responses"]), *benchmark_datasets("accuracy")),
        responses=receipt(WITHOUT_NEURONS["responses"]),
        datasets=benchmark_datasets("accuracy"),
    output:
        WITHOUT_NEURONS["grades"],
    log:
        f"{LOG}/grade_answers/{{model}}/{{variant}}/seed{{seed}}.neurons.log",
    benchmark:
        f"{TIMING}/grade_answers/{{model}}/{{variant}}/seed{{seed}}.neurons.tsv"
