"""What jobs ask for: GPUs, memory and time by rule and size of the model, more of the latter two when tried again.

A profile for a cluster hands these to the scheduler; elsewhere only `gpu` counts, against what the profile of the
workstation allows. Nothing here decides whether a job runs again.
"""

UNKNOWN = 16e9  # bytes of a hub model whose 'parameters' are not given


def model_resources(rule):
    """Of a job that loads a model: GPUs that hold it and what the rule does with it, memory, minutes.

    The weights pass through main memory, so it has room for a second copy (MB, never under 2000). The time is twice the
    estimate and half an hour. An organism needs no GPU.
    """

    def gpus(wildcards):
        return costs.gpus(STUDY, rule, wildcards.model, wildcards.variant)

    def memory(wildcards, attempt):
        model, dtype = STUDY.models[wildcards.model], costs.job_dtype(STUDY, rule, wildcards.model)
        size = 0 if is_organism(wildcards.model) else costs.weights(model, dtype) or UNKNOWN
        return attempt * int(2000 + 2.2 * size / 1e6)

    def minutes(wildcards, attempt):
        known = not is_organism(wildcards.model)
        expected = costs.seconds(STUDY, rule, wildcards.model, wildcards.variant) if known else 0
        return attempt * int(30 + 2 * expected / 60)

    return dict(gpu=gpus, mem_mb=memory, runtime=minutes)


def asking_resources(endpoints):
    """Of a job that asks language models: it may have to load one itself, and counts against the bound on `endpoint`."""
    return dict(
        gpu=lambda w: asks_locally(*endpoints(w)),
        mem_mb=lambda w, attempt: attempt * int(4000 + (2.2 * UNKNOWN / 1e6 if asks_locally(*endpoints(w)) else 0)),
        runtime=lambda w, attempt: attempt * (720 if asks_locally(*endpoints(w)) else 240),
        endpoint=lambda w: int(any(endpoints(w))),
    )
