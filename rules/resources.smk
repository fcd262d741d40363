"""What jobs ask for: GPUs, memory and time by rule and size of the model, more of the latter two when tried again.

A profile for a cluster hands these to the scheduler; elsewhere only `gpu` counts, against what the profile of the
workstation allows. Nothing here decides whether a job runs again.
"""

UNKNOWN = 16e9  # bytes of a hub model whose 'parameters' are not given


def gpus(rule):
    """GPUs that hold the model and what the rule does with it; an organism needs none."""
    return lambda wildcards: costs.gpus(STUDY, rule, wildcards.model, wildcards.get("variant", BASE))


def memory(wildcards, attempt):
    """MB of main memory, through which the weights pass: with room for a second copy, and never under 2000."""
    size = 0 if is_organism(wildcards.model) else costs.weights(STUDY.models[wildcards.model]) or UNKNOWN
    return attempt * int(2000 + 2.2 * size / 1e6)


def minutes(rule):
    """Wall time of a job of this rule: twice the estimate and half an hour."""

    def limit(wildcards, attempt):
        name, variant = wildcards.model, wildcards.get("variant", BASE)
        expected = 0 if is_organism(name) else costs.seconds(STUDY, rule, name, variant)
        return attempt * int(30 + 2 * expected / 60)

    return limit


def stop_when_in_vain():
    """Ask the hub for its models and the cluster for its partitions, and stop when either knows one of them not."""
    profile = getattr(workflow.executor_settings, "partition_config", None)
    account = (workflow.resource_settings.default_resources or {}).get("slurm_account")
    try:
        hub.check(to_fetch())
        if profile:
            cluster.check(profile, account and account.raw)
    except UserError as error:
        sys.exit(f"{error}")
