"""Models of the hub, each downloaded once into the Hugging Face cache, before any job that loads it.

In: hub name and revision. Out: data/models/{study}/{model}.json, which names the commit that all jobs load, + receipt.
"""


rule fetch_model:
    output:
        manifest=FETCHED,
        receipt=receipt(FETCHED),
    log:
        f"{LOG}/fetch_model/{{model}}.log",
    benchmark:
        f"{TIMING}/fetch_model/{{model}}.tsv"
    localrule: True  # the hub may not be in reach of a cluster's nodes
    conda:
        TRAIN_ENV
    params:
        code=code("fetch_model", TRAIN_ENV),
        settings=lambda w: as_json({"hub": STUDY.models[w.model].hub, "revision": STUDY.models[w.model].revision}),
        local=lambda w: as_json(hub.sizes(Path(STUDY.models[w.model].hub))),  # of a folder, which has no commit
    shell:
        "rim fetch_model --log {log} --settings {params.settings:q} --output {output.manifest}"
