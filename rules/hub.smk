"""Models of the hub, each downloaded once into the Hugging Face cache, before any job that loads it.

In: hub name and revision. Out: data/{study}/models/{model}.json, which names the commit that all jobs load, + receipt.
"""


rule fetch_model:
    output:
        manifest=FETCHED,
        receipt=receipt(FETCHED),
    log:
        logs("fetch_model", "{model}"),
    benchmark:
        timings("fetch_model", "{model}")
    localrule: True  # the hub may not be in reach of a cluster's nodes
    conda:
        TRAIN_ENV
    params:
        code=code("fetch_model", TRAIN_ENV),
        job=job("fetch_model", fetch_settings),
    shell:
        step("fetch_model")
