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


def asking_memory(attempt, *endpoints):
    """MB of main memory of a job that asks language models, which it may have to load itself."""
    return attempt * int(4000 + (2.2 * UNKNOWN / 1e6 if asks_locally(*endpoints) else 0))


def asking_minutes(attempt, *endpoints):
    return attempt * (720 if asks_locally(*endpoints) else 240)


def minutes(rule):
    """Wall time of a job of this rule: twice the estimate and half an hour."""

    def limit(wildcards, attempt):
        name, variant = wildcards.model, wildcards.get("variant", BASE)
        expected = 0 if is_organism(name) else costs.seconds(STUDY, rule, name, variant)
        return attempt * int(30 + 2 * expected / 60)

    return limit


def absent_files():
    """What is wrong with the local files of datasets that are not prepared yet."""
    return [
        f"datasets.{name}.sources.{i}.path: '{source.path}' does not exist; put the file there or correct the path"
        for name, dataset in STUDY.datasets.items()
        if not Path(DATASET.format(dataset=name)).exists()
        for i, source in enumerate(dataset.sources)
        if source.path and not Path(source.path).exists()
    ]


def stop_when_in_vain():
    """Look for local files, ask the hub for its models and the cluster for its partitions, and stop when one is not there.

    A key that is missing is only told: what it is needed for may have been answered already.
    """
    for name, endpoint in STUDY.endpoints.items():
        if endpoint.api_key_env and endpoint.api_key_env not in os.environ:
            print(f"endpoints.{name}: {endpoint.api_key_env} is not set; jobs that ask it will stop", file=sys.stderr)
    if wrong := absent_files():
        sys.exit("\n".join(wrong))
    profile = getattr(workflow.executor_settings, "partition_config", None)
    account = (workflow.resource_settings.default_resources or {}).get("slurm_account")
    try:
        hub.check(to_fetch())
        if profile:
            cluster.check(profile, account and account.raw)
    except UserError as error:
        sys.exit(f"{error}")
