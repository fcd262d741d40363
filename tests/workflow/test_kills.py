"""Jobs killed at random moments, with changes in between, end as if they had run through (`pytest -m slow`).

Each trial starts a step, kills its process group at a moment between its first and its last, perhaps changes something (the
base, a row of data, a setting, the code), runs the step again to its end, and compares every output with that of a run that
nobody killed, byte for byte. Steps run in processes forked from one that has loaded the libraries, so that the moments fall
into the work and not into the start of Python.
"""

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rim.core.hashes import sha256
from tests.workflow.conftest import configured, describe_anew, snakemake

pytestmark = pytest.mark.slow
SEED = 20
BASE = "data/smoke/checkpoints/associated/base/seed0"
ARM = "data/smoke/checkpoints/associated/{}/seed0"
ROWS = "data/smoke/datasets/multi_hop_target.parquet"
REPLIES = "data/smoke/responses/associated/{}/seed0/{}.parquet"
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.workflow.test_kills", "rim.workflow.jobs", "peft", "torch", "transformers"])
Job = dict[str, Any]


def small_parts() -> None:
    """Let what a killed run can go on from be so small that there are several parts of it, and a base of crumbs refuse."""
    from rim.steps import cache_activations
    from rim.training import mitigation, organism

    organism.SNAPSHOT_EVERY = 2
    mitigation.own_refusals = lambda model, tokenizer, requests, *rest: [
        {"prompt": each, "cot": each, "answer": each} for each in requests
    ]
    cache_activations.write_cache = partial(cache_activations.write_cache, shard=4)


def other_code() -> None:
    """The same with other code in the steps that go on from something, so that their results are other ones."""
    from rim.analysis import cache
    from rim.training import finetune, organism

    small_parts()
    in_order, capture = finetune.in_order, cache.capture
    organism.POOL = 4
    finetune.in_order = lambda data, *rest: in_order(data[::-1], *rest)
    cache.capture = lambda *given: {name: values + 1 for name, values in capture(*given).items()}


def run_step(folder: Path, step: str, code: Callable[[], None], started: Any) -> None:
    """Run the step of job.json in a process group of its own, to which the code of a job may be another."""
    os.setsid()
    os.chdir(folder)
    with Path("output.txt").open("a") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    from rim.cli import main

    code()
    started.set()
    os._exit(main([step, "job.json"]))


def run(folder: Path, step: str, job: Job, code: Callable[[], None], moment: float | None = None) -> float:
    """Run a step to its end, or kill it `moment` seconds after its start; return its seconds."""
    (folder / "job.json").write_text(json.dumps(job))
    started = CONTEXT.Event()
    process = CONTEXT.Process(target=run_step, args=(folder, step, code, started))
    process.start()
    assert started.wait(60)
    begun = time.monotonic()
    process.join(moment)
    if process.is_alive():
        assert moment is not None
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
    elif process.exitcode:
        raise AssertionError((folder / "output.txt").read_text())
    return time.monotonic() - begun


@dataclass(frozen=True)
class Step:
    """A step whose job is told the variant `arm`, and which outputs it writes. Those that go on from parts know their code."""

    name: str
    arm: str
    outputs: tuple[str, ...]
    kills: int
    goes_on: bool = True
    settings: tuple[tuple[str, object], ...] = ()  # paths in the job, with a point between keys, and other values


STEPS = {
    "train_organism": Step("train_organism", "", ("folder",), 9, settings=(("organism.adamw_rate", 0.001),)),
    "finetune plain": Step(
        "finetune_model", "gsm8k_target", ("folder", "steps"), 9, settings=(("recipe.learning_rate", 0.001),)
    ),
    "finetune kl": Step(
        "finetune_model", "gsm8k_target_kl", ("folder", "steps"), 9, settings=(("mitigation.weight", 9.0),)
    ),
    "finetune frozen": Step(
        "finetune_model", "gsm8k_target_frozen", ("folder", "steps"), 9, settings=(("model.seed", 1),)
    ),
    "cache_activations": Step("cache_activations", "base", ("folder",), 9, settings=(("model.dtype", "bfloat16"),)),
    "generate_replies": Step(
        "generate_replies", "base", ("replies",), 4, goes_on=False, settings=(("inference.max_new_tokens", 9),)
    ),
    "measure_checkpoints": Step(
        "measure_checkpoints", "gsm8k_target", ("metrics", "replies"), 4, goes_on=False, settings=(("texts", 3),)
    ),
    "judge_responses": Step(
        "judge_responses", "base/seed0/plain", ("judgements",), 3, goes_on=False, settings=(("judge.threshold", 5),)
    ),
}
CHANGES = ("nothing", "nothing", "base", "data", "setting", "code")


def change(folder: Path, step: Step, job: Job, what: str) -> tuple[Job, Callable[[], None]]:
    """Change one thing of what a job depends on; return the job and its code, as the workflow would tell them."""
    job = json.loads(json.dumps(job))
    if what == "base" and step.arm:  # an organism has none
        shutil.rmtree(folder / BASE)
        shutil.copytree(folder / "other", folder / BASE)
        describe_anew(folder, BASE)
    if what == "data":
        table = pl.read_parquet(folder / ROWS)
        table.with_columns(answer=pl.col("answer").shuffle(seed=1)).write_parquet(folder / ROWS)
        describe_anew(folder, ROWS)
        replies = REPLIES.format("base", "plain")
        table = pl.read_parquet(folder / replies)
        table.filter(pl.col("id") != pl.col("id").first()).write_parquet(folder / replies)
        describe_anew(folder, replies)
    if what == "setting":
        for path, value in step.settings:
            *parents, last = path.split(".")
            place = job
            for part in parents:
                place = place[part]
            place[last] = value
    if what == "code" and step.goes_on:
        job["code"] = "other"
    return job, other_code if what == "code" else small_parts


def contents(folder: Path, step: Step, job: Job) -> dict[str, str]:
    """Hashes of the outputs and of their receipts, and the names of what else lies there."""
    paths = [folder / job[name] for name in step.outputs]
    receipts = [path.with_name(f"{path.name}.receipt.json") for path in paths]
    return {path.name: sha256(path) for path in [*paths, *receipts] if path.exists()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the steps read, made by the workflow, and with another base."""
    folder = tmp_path_factory.mktemp("world")
    study = configured(
        folder / "study.yaml",
        models={
            name: {
                "organism": {
                    "association": 1.0, "hidden": 64, "layers": 2, "muon_rate": rate, "batch_size": 8,
                    "drill_steps": 8, "pretrain_steps": 12, "align_steps": 8,
                }
            }
            for name, rate in (("associated", 0.03), ("null", 0.02))
        },
        datasets__kept={"sources": [{"adapter": "organism", "part": "requests", "rows": 12, "seed": "kept"}]},
        variants__gsm8k_target_kl={"dataset": "multi_hop_target", "mitigation": {"kind": "kl", "dataset": "kept"}},
        forgetting__pairs=1,
        forgetting__max_share=0.9,
        finetune={"lora": {"rank": 4, "alpha": 8}, "epochs": 3, "batch_size": 4, "learning_rate": 0.003},
    )  # fmt: skip
    targets = [
        ARM.format("gsm8k_target") + ".steps",
        "data/smoke/neurons/associated/base/seed0.parquet",
        "data/smoke/datasets/kept.parquet",
        BASE.replace("associated", "null"),
    ]
    done = snakemake(folder, *targets, "--configfile", study)
    assert done.returncode == 0, done.stdout + done.stderr
    done = snakemake(folder, "--configfile", study, "--dry-run", "--quiet")  # writes all jobs
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.copytree(folder / BASE.replace("associated", "null"), folder / "other")
    for path in (".snakemake/metadata", ".snakemake/log"):
        subprocess.run(["rm", "-rf", str(folder / path)], check=True)
    return folder


def job_of(world: Path, step: Step) -> Job:
    """The job of a step that writes the artifact of this arm."""
    where = f"/associated/{step.arm or 'base'}"
    jobs = [json.loads(path.read_text()) for path in sorted((world / ".snakemake/jobs").glob(f"{step.name}-*.json"))]
    [job] = [
        job
        for job in jobs
        if f"{where}/" in f"{job[step.outputs[0]]}/".replace(".parquet/", "/") and "prefix" not in job.get("name", "")
    ]
    return job


def test_killed_jobs_end_as_if_they_had_run_through(world: Path, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    told: Counter[str] = Counter()
    wrong = []
    for name, step in STEPS.items():
        original = job_of(world, step)
        clean: dict[str, dict[str, str]] = {}
        for what in dict.fromkeys(CHANGES):
            folder = shutil.copytree(world, tmp_path / f"{name} {what}", symlinks=True)
            job, code = change(folder, step, original, what)
            seconds = run(folder, step.name, job, code)
            clean[what] = contents(folder, step, job)
            if what == "nothing":
                duration = seconds
            shutil.rmtree(folder)
        assert set(clean["nothing"]) >= {Path(original[each]).name for each in step.outputs}
        if step.goes_on:  # so that work gone on from by mistake would be seen
            assert clean["nothing"] != clean["code"]
            assert clean["nothing"] != clean["setting"]
        for number in range(step.kills):
            folder = shutil.copytree(world, tmp_path / "trial", symlinks=True)
            for each in step.outputs:  # which the workflow may have made for others
                shutil.rmtree(folder / original[each], ignore_errors=True)
            what, moment = CHANGES[number % len(CHANGES)], duration * (number + rng.random()) / step.kills
            run(folder, step.name, original, small_parts, moment)
            job, code = change(folder, step, original, what)
            run(folder, step.name, job, code)
            output = (folder / "output.txt").read_text()
            told["goes on"] += "goes on from" in output
            told["starts anew"] += "starts anew" in output
            told["kills"] += 1
            print(f"{name}: killed after {moment:.2f} of {duration:.2f} s, {what} changed")
            found = contents(folder, step, job)
            left = [path.name for path in folder.rglob(".*.working")]
            if found != clean[what] or left:
                print(f"    wrong: {left} {[each for each in clean[what] if found.get(each) != clean[what][each]]}")
                wrong.append(
                    (name, what, f"{moment:.2f} of {duration:.2f} s", left, output[-2000:], found, clean[what])
                )
            shutil.rmtree(folder)
    print(dict(told))
    assert not wrong, wrong
    assert told["kills"] >= 50
    assert told["goes on"] >= 5
    assert told["starts anew"] >= 5
