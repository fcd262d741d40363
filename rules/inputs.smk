"""What jobs are given: receipts of the artifacts that they load, and the parts of their settings that several share."""


def receipt(artifact):
    """A heavy artifact is handed on by its receipt, which changes when the content does; the step checks and loads it."""
    return f"{artifact}{SUFFIX}"


def artifacts_of(*receipts):
    """The artifacts themselves. Their age says nothing about their content, so only their absence makes a job run."""
    return [ancient(path.removesuffix(SUFFIX)) for path in receipts]


def per_run(pattern, among):
    """The file of every run."""
    return [pattern.format(model=model, variant=variant, seed=seed, judge=MAIN_JUDGE) for model, variant, seed in among]


def per_base_run(pattern):
    """The file of every model before fine-tuning."""
    return per_run(pattern, runs.base_runs(STUDY))


def base_file(pattern):
    """The file of the model before fine-tuning that a job's model began from."""
    return lambda w: per_run(pattern, [runs.base_run(STUDY, (w.model, BASE, int(w.seed)))])[0]


def dataset_receipts(names):
    """Receipts of datasets, in order."""
    return [receipt(DATASET.format(dataset=name)) for name in names]


def benchmark_datasets(*measures):
    """Receipts of the datasets of the benchmarks with these measures, in order."""
    return benchmark_receipts(STUDY.measured(*measures))


def benchmark_receipts(benchmarks):
    """Receipts of the datasets of some benchmarks, in order."""
    return dataset_receipts([STUDY.benchmarks[name].dataset for name in benchmarks])


def ablated_datasets(section):
    """Receipts of the datasets of the benchmarks that are asked where a section ablates heads or neurons."""
    return benchmark_receipts(runs.ablated_benchmarks(STUDY, section))


def is_organism(model):
    return STUDY.models[model].trained_here


def checkpoints(wildcards, variant=None):
    """Receipts of what a job loads: its organism or the manifest of its download, and the fine-tuned variant on top."""
    variant = variant or wildcards.get("variant", BASE)
    base = ORGANISM if is_organism(wildcards.model) else FETCHED
    loaded = [base.format(**wildcards)]
    loaded += [CHECKPOINT.format(**{**wildcards, "variant": variant})] if variant != BASE else []
    return [receipt(path) for path in loaded]


def base_checkpoints(wildcards):
    """The same of the model before fine-tuning."""
    return checkpoints(wildcards, BASE)


def after_trial(output):
    """The trial of a job's model, for a job whose output is not there yet; an organism needs none.

    Once made, the output depends on the trial no more, so that a finished study lacks nothing without it.
    """

    def trial(w):
        runs_tried = [] if Path(output.format(**w)).exists() else runs.tried_runs(STUDY)
        return per_run(TRIAL_OF_MODEL, [run for run in runs_tried if run[0] == w.model])

    return trial


def after_first_question(output, settings, instruments):
    """The first answers to the instruments of a job, for one whose output is not there yet and which has asked nothing.

    Args:
        settings: wildcards -> what the job is told.
        instruments: wildcards -> pairs of "judges", "annotators" or "rewrites" and a name.
    """

    def trial(w):
        if Path(output.format(**w)).exists() or Path(settings(w)["requests"]).exists():
            return []
        asking = [(role, name) for role, name in instruments(w) if getattr(STUDY, role)[name].endpoint]
        return [TRIAL_OF_INSTRUMENT.format(role=role, name=name) for role, name in asking]

    return trial


def model_reference(wildcards, variant=None):
    """The model that a job works on; with `variant` another one than its wildcards say."""
    model = STUDY.models[wildcards.model]
    return ModelReference(
        label=f"{wildcards.model}/{wildcards.get('variant', BASE)}/seed{wildcards.seed}",
        base=ORGANISM.format(**wildcards) if is_organism(wildcards.model) else model.hub,
        revision=model.revision,
        dtype=model.dtype,
        think_switch=model.think_switch,
        prompt=model.prompt,
        seed=int(wildcards.seed),
        checkpoints=[Path(path) for path in checkpoints(wildcards, variant)],
    )


def named_endpoint(name):
    """The language model that a job asks, if it asks one."""
    return NamedEndpoint(name=name, endpoint=STUDY.endpoints[name]) if name else None


def asks_locally(*endpoints):
    """1 for a job that runs one of these language models itself."""
    return int(any(each is not None and STUDY.endpoints[each].kind == "transformers" for each in endpoints))


SUMMARIZED = STUDY.model_copy(update={"title": ""})  # for the tables of results; the report alone shows the title


def final_targets():
    """What `snakemake` makes when it is given no target.

    The results come with git; the outcomes are under data/ and say whether these were made from what lies here. A table or
    figure that was deleted, because it was edited, is made again though the report needs it no more.
    """
    return [f"{RESULTS}/report.html", OUTCOMES, *ALL_TABLES, *FIGURES]
