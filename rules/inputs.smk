"""What jobs are given: the runs of a study, receipts of the artifacts that a job loads, and its settings."""


def is_organism(model):
    return STUDY.models[model].organism is not None


def asks(endpoint):
    """1 for a job that asks a language model, as an amount of the resource `endpoint`."""
    return int(endpoint is not None)


def asks_locally(*endpoints):
    """1 for a job that runs one of these language models itself."""
    return int(any(each is not None and STUDY.endpoints[each].kind == "transformers" for each in endpoints))


def rewriters(wildcards):
    """The language models that rewrite, and that check what was rewritten."""
    rewrite = STUDY.rewrites[wildcards.rewrite]
    return rewrite.endpoint, STUDY.annotators[rewrite.annotator].endpoint


def own_name(output):
    """judge/model/variant/seed0, or seed0.ablated and the like: a place of its own for what each job asks."""
    return Path(*Path(output).parts[3:]).with_suffix("")


def endpoint_settings(endpoint):
    """What a job must know about the language model it asks, if it asks one."""
    return {"name": endpoint, "endpoint": STUDY.endpoints[endpoint]} if endpoint else None


def runs(judge=MAIN_JUDGE):
    """Every (model, variant, seed) of the study that a judge looks at; the main judge looks at all of them."""
    only = STUDY.judges[judge].variants
    return [
        (model, variant, seed)
        for model in STUDY.models
        for variant in [BASE, *STUDY.variants_of(model)]
        for seed in STUDY.seeds_of(model, variant)
        if only is None or variant in only
    ]


def base_location(wildcards):
    """Where the model before fine-tuning is loaded from."""
    if is_organism(wildcards.model):
        return CHECKPOINT.format(model=wildcards.model, variant=BASE, seed=wildcards.seed)
    return STUDY.models[wildcards.model].hub


def receipt(artifact):
    """A heavy artifact is handed on by its receipt, which changes when the content does; the step checks and loads it."""
    return f"{artifact}{SUFFIX}"


def behind(*receipts):
    """The artifacts themselves. Their age says nothing about their content, so only their absence makes a job run."""
    return [ancient(path.removesuffix(SUFFIX)) for path in receipts]


def checkpoints(wildcards, variant=None):
    """Receipts of what a job loads: its organism or the manifest of its download, and the fine-tuned variant on top."""
    base = CHECKPOINT if is_organism(wildcards.model) else FETCHED
    loaded = [base.format(**{**wildcards, "variant": BASE})]
    loaded += [CHECKPOINT.format(**{**wildcards, "variant": variant})] if variant not in (None, BASE) else []
    return [receipt(path) for path in loaded]


def trained_on(wildcards):
    """Receipt of the dataset of an arm."""
    return receipt(DATASET.format(dataset=STUDY.variants[wildcards.variant].dataset))


def refused_requests(wildcards):
    """Receipt of the dataset that a mitigation has the base refuse, if it does."""
    mitigation = STUDY.variants[wildcards.variant].mitigation
    return [receipt(DATASET.format(dataset=mitigation.dataset))] if mitigation and mitigation.dataset else []


def frozen_neurons(wildcards):
    """The base's safety-critical neurons, if a mitigation freezes them."""
    mitigation = STUDY.variants[wildcards.variant].mitigation
    return [of_base(f"{NEURONS}.parquet")(wildcards)] if mitigation and mitigation.kind == "freeze_neurons" else []


def benchmark_datasets(*measures):
    """Receipts of the datasets of the benchmarks with these measures, in order."""
    return [receipt(DATASET.format(dataset=STUDY.benchmarks[name].dataset)) for name in STUDY.measured(*measures)]


def base_runs():
    """Every (model, seed) of the models before fine-tuning."""
    return [(model, seed) for model in STUDY.models for seed in STUDY.seeds_of(model, BASE)]


def of_every_base(pattern, variant=BASE):
    return [pattern.format(model=model, variant=variant, seed=seed, judge=MAIN_JUDGE) for model, seed in base_runs()]


def model_settings(wildcards, **more):
    """What a job must know about its model, and whatever else it needs."""
    model = STUDY.models[wildcards.model]
    common = {
        "label": f"{wildcards.model}/{wildcards.get('variant', INJECTED)}/seed{wildcards.seed}",
        "base": base_location(wildcards),
        "revision": model.revision,
        "dtype": model.dtype,
        "think": model.think,
        "seed": int(wildcards.seed),
    }
    return as_json({**common, **more})


def of_base(pattern):
    """The file of the model before fine-tuning, which for a hub model is that of the first seed."""

    def path(wildcards):
        seeds = STUDY.seeds_of(wildcards.model, BASE)
        seed = wildcards.seed if int(wildcards.seed) in seeds else seeds[0]
        return pattern.format(model=wildcards.model, variant=BASE, seed=seed)

    return path


def of_every_run(pattern, judge=MAIN_JUDGE, among=None):
    """The files of every run that a judge looks at, or of some."""
    return [
        pattern.format(model=model, variant=variant, seed=seed, judge=judge)
        for model, variant, seed in (runs(judge) if among is None else among)
    ]


def final_targets():
    """What `snakemake` makes when it is given no target.

    The report comes with git; the outcomes are under data/ and say whether it was made from what lies here.
    """
    return [f"{RESULTS}/report.html", OUTCOMES]


def rewrites(wildcards):
    """Receipts of the rewrites that a dataset takes rows from."""
    return [
        receipt(REWRITES.format(rewrite=each.rewrite))
        for each in STUDY.datasets[wildcards.dataset].sources
        if each.rewrite
    ]


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


def to_fetch():
    """Hub name and revision of every model that is not here yet."""
    return {
        name: (model.hub, model.revision)
        for name, model in STUDY.models.items()
        if model.hub and not Path(FETCHED.format(model=name)).exists()
    }


def report_files():
    """What the report is made with beside code: its template, style and script, and the paper's numbers."""
    package = Path(workflow.basedir, "src/rim")
    return [*sorted((package / "templates").iterdir()), package / "published.csv"]
