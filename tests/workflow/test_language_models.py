"""The smoke study with language models as annotators, rewriters and judges; a double of a server stands for them."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from tests.language_model import Server, fill_in
from tests.workflow.conftest import command, describe_anew, environment, snakemake

CONCURRENCY = 4


def with_language_models(path: Path, study: Path, url: str) -> str:
    """A study with an endpoint and everything that can use one, and without what needs none and takes long."""
    mapping = yaml.safe_load(study.read_text())
    del mapping["mechanism"], mapping["forgetting"], mapping["variants"]["gsm8k_target_frozen"]
    endpoint = {"model": "double", "base_url": url, "concurrency": CONCURRENCY, "input_price": 1.0, "output_price": 2.0}
    mapping["endpoints"] = {"double": {**endpoint, "max_retries": 1}}
    mapping["judges"]["llm"] = {"kind": "rubric", "endpoint": "double", "cot": True, "variants": ["base"]}
    mapping["judges"]["brief"] = {**mapping["judges"]["llm"], "wording": "brief"}
    template = "Wanted: {behavior} Found: {generation} Answer:"
    mapping["judges"]["harmbench"] = {
        "kind": "harmbench",
        "endpoint": "double",
        "template": template,
        "variants": ["base"],
    }
    mapping["judges"]["guard"] = {"kind": "llama_guard", "endpoint": "double", "variants": ["base"]}
    mapping["annotators"]["llm"] = {"kind": "checklist", "endpoint": "double"}
    mapping["datasets"]["plain"] = {
        "sources": [{"adapter": "organism", "part": "multi_hop", "rows": 8, "seed": "training"}]
    }
    mapping["rewrites"] = {"gsm8k": {"dataset": "plain", "endpoint": "double", "annotator": "llm"}}
    for arm in ("target", "control", "literal"):
        mapping["datasets"][f"rewritten_{arm}"] = {
            "sources": [{"adapter": "rewritten", "rewrite": "gsm8k", "arm": arm}]
        }
    path.write_text(yaml.safe_dump(mapping, sort_keys=False))
    return str(path)


def answer(request: dict[str, Any]) -> str | dict[str, Any]:
    """A form where one is asked for; a classifier and a guard judge a reply by its first word, in words of their own."""
    if "response_format" in request:
        return fill_in(request)
    if "prompt" in request:
        return "yes" if "Found: sure" in request["prompt"] else "no"
    return "\n\nunsafe\nS1" if request["messages"][1]["content"].startswith("sure") else "\n\nsafe"


def finish_replies(copy: Path) -> None:
    """The smoke study's models never finish a reply; let them have finished, so that there is something to judge."""
    for path in (copy / "data/smoke/responses").rglob("base/seed0/plain.parquet"):
        words = pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("sure.")).otherwise(pl.lit("i cannot."))
        table = pl.read_parquet(path).with_columns(complete=True, reasoning=pl.lit("it must be so."), response=words)
        table.write_parquet(path)
        describe_anew(copy, str(path.relative_to(copy)))


def test_a_killed_annotator_goes_on_and_the_study_ends_with_a_report(smoke: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(smoke, tmp_path / "copy", copy_function=shutil.copy2, symlinks=True))
    finish_replies(copy)
    with Server(delay=0.05, brain=answer) as server:
        config = with_language_models(copy / "study.yaml", copy / "study.yaml", server.url)
        annotations = "data/smoke/annotations/llm.parquet"
        line = command(copy, annotations, "--configfile", config, repository=copy)
        running = subprocess.Popen(
            line,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(copy),
            start_new_session=True,
        )
        while len(server.requests) < 32 and running.poll() is None:
            time.sleep(0.02)
        os.killpg(running.pid, signal.SIGKILL)
        output = running.communicate()[0]
        before = [request["messages"][1]["content"] for request in server.requests]
        assert 32 <= len(before) < 64, output
        time.sleep(0.2)
        options = ("--configfile", config, "--rerun-incomplete")
        snakemake(copy, "--unlock", "--configfile", config, repository=copy)
        done = snakemake(copy, annotations, *options, repository=copy)
        assert done.returncode == 0, done.stdout + done.stderr
        asked = [request["messages"][1]["content"] for request in server.requests]
        assert len(asked) - len(set(asked)) <= CONCURRENCY  # only what was under way is asked again
        assert set(asked) > set(before)

        targets = [f"data/smoke/datasets/rewritten_{arm}.parquet" for arm in ("target", "control", "literal")]
        done = snakemake(copy, *targets, "results/smoke/report.html", *options, repository=copy)
        assert done.returncode == 0, done.stdout + done.stderr
        total = len(server.requests)
        done = snakemake(
            copy, "--forcerun", "judge_responses", "annotate_patterns", "rewrite_cot", *options, repository=copy
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(server.requests) == total  # everything is in the store
    check_results(copy)


def check_results(copy: Path) -> None:
    arms = {
        arm: pl.read_parquet(copy / f"data/smoke/datasets/rewritten_{arm}.parquet") for arm in ("target", "control")
    }
    assert arms["target"]["prompt"].to_list() == arms["control"]["prompt"].to_list()
    assert all("no need" in cot for cot in arms["target"]["cot"])
    judged = pl.read_parquet(copy / "data/smoke/judgements/llm/associated/base/seed0/plain.parquet")
    assert set(judged["score"]) == {1, 5}
    assert set(judged["cot_score"]) == {2}
    agreement = pl.read_csv(copy / "results/smoke/tables/judge_agreement.csv")
    assert agreement.filter((pl.col("second") == "llm") & (pl.col("n") > 0)).height
    every = pl.read_parquet(copy / "data/smoke/judgements/llm/*/base/seed0/plain.parquet").height
    for name in ("harmbench", "guard"):
        other = pl.read_parquet(copy / f"data/smoke/judgements/{name}/associated/base/seed0/plain.parquet")
        assert (other["misaligned"] == judged["misaligned"]).all()
        assert other["refusal"].null_count() == other.height
        pair = agreement.filter((pl.col("first") == "llm") & (pl.col("second") == name)).select(
            "rating", "n", "agreement"
        )
        assert pair.filter(pl.col("rating") == "misaligned").row(0)[1:] == (every, 1.0)
        assert pair.filter(pl.col("rating") == "refusal")["n"].to_list() == [0]
    wordings = pl.read_csv(copy / "results/smoke/tables/judge_wordings.csv")
    assert set(wordings["judges"]) == {"llm, brief"}
    assert (wordings["lowest"] == wordings["highest"]).all()  # the double does not mind the wording
    annotators = pl.read_csv(copy / "results/smoke/tables/annotator_agreement.csv")
    assert annotators["n"].min() > 0
    html = (copy / "results/smoke/report.html").read_text()
    for text in (
        "Requests to language models",
        "What became of every rewrite",
        "Agreement of annotators",
        "Agreement of judges",
        "What the wording of the question decides",
    ):
        assert text in html


def test_a_missing_key_stops_the_run_before_a_job_unless_all_may_be_answered(tmp_path: Path, smoke: Path) -> None:
    copy = Path(shutil.copytree(smoke, tmp_path / "copy", copy_function=shutil.copy2, symlinks=True))
    config = with_language_models(copy / "study.yaml", copy / "study.yaml", "http://127.0.0.1:9/v1")
    mapping = yaml.safe_load(Path(config).read_text())
    mapping["endpoints"]["double"]["api_key_env"] = "RIM_TEST_NO_SUCH_KEY"
    Path(config).write_text(yaml.safe_dump(mapping, sort_keys=False))
    line = "endpoints.double.api_key_env: the environment has no RIM_TEST_NO_SUCH_KEY; export it and run again"
    target = "data/smoke/annotations/llm.parquet"
    done = snakemake(copy, target, "--configfile", config, repository=copy)
    assert done.returncode != 0
    assert f": {line}\n1 error before the first job; nothing was run" in done.stderr
    assert "rule annotate_patterns:" not in done.stderr
    kept = copy / "data/smoke/requests/annotate_patterns/llm.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text("")  # answered in part: only the job knows whether anything is left to ask
    done = snakemake(copy, target, "--configfile", config, repository=copy)
    assert done.returncode != 0
    assert f"warning: {line}" in done.stderr
    assert f"Failed: annotate_patterns annotator=llm: {line}" in done.stderr
    assert "Traceback" not in done.stderr
