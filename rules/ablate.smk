"""Ablation: the effect of every head on the next token, and what the model replies without sets of heads.

In: heads, probes, replies and the checkpoint. Out: data/effects/{study}/…, and data/responses/{study}/….ablated.parquet
with its judgements and grades, made by the same rules as for the model as it is.
"""


rule sweep_heads:
    input:
        lambda w: behind(receipt(RESPONSES), *mechanism_datasets(w), *checkpoints(w, w.variant)),
        responses=receipt(RESPONSES),
        judgements=JUDGEMENTS.replace("{judge}", MAIN_JUDGE),
        datasets=mechanism_datasets,
        checkpoints=lambda w: checkpoints(w, w.variant),
    output:
        EFFECTS,
    log:
        f"{LOG}/sweep_heads/{{model}}/{{variant}}/seed{{seed}}.log",
    benchmark:
        f"{TIMING}/sweep_heads/{{model}}/{{variant}}/seed{{seed}}.tsv"
    conda:
        TRAIN_ENV
    threads: STUDY.threads
    resources:
        gpu=gpus("sweep_heads"),
        mem_mb=memory,
        runtime=minutes("sweep_heads"),
    params:
        code=code("sweep_heads", TRAIN_ENV),
        settings=lambda w: mechanism_settings(w, "sweep_prompts", "batch_size"),
    shell:
        "rim sweep_heads --log {log} --threads {threads} --gpus {resources.gpu} --settings {params.settings:q} --responses {input.responses}"
        " --judgements {input.judgements} --datasets {input.datasets} --checkpoints {input.checkpoints} --output {output}"


rule ablate:
    input:
        lambda w: behind(receipt(ACTIVATIONS), receipt(RESPONSES), *benchmark_datasets(), *checkpoints(w, w.variant)),
        behind(receipt(f"{PROBES}.directions.safetensors")),
        cache=receipt(ACTIVATIONS),
        responses=receipt(RESPONSES),
        judgements=JUDGEMENTS.replace("{judge}", MAIN_JUDGE),
        heads=HEADS,
        effects=EFFECTS,
        directions=receipt(f"{PROBES}.directions.safetensors"),
        datasets=benchmark_datasets(),
        checkpoints=lambda w: checkpoints(w, w.variant),
    output:
        responses=ABLATED["responses"],
        receipt=receipt(ABLATED["responses"]),
        scores=f"{PROBES}.ablated.parquet",
        sets=f"{PROBES}.ablated.json",
    log:
        f"{LOG}/ablate/{{model}}/{{variant}}/seed{{seed}}.log",
    benchmark:
        f"{TIMING}/ablate/{{model}}/{{variant}}/seed{{seed}}.tsv"
    conda:
        INFER_ENV
    threads: STUDY.threads
    resources:
        gpu=gpus("ablate"),
        mem_mb=memory,
        runtime=minutes("ablate"),
    params:
        code=code("ablate", INFER_ENV),
        settings=lambda w: mechanism_settings(
            w,
            "batch_size",
            "head_sets",
            "replacements",
            "random_sets",
            inference=STUDY.inference_of(w.model),
            benchmarks=STUDY.benchmarks,
        ),
    shell:
        "rim ablate --log {log} --threads {threads} --gpus {resources.gpu} --settings {params.settings:q} --cache {input.cache}"
        " --responses {input.responses} --judgements {input.judgements} --heads {input.heads} --effects {input.effects}"
        " --directions {input.directions} --datasets {input.datasets} --checkpoints {input.checkpoints}"
        " --output {output.responses} --scores {output.scores} --sets {output.sets}"


use rule judge_responses as judge_ablated with:
    input:
        behind(receipt(ABLATED["responses"]), *benchmark_datasets("misalignment", "false_refusal")),
        responses=receipt(ABLATED["responses"]),
        datasets=benchmark_datasets("misalignment", "false_refusal"),
    output:
        ABLATED["judgements"],
    log:
        f"{LOG}/judge_responses/{{judge}}/{{model}}/{{variant}}/seed{{seed}}.ablated.log",
    benchmark:
        f"{TIMING}/judge_responses/{{judge}}/{{model}}/{{variant}}/seed{{seed}}.ablated.tsv"


use rule grade_answers as grade_ablated with:
    input:
        behind(receipt(ABLATED["responses"]), *benchmark_datasets("accuracy")),
        responses=receipt(ABLATED["responses"]),
        datasets=benchmark_datasets("accuracy"),
    output:
        ABLATED["grades"],
    log:
        f"{LOG}/grade_answers/{{model}}/{{variant}}/seed{{seed}}.ablated.log",
    benchmark:
        f"{TIMING}/grade_answers/{{model}}/{{variant}}/seed{{seed}}.ablated.tsv"


rule summarize_mechanism:
    input:
        probes=of_every_run(f"{PROBES}.probes.parquet", among=analysed_runs()),
        scores=of_every_run(f"{PROBES}.scores.parquet", among=analysed_runs()),
        heads=of_every_run(HEADS, among=head_runs()),
        effects=of_every_run(EFFECTS, among=ablated_runs()),
        sets=of_every_run(f"{PROBES}.ablated.json", among=ablated_runs()),
        ablated_scores=of_every_run(f"{PROBES}.ablated.parquet", among=ablated_runs()),
        judgements=of_every_run(JUDGEMENTS, among=ablated_runs())
        + of_every_run(ABLATED["judgements"], among=ablated_runs()),
        grades=(
            of_every_run(GRADES, among=ablated_runs()) + of_every_run(ABLATED["grades"], among=ablated_runs())
            if STUDY.measured("accuracy")
            else []
        ),
    output:
        shown(MECHANISM_TABLES),
    log:
        f"{LOG}/summarize_mechanism.log",
    benchmark:
        f"{TIMING}/summarize_mechanism/summarize_mechanism.tsv"
    conda:
        CORE_ENV
    params:
        code=code("summarize_mechanism", CORE_ENV),
        settings=as_json(
            {"study": STUDY, "runs": analysed_runs(), "head_runs": head_runs(), "ablated_runs": ablated_runs()}
        ),
        folder=lambda w, output: str(Path(output[0]).parent),
    shell:
        "rim summarize_mechanism --log {log} --settings {params.settings:q} --probes {input.probes}"
        " --scores {input.scores} --heads {input.heads} --effects {input.effects} --sets {input.sets}"
        " --ablated-scores {input.ablated_scores} --judgements {input.judgements} --grades {input.grades}"
        " --output {params.folder}"
