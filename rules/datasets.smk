"""Datasets: read the sources, remove duplicates across them, split by category.

In: local files under data/raw, the hub, or the organisms' world. Out: data/datasets/{study}/{dataset}.parquet, and its receipt.
"""


rule prepare_dataset:
    input:
        raw_files,
        lambda w: behind(*rewrites(w)),
        rewrites,
    output:
        table=DATASET,
        receipt=receipt(DATASET),
    log:
        f"{LOG}/prepare_dataset/{{dataset}}.log",
    benchmark:
        f"{TIMING}/prepare_dataset/{{dataset}}.tsv"
    localrule: True  # the hub may not be in reach of a cluster's nodes
    conda:
        CORE_ENV
    params:
        code=code("prepare_dataset", CORE_ENV),
        raw=raw_content,
        settings=lambda w: as_json({"name": w.dataset, "dataset": with_rewrites(STUDY.datasets[w.dataset])}),
    shell:
        "rim prepare_dataset --log {log} --settings {params.settings:q} --output {output.table}"
