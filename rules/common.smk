"""Configuration checked before any job starts, and wildcards constrained to it."""

import json
import os
import sys
import time
from pathlib import Path

import yaml

from rim.config.load import load_study, read_yaml
from rim.settings.common import BASE, INJECTED
from rim.core.errors import UserError
from rim.core.files import sha256
from rim.core.receipts import SUFFIX
from rim.models import hub
from rim.workflow import cluster, costs, plan
from rim.workflow.fingerprint import fingerprint
from rim.workflow.lineage import format_run_summary, trace
from rim.workflow.records import keep_records_in_data

try:
    for file in workflow.config_settings.configfiles or []:
        read_yaml(Path(file))  # Snakemake has read it too, but would take the last of two equal keys
    STUDY = load_study(config)
    keep_records_in_data(Path.cwd())
except UserError as error:
    sys.exit(f"{error}")


include: "paths.smk"


CORE_ENV = "../envs/core.yaml"
TRAIN_ENV = "../envs/train.yaml"
INFER_ENV = "../envs/vllm.yaml" if STUDY.uses_vllm else TRAIN_ENV
ASK_ENV = TRAIN_ENV if any(each.kind == "transformers" for each in STUDY.endpoints.values()) else CORE_ENV
CLASSIFIER = sha256(Path(workflow.basedir, "src/rim/instruments/refusal.safetensors"))


def any_of(names):
    """A wildcard constraint that admits exactly these values."""
    return "|".join(map(str, names)) or "none"


wildcard_constraints:
    dataset=any_of(STUDY.datasets),
    model=any_of(STUDY.models),
    variant=any_of([BASE, INJECTED, *STUDY.variants]),
    annotator=any_of(STUDY.annotators),
    rewrite=any_of(STUDY.rewrites),
    judge=any_of(STUDY.judges),
    seed=any_of(STUDY.seeds),


def as_json(value):
    """All settings of a job as one param: Snakemake compares params as an unordered set, so two could swap unseen."""
    return json.dumps(value, default=lambda model: model.model_dump())


def code(step, environment):
    """A param that changes when the step, anything it calls, or its environment changes, and not for a comment."""
    packages = yaml.safe_load(Path(workflow.basedir, "rules", environment).read_text())
    return f"{fingerprint(step)} {json.dumps(packages)}"


include: "inputs.smk"
include: "analyses.smk"
include: "resources.smk"


BEGUN = time.time()


def run_summary():
    """The line at the end of a run."""
    made = final_targets()
    return format_run_summary(trace(Path("data/provenance"), made), BEGUN, time.time() - BEGUN, made[0])
