"""What jobs ask for: GPUs, memory and time by rule and size of the model, more of the latter two when tried again.

A profile for a cluster hands these to the scheduler; elsewhere only `gpu` counts, against what the profile of the
workstation allows. Nothing here decides whether a job runs again.
"""


def model_resources(rule):
    """Of a job that loads a model: GPUs, memory in MB, and minutes, which are twice the estimate and half an hour."""

    def gpus(wildcards):
        return costs.gpus(STUDY, rule, wildcards.model, wildcards.variant)

    def memory(wildcards, attempt):
        return attempt * int(costs.host_memory(STUDY, rule, wildcards.model, wildcards.variant) / 1e6)

    def minutes(wildcards, attempt):
        known = not is_organism(wildcards.model)
        expected = costs.seconds(STUDY, rule, wildcards.model, wildcards.variant) if known else 0
        return attempt * int(30 + 2 * expected / 60)

    return dict(gpu=gpus, mem_mb=memory, runtime=minutes)


def asking_resources(endpoints):
    """Of a job that asks language models: it may have to load one itself, and counts against the bound on `endpoint`."""
    return dict(
        gpu=lambda w: asks_locally(*endpoints(w)),
        mem_mb=lambda w, attempt: attempt
        * int(4000 + (2.2 * costs.UNKNOWN / 1e6 if asks_locally(*endpoints(w)) else 0)),
        runtime=lambda w, attempt: attempt * (720 if asks_locally(*endpoints(w)) else 240),
        endpoint=lambda w: int(any(endpoints(w))),
    )
