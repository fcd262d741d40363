"""Configuration checked before any job starts, wildcards constrained to it, and what all rules have in common."""

import json
import sys
import time
from pathlib import Path

import yaml

from rim.config import runs
from rim.config.lines import ConfigFiles
from rim.config.load import load_study, read_yaml
from rim.core.errors import UserError
from rim.core.hashes import sha256
from rim.core.receipts import SUFFIX
from rim.instruments.judges import content as judge_content
from rim.models import hub
from rim.settings.common import BASE, part
from rim.settings.jobs import ModelReference, NamedEndpoint
from rim.workflow import cluster, costs, plan
from rim.workflow.fingerprint import fingerprints
from rim.workflow.jobs import job_file, told_files
from rim.workflow.lineage import format_run_summary, trace
from rim.workflow.records import keep_records_in_data, records_of

try:
    for file in workflow.configfiles:
        read_yaml(Path(file))  # Snakemake has read it too, but would take the last of two equal keys
    CONFIG_FILES = ConfigFiles(workflow.configfiles, workflow.config_settings.config)
    STUDY = load_study(config, CONFIG_FILES)
    keep_records_in_data(Path.cwd(), STUDY.study, workflow.workflow_settings.persistence_backend)
except UserError as error:
    sys.exit(f"{error}")


include: "paths.smk"


CORE_ENV = "../envs/core.yaml"
TRAIN_ENV = "../envs/train.yaml"
INFER_ENV = "../envs/vllm.yaml" if STUDY.uses_vllm else TRAIN_ENV
ASK_ENV = TRAIN_ENV if any(each.kind == "transformers" for each in STUDY.endpoints.values()) else CORE_ENV


def any_of(names):
    """A wildcard constraint that admits exactly these values."""
    return "|".join(map(str, names)) or "none"


wildcard_constraints:
    dataset=any_of(STUDY.datasets),
    model=any_of(STUDY.models),
    variant=any_of([BASE, *STUDY.variants]),
    replies=any_of(REPLIES),
    annotator=any_of(STUDY.annotators),
    rewrite=any_of(STUDY.rewrites),
    judge=any_of(STUDY.judges),
    seed=any_of(STUDY.seeds),


def step(name):
    """The command of a step: all else that it is told stands in its job's file, and all that it says in its log."""
    return logged(f"rim {name} {{params.job}}")


def model_step(name):
    """The command of a step that may load a model."""
    return logged(f"rim {name} {{params.job}} --threads {{threads}} --gpus {{resources.gpu}}")


def logged(command):
    """A command with its lines, and what libraries print, in the log of its job, where the screen reads how far it is."""
    return f"{command} --log {{log}} >> {{log}} 2>&1"


def code(step, environment):
    """A param that changes when the step, anything it calls, or its environment changes, and not for a comment."""
    packages = yaml.safe_load(Path(workflow.basedir, "rules", environment).read_text())
    return f"{fingerprints()[step]} {json.dumps(packages)}"


def job(step, settings):
    """A param that names the file with all that the step is told: settings, inputs and outputs.

    Snakemake runs nothing again for a param whose function has a parameter called input or output, so these two are taken
    from its keywords.
    """
    names = {}  # by outputs, since Snakemake asks for all that is ready each time a job ends

    def path(wildcards, **files):
        made = tuple(files["output"])
        if made not in names:
            told = settings(wildcards) if callable(settings) else settings
            names[made] = job_file(step, {**told, **told_files(files["input"], files["output"])})
        return names[made]

    return path


include: "inputs.smk"
include: "resources.smk"
include: "jobs.smk"


BEGUN = time.time()


def run_summary():
    """The line at the end of a run."""
    targets = final_targets()
    ran = sum(not job.rule.norun for job in workflow.dag.finished_jobs)
    return format_run_summary(trace(Path(RECORDS), targets), ran, BEGUN, time.time() - BEGUN, targets[0])
