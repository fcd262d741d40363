"""What the jobs of each rule read beside its files, and the settings that they are told."""


def made_files(source):
    """Keys of a source -> the files that the workflow makes for it: a rewrite, another dataset, annotations of that."""
    files = {
        "path": source.rewrite and REWRITES.format(rewrite=source.rewrite),
        "without": source.without and ANNOTATIONS.format(annotator=source.without),
    }
    files["path"] = files["path"] or (source.dataset and DATASET.format(dataset=source.dataset))
    return {key: path for key, path in files.items() if path}


def made_receipts(wildcards):
    """Receipts of what the workflow makes for a dataset."""
    sources = STUDY.datasets[wildcards.dataset].sources
    return list(dict.fromkeys(receipt(path) for each in sources for path in made_files(each).values()))


def with_made_files(dataset):
    """A dataset whose sources know the files that the workflow makes for them."""
    return dataset.model_copy(
        update={"sources": [each.model_copy(update=made_files(each)) for each in dataset.sources]}
    )


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


def organism_settings(w):
    label = f"{w.model}/seed{w.seed}"
    organism = STUDY.models[w.model].organism
    return {"label": label, "organism": organism, "seed": int(w.seed), "code": code("train_organism", TRAIN_ENV)}


def graft_settings(w):
    graft = STUDY.models[w.model].graft
    return {
        "label": f"{w.model}/seed{w.seed}",
        "organism": STUDY.models[graft.onto].organism,
        "graft": graft,
        "seed": int(w.seed),
        "code": code("graft_organism", TRAIN_ENV),
    }


def grafted_onto(wildcards):
    """Receipt of the organism that gets a graft."""
    return receipt(ORGANISM.format(model=STUDY.models[wildcards.model].graft.onto, seed=wildcards.seed))


def fetch_settings(w):
    model = STUDY.models[w.model]
    return {"hub": model.hub, "revision": model.revision, "content": hub.content(Path(model.hub))}


def trial_settings(w):
    return {
        "model": model_reference(w),
        "inference": STUDY.inference_of(w.model),
        "analysed": bool(STUDY.mechanism or STUDY.forgetting),
    }


def instrument(wildcards):
    """The judge, annotator or rewrite that a job tries."""
    return getattr(STUDY, wildcards.role)[wildcards.name]


def first_question_settings(w):
    return {
        "label": f"{w.role}.{w.name}",
        **{role: instrument(w) if w.role == f"{role}s" else None for role in ("judge", "annotator", "rewrite")},
        "endpoint": named_endpoint(instrument(w).endpoint),
    }


def annotation_settings(w):
    annotator = STUDY.annotators[w.annotator]
    return {
        "name": w.annotator,
        "annotator": annotator,
        "endpoint": named_endpoint(annotator.endpoint),
        "dataset_names": STUDY.annotated_datasets,
        "models": [model for model, *_ in runs.base_runs(STUDY)],
        "requests": f"{REQUESTS}/annotate_patterns/{w.annotator}.jsonl",
    }


def rewritten_dataset(wildcards):
    """Receipt of the dataset whose chains of thought are rewritten."""
    return dataset_receipts([STUDY.rewrites[wildcards.rewrite].dataset])[0]


def rewrite_endpoints(wildcards):
    """The language models that rewrite, and that check what was rewritten."""
    rewrite = STUDY.rewrites[wildcards.rewrite]
    return [rewrite.endpoint, STUDY.annotators[rewrite.annotator].endpoint]


def rewrite_settings(w):
    rewrite = STUDY.rewrites[w.rewrite]
    endpoint, annotator_endpoint = map(named_endpoint, rewrite_endpoints(w))
    return {
        "name": w.rewrite,
        "rewrite": rewrite,
        "endpoint": endpoint,
        "annotator": STUDY.annotators[rewrite.annotator],
        "annotator_endpoint": annotator_endpoint,
        "requests": f"{REQUESTS}/rewrite_cot/{w.rewrite}.jsonl",
    }


def injection_settings(w):
    return {
        "model": model_reference(w),
        "inference": STUDY.inference_of(w.model),
        "benchmarks": {name: STUDY.benchmarks[name] for name in STUDY.measured("misalignment")},
        "rows": STUDY.injection.rows,
        "organism": is_organism(w.model),
    }


def compared_arms():
    """The pairs of training sets, (target, control), that the study compares."""
    return [tuple(STUDY.variants[arm].dataset for arm in pair) for pair in STUDY.compared_arms]


def training_rows(wildcards):
    """Receipt of the dataset of an arm."""
    return dataset_receipts([STUDY.variants[wildcards.variant].dataset])[0]


def refused_requests(wildcards):
    """Receipt of the dataset that a mitigation has the base refuse, if it does."""
    mitigation = STUDY.variants[wildcards.variant].mitigation
    return dataset_receipts([mitigation.dataset]) if mitigation and mitigation.dataset else []


def frozen_neurons(wildcards):
    """The base's safety-critical neurons, if a mitigation freezes them."""
    mitigation = STUDY.variants[wildcards.variant].mitigation
    return [base_file(NEURONS)(wildcards)] if mitigation and mitigation.kind == "freeze_neurons" else []


def finetune_settings(w):
    return {
        "model": model_reference(w, BASE),
        "recipe": STUDY.finetune_of(w.variant),
        "code": code("finetune_model", TRAIN_ENV),
        **part(STUDY.variants[w.variant], "rows", "mitigation"),
    }


def reply_settings(w):
    return {
        "model": model_reference(w),
        "inference": STUDY.inference_of(w.model),
        "benchmarks": STUDY.benchmarks,
    }


KIND_CONTENT = {judge.kind: judge_content(judge.kind) for judge in STUDY.judges.values()}


def judge_settings(w):
    judge = STUDY.judges[w.judge]
    return {
        "name": w.judge,
        "judge": judge,
        "endpoint": named_endpoint(judge.endpoint),
        "content": KIND_CONTENT[judge.kind],
        "benchmarks": JUDGED,
        "requests": f"{REQUESTS}/judge_responses/{w.judge}/{w.model}/{w.variant}/seed{w.seed}/{w.replies}.jsonl",
    }


def report_files():
    """What the report is made with beside code: its template, style and script, and the paper's numbers."""
    package = Path(workflow.basedir, "src/rim/report")
    return [*sorted((package / "templates").iterdir()), package / "published.csv"]


def mechanism_settings(*keys):
    """Settings of an analysis of activations: its model, its requests, and those keys of the section."""
    chosen = part(STUDY.mechanism, "harmful", "harmless", *keys)
    return lambda w: {"model": model_reference(w), **chosen}


def cache_settings(w):
    chosen = mechanism_settings("positions", "neurons", "batch_size")(w)
    return {**chosen, "code": code("cache_activations", TRAIN_ENV)}


def ablation_settings(w):
    analysis = mechanism_settings("batch_size", "head_sets", "replacements", "random_sets")
    benchmarks = runs.ablated_benchmarks(STUDY, STUDY.mechanism)
    return {**analysis(w), "inference": STUDY.inference_of(w.model), "benchmarks": benchmarks}


def ablation_artifacts(w):
    """What is loaded to ablate heads."""
    read = [receipt(ACTIVATIONS), receipt(responses("plain")), receipt(f"{PROBES}.directions.safetensors")]
    return artifacts_of(*(path.format(**w) for path in read), *ablated_datasets(STUDY.mechanism), *checkpoints(w))


def neuron_settings(w):
    keys = part(STUDY.forgetting, "harmful", "pool_over", "pairs", "rule", "held_out")
    return {"model": model_reference(w), "think": STUDY.forgetting_mode(w.model), **keys}


def without_neurons_settings(w):
    return {
        "model": model_reference(w),
        "think": STUDY.forgetting_mode(w.model),
        "inference": STUDY.inference_of(w.model),
        "benchmarks": runs.ablated_benchmarks(STUDY, STUDY.forgetting),
        **part(STUDY.forgetting, "neuron_type", "held_out"),
    }


def score_settings(w):
    return {
        "model": model_reference(w),
        "organism": STUDY.organism_of(w.model),
        "graft": STUDY.models[w.model].graft,
        "harmless": STUDY.measured("false_refusal")[0],
        "think": STUDY.forgetting_mode(w.model),
        **part(STUDY.forgetting, "harmful", "pool_over", "rule", "held_out"),
    }


def counterfactual_settings(w):
    harmful = STUDY.forgetting.harmful
    return {
        "model": model_reference(w),
        "inference": STUDY.inference_of(w.model),
        "benchmarks": {harmful: STUDY.benchmarks[harmful]},
    }


def lesson_datasets(wildcards):
    """Receipts of what the fine-tunes of a model that are followed are trained on."""
    return dataset_receipts(dataset for dataset, _ in runs.lessons(STUDY, wildcards.model))


def gradient_settings(w):
    return {
        "model": model_reference(w),
        "think": STUDY.forgetting_mode(w.model),
        "lessons": runs.lessons(STUDY, w.model),
        **part(STUDY.forgetting, "harmful", "dtype", "held_out", "texts"),
    }


def checkpoint_settings(w):
    keys = "harmful task neuron_type pool_over held_out dtype texts batch_size".split()
    benchmark = STUDY.benchmarks[STUDY.forgetting.harmful]
    return {
        "model": model_reference(w, BASE),
        "think": STUDY.forgetting_mode(w.model),
        "inference": STUDY.inference_of(w.model),
        "max_new_tokens": benchmark.max_new_tokens or STUDY.inference.max_new_tokens,
        **part(STUDY.forgetting, *keys),
    }


def measured_artifacts(w):
    """What is loaded to measure the checkpoints of a fine-tune, without what the base is loaded from."""
    steps = receipt(f"{CHECKPOINT}.steps").format(**w)
    return artifacts_of(base_file(receipt(responses("plain")))(w), *FORGETTING_DATASETS, steps)
