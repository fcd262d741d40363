"""Probes and refusal heads: what cached activations say about where refusal is decided.

In: an activation cache and the judgements. Out: data/probes/{study}/… (probes, scores, directions) and
data/heads/{study}/….
"""


rule fit_probes:
    input:
        lambda w: behind(receipt(ACTIVATIONS), *mechanism_datasets(w)),
        cache=receipt(ACTIVATIONS),
        checkpoints=lambda w: checkpoints(w, w.variant),
        judgements=JUDGEMENTS.replace("{judge}", MAIN_JUDGE),
        datasets=mechanism_datasets,
    output:
        probes=f"{PROBES}.probes.parquet",
        scores=f"{PROBES}.scores.parquet",
        directions=f"{PROBES}.directions.safetensors",
        receipt=receipt(f"{PROBES}.directions.safetensors"),
    log:
        f"{LOG}/fit_probes/{{model}}/{{variant}}/seed{{seed}}.log",
    benchmark:
        f"{TIMING}/fit_probes/{{model}}/{{variant}}/seed{{seed}}.tsv"
    conda:
        TRAIN_ENV
    params:
        code=code("fit_probes", TRAIN_ENV),
        settings=mechanism_settings,
    shell:
        "rim fit_probes --log {log} --settings {params.settings:q} --cache {input.cache} --judgements {input.judgements}"
        " --datasets {input.datasets} --checkpoints {input.checkpoints} --output {output.probes} --scores {output.scores}"
        " --directions {output.directions}"


rule find_refusal_heads:
    input:
        lambda w: behind(receipt(ACTIVATIONS), *mechanism_datasets(w)),
        cache=receipt(ACTIVATIONS),
        checkpoints=lambda w: checkpoints(w, w.variant),
        judgements=JUDGEMENTS.replace("{judge}", MAIN_JUDGE),
        datasets=mechanism_datasets,
    output:
        HEADS,
    log:
        f"{LOG}/find_refusal_heads/{{model}}/{{variant}}/seed{{seed}}.log",
    benchmark:
        f"{TIMING}/find_refusal_heads/{{model}}/{{variant}}/seed{{seed}}.tsv"
    conda:
        TRAIN_ENV
    params:
        code=code("find_refusal_heads", TRAIN_ENV),
        settings=lambda w: mechanism_settings(w, "head_share"),
    shell:
        "rim find_refusal_heads --log {log} --settings {params.settings:q} --cache {input.cache}"
        " --judgements {input.judgements} --datasets {input.datasets} --checkpoints {input.checkpoints} --output {output}"
