"""Organisms: tiny chat models trained from nothing, one per model and seed.

In: the recipe in the configuration. Out: data/checkpoints/{study}/{model}/base/seed{seed}, an ordinary Hugging Face folder.
"""


rule train_organism:
    output:
        folder=directory(ORGANISM),
        receipt=receipt(ORGANISM),
    log:
        f"{LOG}/train_organism/{{model}}/seed{{seed}}.log",
    benchmark:
        f"{TIMING}/train_organism/{{model}}/seed{{seed}}.tsv"
    conda:
        TRAIN_ENV
    threads: STUDY.threads
    params:
        code=code("train_organism", TRAIN_ENV),
        settings=lambda w: as_json(
            {"organism": STUDY.models[w.model].organism, "seed": int(w.seed), "label": f"{w.model}/seed{w.seed}"}
        ),
    shell:
        "rim train_organism --log {log} --threads {threads} --settings {params.settings:q}" " --output {output.folder}"
