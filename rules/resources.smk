"""What jobs ask for: GPUs, memory and time by rule and size of the model, more of the latter two when tried again.

A profile for a cluster hands these to the scheduler; elsewhere only `gpu` counts, against what the profile of the
workstation allows. Nothing here decides whether a job runs again.
"""

UNKNOWN = 16e9  # bytes of a hub model whose 'parameters' are not given


def memory(wildcards, attempt):
    """MB of main memory, through which the weights pass: with room for a second copy, and never under 2000."""
    size = 0 if is_organism(wildcards.model) else costs.weights(STUDY.models[wildcards.model]) or UNKNOWN
    return attempt * int(2000 + 2.2 * size / 1e6)


def model_resources(rule):
    """Of a job that loads a model: GPUs that hold it and what the rule does with it, memory, minutes.

    The time is twice the estimate and half an hour. An organism needs no GPU.
    """

    def gpus(wildcards):
        return costs.gpus(STUDY, rule, wildcards.model, wildcards.variant)

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


def absent_files():
    """What is wrong with the local files of datasets that are not prepared yet."""
    return [
        f"datasets.{name}.sources.{i}.path: '{source.path}' does not exist; put the file there or correct the path"
        for name, dataset in STUDY.datasets.items()
        if not Path(DATASET.format(dataset=name)).exists()
        for i, source in enumerate(dataset.sources)
        if source.path and not Path(source.path).exists()
    ]


def preflight_checks():
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
