"""Activation caches: one job loads one variant of one model and reads all that the analyses need in one pass.

In: replies and checkpoint. Out: data/activations/{study}/{model}/{variant}/seed{seed}, shards and an index, + receipt.
"""


rule cache_activations:
    input:
        lambda w: behind(receipt(RESPONSES), *checkpoints(w, w.variant)),
        responses=receipt(RESPONSES),
        checkpoints=lambda w: checkpoints(w, w.variant),
    output:
        folder=directory(ACTIVATIONS),
        receipt=receipt(ACTIVATIONS),
    log:
        f"{LOG}/cache_activations/{{model}}/{{variant}}/seed{{seed}}.log",
    benchmark:
        f"{TIMING}/cache_activations/{{model}}/{{variant}}/seed{{seed}}.tsv"
    conda:
        TRAIN_ENV
    threads: STUDY.threads
    resources:
        gpu=gpus("cache_activations"),
        mem_mb=memory,
        runtime=minutes("cache_activations"),
    params:
        code=code("cache_activations", TRAIN_ENV),
        settings=lambda w: mechanism_settings(w, "positions", "neurons", "batch_size"),
    shell:
        "rim cache_activations --log {log} --threads {threads} --gpus {resources.gpu} --settings {params.settings:q}"
        " --responses {input.responses} --checkpoints {input.checkpoints} --output {output.folder}"
