"""Configuration checked before any job starts, wildcards constrained to it, and where every artifact lies."""

import json
import sys
from pathlib import Path

import yaml

from rim import config as settings
from rim import mechanism_tables
from rim.errors import UserError
from rim.files import sha256
from rim.provenance import fingerprint

try:
    STUDY = settings.load(config)
except UserError as error:
    sys.exit(f"{error}")

NAME = STUDY.study
DATASET = f"data/datasets/{NAME}/{{dataset}}.parquet"
CHECKPOINT = f"data/checkpoints/{NAME}/{{model}}/{{variant}}/seed{{seed}}"
ORGANISM = CHECKPOINT.replace("{variant}", settings.BASE)
RESPONSES = f"data/responses/{NAME}/{{model}}/{{variant}}/seed{{seed}}.parquet"
JUDGEMENTS = f"data/judgements/{NAME}/{{judge}}/{{model}}/{{variant}}/seed{{seed}}.parquet"
GRADES = f"data/grades/{NAME}/{{model}}/{{variant}}/seed{{seed}}.parquet"
ACTIVATIONS = f"data/activations/{NAME}/{{model}}/{{variant}}/seed{{seed}}"
PROBES = f"data/probes/{NAME}/{{model}}/{{variant}}/seed{{seed}}"
HEADS = f"data/heads/{NAME}/{{model}}/{{variant}}/seed{{seed}}.parquet"
EFFECTS = f"data/effects/{NAME}/{{model}}/{{variant}}/seed{{seed}}.parquet"
ABLATED = {
    kind: path.replace(".parquet", ".ablated.parquet")
    for kind, path in {"responses": RESPONSES, "judgements": JUDGEMENTS, "grades": GRADES}.items()
}
TIMING = f"data/timings/{NAME}"
LOG = f"logs/{NAME}"
RESULTS = f"results/{NAME}"
TABLES = expand(f"{RESULTS}/tables/{{name}}.csv", name=["rates", "think_effects", "finetune_effects", "pair_effects"])
FIGURES = expand(
    f"{RESULTS}/figures/{{name}}.svg",
    name=["think", *(["finetune"] if STUDY.variants else []), *(["pair"] if STUDY.pairs else [])],
)
MECHANISM_TABLES = expand(f"{RESULTS}/tables/{{name}}.csv", name=mechanism_tables.RESULTS) if STUDY.mechanism else []
MECHANISM_FIGURES = (
    expand(f"{RESULTS}/figures/{{name}}.svg", name=["probes", "probe_areas", "heads", "ablations"])
    if STUDY.mechanism
    else []
)
MAIN_JUDGE = next(iter(STUDY.judges))
CORE_ENV = "../envs/core.yaml"
TRAIN_ENV = "../envs/train.yaml"


def any_of(names):
    """A wildcard constraint that admits exactly these values."""
    return "|".join(map(str, names)) or "none"


wildcard_constraints:
    dataset=any_of(STUDY.datasets),
    model=any_of(STUDY.models),
    variant=any_of([settings.BASE, *STUDY.variants]),
    judge=any_of(STUDY.judges),
    seed=any_of(STUDY.seeds),


def as_json(value):
    """All settings of a job as one param: Snakemake compares params as an unordered set, so two could swap unseen."""
    return json.dumps(value, default=lambda model: model.model_dump())


def code(step, environment):
    """A param that changes when the step, anything it calls, or its environment changes, and not for a comment."""
    packages = yaml.safe_load(Path(workflow.basedir, "rules", environment).read_text())
    return f"{fingerprint(step)} {json.dumps(packages)}"


def is_organism(model):
    return STUDY.models[model].organism is not None


def runs():
    """Every (model, variant, seed) of the study."""
    return [
        (model, variant, seed)
        for model in STUDY.models
        for variant in [settings.BASE, *STUDY.variants_of(model)]
        for seed in STUDY.seeds_of(model, variant)
    ]


def base_location(wildcards):
    """Where the model before fine-tuning is loaded from."""
    if is_organism(wildcards.model):
        return CHECKPOINT.format(model=wildcards.model, variant=settings.BASE, seed=wildcards.seed)
    return STUDY.models[wildcards.model].hub


def loaded(wildcards, variant=None):
    """The checkpoints a job loads: its organism, and the fine-tuned variant on top; a hub model is no file of ours."""
    variants = [settings.BASE] if is_organism(wildcards.model) else []
    variants += [variant] if variant not in (None, settings.BASE) else []
    return [CHECKPOINT.format(**{**wildcards, "variant": name}) for name in variants]


def checkpoints(wildcards, variant=None):
    """Their folders; a folder's age says nothing about its content, so only its absence makes a job run."""
    return [ancient(folder) for folder in loaded(wildcards, variant)]


def receipts(wildcards, variant=None):
    """Their receipts, which do change with the content, and against which they are checked on loading."""
    return [f"{folder}.receipt.json" for folder in loaded(wildcards, variant)]


def benchmark_datasets(*measures):
    """The prepared datasets of the benchmarks with these measures, in order."""
    return [DATASET.format(dataset=STUDY.benchmarks[name].dataset) for name in STUDY.measured(*measures)]


def raw_files(wildcards):
    """Local files of a dataset; a missing one is reported by the step, with advice, rather than by the DAG."""
    paths = [Path(source.path) for source in STUDY.datasets[wildcards.dataset].sources if source.path]
    return [
        str(file)
        for path in paths
        if path.exists()
        for file in (sorted(path.glob("*.csv")) if path.is_dir() else [path])
    ]


def raw_content(wildcards):
    """Hashes of the local files, since no rule makes them."""
    return " ".join(sha256(Path(file)) for file in raw_files(wildcards))


def model_settings(wildcards, **more):
    """What a job must know about its model, and whatever else it needs."""
    model = STUDY.models[wildcards.model]
    common = {
        "label": f"{wildcards.model}/{wildcards.variant}/seed{wildcards.seed}",
        "base": base_location(wildcards),
        "revision": model.revision,
        "dtype": model.dtype,
        "think": model.think,
        "seed": int(wildcards.seed),
    }
    return as_json({**common, **more})


def mechanism_settings(wildcards, *keys, **more):
    """Settings of an analysis job: its model, and those keys of the analysis that it goes by."""
    chosen = {key: getattr(STUDY.mechanism, key) for key in ("harmful", "harmless", *keys)}
    return model_settings(wildcards, mechanism=chosen, **more)


def head_runs():
    """The runs whose attention can be compared between thinking on and off at an empty think span."""
    both = set(STUDY.inference.think) == {"on", "off"}
    return [run for run in runs() if both and STUDY.models[run[0]].think == "tags"]


def ablated_runs():
    """The runs on which heads are ablated."""
    return [run for run in head_runs() if run[1] in STUDY.mechanism.ablate]


def mechanism_datasets(wildcards):
    """The prepared datasets of harmful and harmless requests, in this order."""
    names = (STUDY.mechanism.harmful, STUDY.mechanism.harmless)
    return [DATASET.format(dataset=STUDY.benchmarks[name].dataset) for name in names]


def of_every_run(pattern, among=None):
    """The files of every run, or of some."""
    return [
        pattern.format(model=model, variant=variant, seed=seed, judge=MAIN_JUDGE)
        for model, variant, seed in (runs() if among is None else among)
    ]


def final_targets():
    """What `snakemake` makes when it is given no target."""
    return f"{RESULTS}/report.html"
