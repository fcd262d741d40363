"""A job is what determines its result: whatever else changes around a finished study, nothing is planned.

Random combinations of facts of the environment, each tried with a dry run: in another folder, at another time, by another
user, with other resources, and with every setting that only costs set to something else. That these settings change no
result is tried by running steps with other values of them and comparing all that they write, byte for byte.
"""

import importlib.util
import json
import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from pydantic import BaseModel

from rim.config.load import load_study_file
from rim.config.reference import PARTS
from rim.core.hashes import sha256
from rim.core.receipts import SUFFIX, write_receipt
from rim.settings.common import COST, Settings
from rim.settings.instruments import Endpoint
from rim.settings.models import Model
from rim.steps import judge_responses
from rim.workflow.jobs import FOLDER, job_file, read_job
from tests.conftest import ROOT
from tests.language_model import Server
from tests.workflow.conftest import command, environment, jobs, run

SEED = 16
COMBINATIONS = 12
RULES = ("generate_replies", "train_organism", "summarize_replies", "judge_responses")
IN_ORDER = ("datasets", "models", "variants", "benchmarks", "judges", "annotators")  # whose names are read in order

COSTS: dict[str, object] = {  # every setting that only costs, with another value
    "Study.threads": 2,
    "Study.hardware": {"gpu_memory": 24.0},
    "Model.parameters": 70.0,
    "Model.active": 3.0,
    "Finetune.gradient_checkpointing": True,
    "Endpoint.api_key_env": "OTHER_KEY",
    "Endpoint.concurrency": 1,
    "Endpoint.requests_per_minute": 6000.0,
    "Endpoint.timeout": 7.0,
    "Endpoint.max_retries": 1,
    "Endpoint.input_price": 1.0,
    "Endpoint.output_price": 2.0,
    "Mechanism.batch_size": 3,
    "Forgetting.batch_size": 1,
}

# Of each that a step is told: the step, where its job says it, and what the step writes. The others size jobs and their bill,
# but for `threads`, on which results depend as on the processor, up to rounding, as its description says.
TOLD = {
    "Finetune.gradient_checkpointing": [("finetune_model", "recipe.gradient_checkpointing", ("folder", "steps"))],
    "Mechanism.batch_size": [
        ("cache_activations", "batch_size", ("folder",)),
        ("ablate_heads", "batch_size", ("replies", "scores", "sets")),
    ],
    "Forgetting.batch_size": [
        ("find_safety_neurons", "rule.batch_size", ("neurons", "curve")),
        ("measure_checkpoints", "batch_size", ("metrics", "replies")),
    ],
}


def parts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Settings]]:
    """Every settings object in a value, with where it stands."""
    if isinstance(value, Settings):
        yield path, value
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from parts(each, (*path, key))


def place(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[int(key) if isinstance(document, list) else key]
    return document


def test_every_setting_that_only_costs_is_tried() -> None:
    marked = {
        f"{part.__name__}.{name}" for part in PARTS for name, each in part.model_fields.items() if COST in each.metadata
    }
    assert marked == set(COSTS)
    assert {each.split(".")[0] for each in marked - set(TOLD)} == {"Study", "Model", "Endpoint"}


@dataclass
class Run:
    """A dry run around a copy of the finished study."""

    copy: Path
    rng: random.Random
    options: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    mask: int = -1
    configuration: Path | None = None

    @property
    def study(self) -> Path:
        return self.configuration or self.copy / "study.yaml"


def temporary_folder(run: Run) -> None:
    folder = run.copy.parent / f"temporary{run.rng.random()}"
    folder.mkdir()
    run.variables["TMPDIR"] = str(folder)


def cores(run: Run) -> None:
    run.options += ["--cores", str(run.rng.randint(1, 64))]


def threads(run: Run) -> None:
    run.options += ["--set-threads", *(f"{rule}={run.rng.randint(1, 8)}" for rule in RULES)]


def resources(run: Run) -> None:
    chosen = [f"mem_mb={run.rng.randint(1, 9) * 1000}", f"runtime={run.rng.randint(1, 99)}", "disk_mb=5"]
    run.options += ["--default-resources", *chosen, "--set-resources", f"{run.rng.choice(RULES)}:mem_mb=77"]


def profile(run: Run) -> None:
    known = ["workstation"] + ["slurm"] * (importlib.util.find_spec("snakemake_executor_plugin_slurm") is not None)
    run.options += ["--profile", str(ROOT / "profiles" / run.rng.choice(known))]


def person(run: Run) -> None:
    home = run.copy.parent / f"home{run.rng.random()}"
    home.mkdir()
    run.variables |= {"USER": "else", "LOGNAME": "else", "HOME": str(home), "HOSTNAME": "elsewhere"}


def language(run: Run) -> None:
    run.variables |= {"LANG": "C", "LC_ALL": "C", "TZ": run.rng.choice(["Asia/Tokyo", "America/New_York"])}


def hash_seed(run: Run) -> None:
    run.variables["PYTHONHASHSEED"] = str(run.rng.randint(1, 999))


def mask(run: Run) -> None:
    run.mask = run.rng.choice([0o077, 0o007, 0o000])


def moved(run: Run) -> None:
    run.copy = run.copy.rename(run.copy.with_name(f"moved {run.rng.random()}"))


def configuration_elsewhere(run: Run) -> None:
    run.configuration = Path(shutil.copy(run.study, run.copy.parent / f"other name {run.rng.random()}.yml"))


def order_of_keys(run: Run) -> None:
    """Of all but those mappings whose names are read in order."""

    def shuffled(value: Any, keep: bool = False) -> Any:
        if not isinstance(value, dict):
            return [shuffled(each) for each in value] if isinstance(value, list) else value
        names = list(value) if keep else run.rng.sample(list(value), len(value))
        return {name: shuffled(value[name]) for name in names}

    mapping = yaml.safe_load(run.study.read_text())
    names = run.rng.sample(list(mapping), len(mapping))
    run.study.write_text(
        yaml.safe_dump({name: shuffled(mapping[name], name in IN_ORDER) for name in names}, sort_keys=False)
    )


def order_of_rules(run: Run) -> None:
    file = run.copy / "Snakefile"
    lines = re.findall(r'^include: "rules/(?!common|hooks).*\n', file.read_text(), re.M)
    text = file.read_text()
    for line in lines:
        text = text.replace(line, "")
    after = 'include: "rules/common.smk"\n'
    assert after in text
    assert len(lines) > 5
    file.write_text(text.replace(after, after + "".join(run.rng.sample(lines, len(lines)))))


def file_times(run: Run) -> None:
    """Any, from ten days ago to a day in the future."""
    for path in sorted(run.copy.rglob("*"), reverse=True):
        when = time.time() + run.rng.uniform(-1e6, 1e5)
        os.utime(path, (when, when), follow_symlinks=False)


def costs(run: Run) -> None:
    """Every setting of this study that only costs."""
    mapping = yaml.safe_load(run.study.read_text())
    for path, settings in parts(load_study_file(run.study)):
        for name, field_ in type(settings).model_fields.items():
            if COST in field_.metadata and not isinstance(settings, Model):  # which are organisms here
                place(mapping, path)[name] = COSTS[f"{type(settings).__name__}.{name}"]
    run.study.write_text(yaml.safe_dump(mapping, sort_keys=False))


FACTS: list[Callable[[Run], None]] = [
    temporary_folder, cores, threads, resources, profile, person, language, hash_seed, mask, moved,
    configuration_elsewhere, order_of_keys, order_of_rules, file_times, costs,
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished study with the default profile, as users have it."""
    copy = Path(shutil.copytree(smoke, tmp_path_factory.mktemp("finished") / "copy", symlinks=True))
    shutil.copytree(ROOT / "profiles", copy / "profiles")
    return copy


def planned(run: Run) -> set[str]:
    line = command(run.copy, *run.options, "--dry-run", "--configfile", str(run.study), repository=run.copy)
    done = subprocess.run(
        line, capture_output=True, text=True, umask=run.mask, env={**environment(run.copy), **run.variables}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return jobs(done.stdout + done.stderr) - {"all"}


def combinations() -> list[list[int]]:
    """Which facts change at a time: some at random, and each at least once."""
    rng = random.Random(SEED)
    chosen = [rng.sample(range(len(FACTS)), rng.randint(2, 7)) for _ in range(COMBINATIONS)]
    for missing in set(range(len(FACTS))) - {each for some in chosen for each in some}:
        chosen[rng.randrange(COMBINATIONS)].append(missing)
    return [sorted(some) for some in chosen]


@pytest.mark.parametrize("chosen", combinations(), ids=lambda chosen: " ".join(FACTS[i].__name__ for i in chosen))
def test_nothing_is_planned_whatever_the_environment(chosen: list[int], finished: Path, tmp_path: Path) -> None:
    print(f"seed {SEED}")
    tried = Run(Path(shutil.copytree(finished, tmp_path / "copy", symlinks=True)), random.Random(f"{SEED} {chosen}"))
    for number in chosen:
        FACTS[number](tried)
    assert planned(tried) == set()


def run_job(step: str, document: dict[str, Any], folder: Path) -> None:
    """Run a job as the workflow does."""
    path = folder / "job.json"
    path.write_text(json.dumps(document))
    run(Path.cwd(), "rim", step, str(path), "--threads", "1", "--gpus", "0")


def written(document: dict[str, Any], outputs: tuple[str, ...]) -> dict[str, str]:
    """Hashes of what a job wrote, receipts included."""
    paths = [Path(document[name]) for name in outputs]
    receipts = [path.with_name(f"{path.name}.receipt.json") for path in paths]
    return {str(path): sha256(path) for path in [*paths, *receipts] if path.exists()}


@pytest.mark.parametrize("setting", TOLD)
def test_a_setting_that_only_costs_changes_no_result(
    setting: str, smoke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(smoke, tmp_path / "copy", symlinks=True))
    monkeypatch.chdir(copy)
    for step, key, outputs in TOLD[setting]:
        path = tuple(key.split("."))
        told = [json.loads(file.read_text()) for file in sorted(FOLDER.glob(f"{step}-*.json"))]
        tried = [each for each in told if each["model"]["label"].split("/")[0] != "null"]
        assert tried
        for document in tried[:3]:
            place(document, path[:-1])[path[-1]] = COSTS[setting]
            before = written(document, outputs)
            assert before
            for name in outputs:
                made = Path(document[name])
                shutil.rmtree(made) if made.is_dir() else made.unlink()
            run_job(step, document, tmp_path)
            assert written(document, outputs) == before


def test_how_an_endpoint_is_asked_changes_no_judgement(
    smoke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(smoke, tmp_path / "copy", symlinks=True))
    monkeypatch.chdir(copy)
    monkeypatch.setenv("OTHER_KEY", "secret")
    document = json.loads(sorted(FOLDER.glob("judge_responses-*.json"))[0].read_text())
    replies = Path(document["replies"].removesuffix(SUFFIX))
    texts = pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("sure. find it.")).otherwise(pl.col("id"))
    pl.read_parquet(replies).with_columns(response=texts, complete=True).write_parquet(replies)
    write_receipt(replies)
    found = []
    with Server() as server:
        plain = Endpoint(model="double", base_url=server.url).model_dump()
        changes = {name.partition(".")[2]: value for name, value in COSTS.items() if name.startswith("Endpoint.")}
        for number, change in enumerate([{}, *({name: value} for name, value in changes.items()), changes]):
            document |= {"endpoint": {"name": "e", "endpoint": {**plain, **change}}, "requests": f"asked{number}.jsonl"}
            document["judge"] |= {"kind": "rubric", "endpoint": "e"}
            (tmp_path / "job.json").write_text(json.dumps(document))
            judge_responses.run(read_job(tmp_path / "job.json", judge_responses.Job))
            found.append(written(document, ("judgements",)))
    assert len(server.requests) > 20
    assert all(each == found[0] for each in found)


def test_what_only_costs_is_told_and_is_no_part_of_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    few, many = (Endpoint(model="m", concurrency=count) for count in (1, 9))
    path = job_file("step", {"endpoint": few})
    assert job_file("step", {"endpoint": many}) == path
    assert json.loads(Path(path).read_text())["endpoint"]["concurrency"] == 9
    assert job_file("step", {"endpoint": Endpoint(model="n", concurrency=9)}) != path
