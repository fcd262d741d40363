"""The profile for SLURM, on a real SLURM of one node: a study with one job cancelled, one out of time and one preempted.

The study is the smoke study without its analyses, which are more jobs of the same kind. What is slow is a stand-in: a `rim`
that hangs the first time it is to do one certain job.
"""

import csv
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.workflow.cluster import Cluster, missing
from tests.workflow.conftest import BIN, configured, environment, snakemake

pytest.importorskip("snakemake_executor_plugin_slurm", reason="needs `pip install -e '.[slurm]'`")
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.xdist_group("slurm"),
    pytest.mark.skipif(missing() is not None, reason=f"needs SLURM and munge on this machine: no {missing()}"),
]
PROFILE = ROOT / "profiles/slurm"
HANGS = """\
#!/bin/sh
# A double of `rim`: hangs the first time it is called for {step}, and is the real one otherwise.
case "$*" in *{step}*) mkdir "{mark}" 2>/dev/null && sleep 600;; esac
exec {rim} "$@"
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder), cpus=3) as running:
        yield running


def submitted(cluster: Cluster, directory: Path, *options: str) -> subprocess.Popen[str]:
    """Start the workflow through the profile, with an eye on a cluster that keeps no accounts and answers at once."""
    line = [str(BIN / "snakemake"), "--snakefile", str(ROOT / "Snakefile"), "--directory", str(directory)]
    line += ["--profile", str(PROFILE), "--latency-wait", "20"]
    line += ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2", *options]
    path = f"{directory / 'bin'}:{cluster.folder / 'bin'}:{environment(ROOT)['PATH']}"
    variables = {**cluster.environment, **environment(ROOT), "PATH": path}
    return subprocess.Popen(
        line, cwd=directory, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def jobs(cluster: Cluster) -> list[dict[str, str]]:
    """Every job that SLURM knows, finished ones too."""
    keys = ("id", "state", "comment", "submitted", "started", "ended", "limit")
    text = cluster.run("squeue", "-h", "-t", "all", "-o", "%i|%T|%k|%V|%S|%e|%l")
    return [dict(zip(keys, line.split("|"), strict=True)) for line in text.splitlines()]


def wait_for(found: Callable[[], list[dict[str, str]]], running: subprocess.Popen[str], seconds: float = 300) -> str:
    """The id of the first job that is found; fails when the workflow ends before."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and running.poll() is None:
        if chosen := found():
            return chosen[0]["id"]
        time.sleep(0.3)
    running.kill()
    raise AssertionError(f"no such job within {seconds} s:\n{running.communicate()[0]}")


def of_rule(cluster: Cluster, rule: str, state: str = "RUNNING") -> Callable[[], list[dict[str, str]]]:
    return lambda: [job for job in jobs(cluster) if job["comment"].startswith(rule) and job["state"] == state]


def tables(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (directory / "results/smoke/tables").iterdir()}


def test_a_cancelled_a_timed_out_and_a_preempted_job_change_no_table(
    cluster: Cluster, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    plain = {"mechanism": None, "forgetting": None, "injection": None, "annotators": {}}
    third = {"dataset": "multi_hop_target", "epochs": 1}  # nothing to freeze without `forgetting`
    study = configured(tmp_path / "study.yaml", variants__gsm8k_target_frozen=third, **plain)
    there, here = tmp_path / "there", tmp_path / "here"
    (there / "bin").mkdir(parents=True)
    hung = HANGS.format(step="checkpoints/smoke/null/gsm8k_control/seed0", mark=there / "hung", rim=BIN / "rim")
    (there / "bin/rim").write_text(hung)
    (there / "bin/rim").chmod(0o755)

    # one minute is the least that SLURM counts; the second attempt gets three
    running = submitted(cluster, there, "--configfile", study, "--set-resources", "finetune_model:runtime=attempt*2-1")
    cancelled = wait_for(of_rule(cluster, "rule_train_organism"), running)
    cluster.run("scancel", cancelled)
    pushed = wait_for(of_rule(cluster, "rule_generate_replies"), running)
    cluster.run(
        "sbatch", "--parsable", "-p", "urgent", "-o", "/dev/null", "-n3", "-t1", "--mem", "100", "--wrap", "sleep 5"
    )
    wait_for(lambda: [job for job in jobs(cluster) if job["id"] == pushed and job["state"] != "RUNNING"], running)
    output = running.communicate(timeout=1500)[0]
    assert running.returncode == 0, output
    ended = {job["id"]: job for job in jobs(cluster)}
    assert ended[cancelled]["state"] == "CANCELLED"
    assert [job["limit"] for job in ended.values() if job["state"] == "TIMEOUT"] == ["1:00"]
    assert ended[pushed]["state"] == "COMPLETED"
    restarts = re.search(r"Restarts=(\d+)", cluster.run("scontrol", "show", "job", pushed))
    assert restarts is not None
    assert int(restarts[1]) == 1

    done = snakemake(here, "--configfile", study)
    assert done.returncode == 0, done.stdout + done.stderr
    assert tables(there) == tables(here)
    record_property("slurm", added(cluster, there))


def added(cluster: Cluster, directory: Path) -> dict[str, float]:
    """Median seconds that one job spends in the queue, and in SLURM and Snakemake around its step."""

    def at(text: str) -> float:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))

    spent = {}
    for file in (directory / "data/smoke/timings").rglob("*.tsv"):
        name = "_".join(file.relative_to(directory / "data/smoke/timings").with_suffix("").parts)
        spent[re.sub(r"seed(\d)", r"\1", name)] = float(next(csv.DictReader(file.open(), delimiter="\t"))["s"])
    waits, around = [], []
    for job in jobs(cluster):
        name = job["comment"].removeprefix("rule_").replace("_wildcards", "")
        if job["state"] == "COMPLETED" and name in spent:
            waits.append(at(job["started"]) - at(job["submitted"]))
            around.append(at(job["ended"]) - at(job["started"]) - spent[name])
    return {"jobs": len(waits), "queue": sorted(waits)[len(waits) // 2], "around": sorted(around)[len(around) // 2]}


def test_an_unknown_partition_is_sbatchs_own_words_once(cluster: Cluster, tmp_path: Path) -> None:
    partitions = tmp_path / "partitions.yaml"
    partitions.write_text("partitions:\n  nowhere: {max_runtime: 60}\n")
    study = configured(tmp_path / "study.yaml")
    running = submitted(cluster, tmp_path, "--configfile", study, "--slurm-partition-config", str(partitions))
    output = running.communicate(timeout=120)[0]
    assert running.returncode != 0
    assert output.count("sbatch: error: invalid partition specified: nowhere") == 1
    assert "Traceback" not in output
    assert not (tmp_path / "data/smoke/datasets").exists()
