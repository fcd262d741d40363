"""Datasets: read the sources, remove duplicates across them, split by category.

In: local files under data/raw, the hub, or the organisms' world. Out: data/datasets/{study}/{dataset}.parquet, and its receipt.
"""


def rewrite_receipts(wildcards):
    """Receipts of the rewrites that a dataset takes rows from."""
    sources = STUDY.datasets[wildcards.dataset].sources
    return [receipt(REWRITES.format(rewrite=each.rewrite)) for each in sources if each.rewrite]


def with_rewrites(dataset):
    """A dataset whose rewritten sources know the file that the workflow makes for them."""
    sources = [
        each.model_copy(update={"path": REWRITES.format(rewrite=each.rewrite)}) if each.rewrite else each
        for each in dataset.sources
    ]
    return dataset.model_copy(update={"sources": sources})


def raw_files(wildcards):
    """Local files of a dataset; a missing one is reported by the step, with advice, rather than by the DAG."""
    paths = [Path(source.path) for source in STUDY.datasets[wildcards.dataset].sources if source.path]
    return [
        ancient(str(file))  # `raw_content` decides
        for path in paths
        if path.exists()
        for file in (sorted(path.glob("*.csv")) if path.is_dir() else [path])
    ]


def raw_content(wildcards):
    """Hashes of the local files, since no rule makes them."""
    return " ".join(sha256(Path(file)) for file in raw_files(wildcards))


rule prepare_dataset:
    input:
        raw_files,
        lambda w: artifacts_of(*rewrite_receipts(w)),
        rewrite_receipts,
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
        job=job("prepare_dataset", lambda w: {"name": w.dataset, "dataset": with_rewrites(STUDY.datasets[w.dataset])}),
    shell:
        STEP
