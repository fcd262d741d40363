"""What is wrong with the study, or may be, before the first job: told on every dry run and at every start; see `rim check`."""

from rim.preflight import findings, study
from rim.workflow import owners


def planned():
    """Which jobs are to run, by their rule and the name of their log."""
    files = {str(job.benchmark) for job in workflow.dag.needrun_jobs()}
    return lambda rule, job: timings(rule, job) in files


def runs_on_cluster():
    """Whether jobs run on other machines; a dry run takes it from a default for their time, which only a cluster wants."""
    asked = workflow.resource_settings.default_resources
    return workflow.non_local_exec or bool(asked and asked.get("runtime"))


def cluster_findings():
    """Partitions and account that the cluster does not know."""
    profile = getattr(workflow.executor_settings, "partition_config", None)
    account = (workflow.resource_settings.default_resources or {}).get("slurm_account")
    try:
        if profile:
            cluster.check(profile, account and account.raw)
    except UserError as problem:
        yield findings.error(str(profile), str(problem).removeprefix(f"{profile}: "))


def preflight_lines():
    """Everything that is found, a line each."""
    return [findings.told(each, CONFIG_FILES) for each in preflight_findings()]


def preflight_findings():
    """Everything that is found, errors first."""
    found = study.findings(STUDY, planned(), runs_on_cluster(), workflow.configfiles)
    return findings.in_order([*found, *cluster_findings()])


def preflight_checks():
    """Tell everything that is found; an error stops the run before its first job."""
    found = preflight_findings()
    for each in found:
        tell(findings.told(each, CONFIG_FILES))
    if errors := sum(each.level == "error" for each in found):
        sys.exit(f"{errors} error{'s' * (errors > 1)} before the first job; nothing was run")
    owners.own(NAME, workflow.configfiles)
