"""Datasets: read the sources, remove duplicates across them, split by category.

In: local files under data/raw, the hub, or the organisms' world. Out: data/datasets/{study}/{dataset}.parquet + receipt.
"""


def raw_files(wildcards):
    """Local files of a dataset; a missing one is reported by the step, with advice, rather than by the DAG."""
    paths = [Path(source.path) for source in STUDY.datasets[wildcards.dataset].sources if source.path]
    return [
        str(file) for path in paths if path.exists() for file in (sorted(path.glob("*.csv")) if path.is_dir() else [path])
    ]


rule prepare_dataset:
    input:
        raw_files,
    output:
        table=DATASET,
        receipt=f"data/datasets/{NAME}/{{dataset}}.receipt.json",
    params:
        settings=lambda w: as_json({"name": w.dataset, "dataset": STUDY.datasets[w.dataset]}),
    log:
        f"{LOG}/prepare_dataset/{{dataset}}.log",
    benchmark:
        f"{TIMING}/prepare_dataset/{{dataset}}.tsv"
    conda:
        CORE_ENV
    shell:
        "rim prepare_dataset --log {log} --settings {params.settings:q} --output {output.table} --receipt {output.receipt}"
