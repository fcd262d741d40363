"""Datasets: read the sources, remove duplicates across them, split by category.

In: local files under data/raw, the hub, the organisms' world, or other datasets of the study. Out: data/{study}/datasets/{dataset}.parquet, and its receipt.
"""


rule prepare_dataset:
    input:
        lambda w: artifacts_of(*made_receipts(w)),
        made_receipts,
        raw=raw_files,
    output:
        table=DATASET,
        receipt=receipt(DATASET),
    log:
        logs("prepare_dataset", "{dataset}"),
    benchmark:
        timings("prepare_dataset", "{dataset}")
    localrule: True  # the hub may not be in reach of a cluster's nodes
    conda:
        CORE_ENV
    params:
        code=code("prepare_dataset", CORE_ENV),
        raw=raw_content,
        job=job("prepare_dataset", lambda w: {"name": w.dataset, "dataset": with_made_files(STUDY.datasets[w.dataset])}),
    shell:
        step("prepare_dataset")
