"""Reasoning-induced misalignment: the whole study, from datasets to the report.

snakemake --cores 2                                                # the demo study
snakemake --cores 2 --configfile workflow/config/smoke.yaml        # the same DAG on crumbs
snakemake --cores 2 --configfile workflow/config/paper.yaml        # the paper's models
"""

from snakemake.utils import min_version

min_version("9.27")

if workflow.local_exec and workflow.scheduling_settings:
    # For a limit of jobs per second Snakemake looks at everything again a second after each look, and so ever more often.
    workflow.scheduling_settings.max_jobs_per_timespan = None

if not workflow.config_settings.configfiles:

    configfile: f"{workflow.basedir}/workflow/config/demo.yaml"


include: "rules/common.smk"
include: "rules/datasets.smk"
include: "rules/organisms.smk"
include: "rules/hub.smk"
include: "rules/patterns.smk"
include: "rules/finetune.smk"
include: "rules/infer.smk"
include: "rules/judge.smk"
include: "rules/report.smk"


if STUDY.mechanism:

    include: "rules/activations.smk"
    include: "rules/probe.smk"
    include: "rules/ablate.smk"


if STUDY.forgetting:

    include: "rules/neurons.smk"
    include: "rules/ras.smk"


if runs.scored_runs(STUDY):

    include: "rules/calibration.smk"


if "judge_claims" in table_catalogue.tables_of(STUDY):

    include: "rules/claims.smk"


include: "rules/preflight.smk"
include: "rules/hooks.smk"


rule all:
    input:
        final_targets(),


onsuccess:
    tell(run_summary())


onerror:
    tell("What is finished is kept; run the workflow again to go on")
    end_interrupted_run()
