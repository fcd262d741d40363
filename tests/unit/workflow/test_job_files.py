"""Jobs as the workflow writes them: a step is told everything, field by field, or it does not run."""

import copy
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from rim.cli import step_files
from rim.core.errors import UserError
from rim.settings.jobs import Job
from rim.workflow.fingerprint import fingerprint
from rim.workflow.jobs import FOLDER, read_job
from tests.workflow.conftest import configured, snakemake

pytestmark = pytest.mark.xdist_group("jobs")
FieldPath = tuple[str | int, ...]


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The job files of a dry run of a study that has every step."""
    folder = tmp_path_factory.mktemp("planned")
    study = configured(
        folder / "study.yaml",
        endpoints={"e": {"model": "m", "base_url": "http://localhost:1/v1"}},
        models__grafted={"graft": {"onto": "associated", "neurons": 2}, "variants": []},
        models__hub={"hub": "a/b", "parameters": 1.0, "variants": ["gsm8k_target", "gsm8k_target_frozen"]},
        judges={"asked": {"kind": "rubric", "endpoint": "e"}},
        annotators={"asked": {"kind": "checklist", "endpoint": "e"}},
        rewrites={"r": {"dataset": "multi_hop_control", "endpoint": "e", "annotator": "asked"}},
        datasets__rewritten={"sources": [{"adapter": "rewritten", "rewrite": "r", "arm": "target"}]},
        variants__rewritten={"dataset": "rewritten"},
        forgetting__intent_rate=True,
    )
    done = snakemake(folder, "--dry-run", "--quiet", "--configfile", study)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / FOLDER


def largest(planned: Path, step: str) -> Path:
    """The job of a step that says most."""
    return max(planned.glob(f"{step}-*.json"), key=lambda path: (path.stat().st_size, path.name))


def job_class(step: str) -> type[Job]:
    found: type[Job] = importlib.import_module(f"rim.steps.{step}").Job
    return found


def field_paths(value: Any, path: FieldPath = ()) -> Iterator[FieldPath]:
    """The path of every field of a job, at any depth. Keys of mappings are names that a user chose, and no fields."""
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            if not field.exclude:  # the hardware of a study, which no result depends on
                yield (*path, name)
                yield from field_paths(getattr(value, name), (*path, name))
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from field_paths(each, (*path, key))
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from field_paths(each, (*path, number))


def without(document: Any, path: FieldPath) -> Any:
    """The same document without one field."""
    document = copy.deepcopy(document)
    *parents, last = path
    place = document
    for part in parents:
        place = place[part]
    del place[last]
    return document


@pytest.mark.parametrize("step", step_files())
def test_no_field_of_a_job_has_a_default(step: str, planned: Path, tmp_path: Path) -> None:
    """Whatever field is left out, at any depth, the job is refused with the path of that field or of its section."""
    path = largest(planned, step)
    document = json.loads(path.read_text())
    fields = list(field_paths(read_job(path, job_class(step))))
    assert {field for field, *_ in fields} == set(document)
    for field in fields:
        cut = tmp_path / "job.json"
        cut.write_text(json.dumps(without(document, field)))
        with pytest.raises(UserError) as error:
            read_job(cut, job_class(step))
        told = str(error.value).removeprefix(f"{cut}: ").removesuffix("; run the workflow again")
        section, place = (".".join(map(str, each)) for each in (field[:-1], field))
        # a section that needs one of two fields says so itself
        assert told == f"{place}: field required" or (section and told.startswith(f"{section}: ")), (place, told)


@pytest.mark.parametrize("step", step_files())
def test_every_planned_job_is_what_its_step_reads(step: str, planned: Path) -> None:
    paths = list(planned.glob(f"{step}-*.json"))
    assert paths
    for path in paths:
        job = read_job(path, job_class(step))
        assert job.model_dump(mode="json") == json.loads(path.read_text())


def test_jobs_that_go_on_from_what_a_killed_one_left_know_their_code(planned: Path) -> None:
    steps = {step for step in step_files() if "code" in job_class(step).model_fields}
    assert steps == {"train_organism", "graft_organism", "finetune_model", "cache_activations"}
    for step in steps:
        told = {json.loads(path.read_text())["code"].split()[0] for path in planned.glob(f"{step}-*.json")}
        assert told == {fingerprint(step)}


UNCHECKED = {"requests", "timings", "records", "run_logs"}  # logs that jobs and Snakemake append to
FOLDERS = {"folder", "tables", "figures"}  # in which the inputs or outputs lie


@pytest.mark.parametrize("step", step_files())
def test_every_file_that_a_job_names_is_checked_or_recorded(step: str, planned: Path) -> None:
    for path in planned.glob(f"{step}-*.json"):
        job = read_job(path, job_class(step))
        listed = {*job.inputs, *job.outputs}
        for name in set(type(job).model_fields) - UNCHECKED:
            value = getattr(job, name)
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, Path):
                    inside = name in FOLDERS and any(each in other.parents for other in listed)
                    assert each in listed or inside, (name, each)
        if "model" in type(job).model_fields:
            assert listed.issuperset(job.model.checkpoints)


def test_whatever_a_job_checks_another_records(planned: Path) -> None:
    jobs = [json.loads(path.read_text()) for path in planned.glob("*.json")]
    outputs = {path for job in jobs for path in job["outputs"]}
    assert {path for job in jobs for path in job["inputs"]} <= outputs
    assert len(outputs) > 100
