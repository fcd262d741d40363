"""What reruns when: after each event exactly the jobs that it touches, in place and in somebody else's clone.

The study runs once; then each event is tried with a dry run, which names the jobs. The clone is what `git clone` and
`dvc pull` give, with every modification time shuffled. Content against age is all that could go differently there, so
there the events that concern it are tried one by one, and all that change nothing at once. Killing, going back to an
older revision and losing files are run for real. The table of all events is printed at the end of the tests.
"""

import base64
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.conftest import ROOT
from tests.workflow.conftest import (
    cloned,
    command,
    configured,
    environment,
    jobs,
    publish,
    run,
    snakemake,
    snakemake_log,
)

SUMMARIES = ("summarize_replies", "explain_replies", "summarize_mechanism", "summarize_forgetting")
RESULTS = (*SUMMARIES, "draw_figures", "write_report")  # what the whole configuration goes into
JUDGED = ("compare_judges", *RESULTS)
ABLATED = ("ablate_heads *", "judge_ablated *", "grade_answers * replies=without_heads *")
ANALYSED = ("fit_probes *", "find_refusal_heads *", "measure_head_effects *", *ABLATED)
NEURONS = ("find_safety_neurons *", "ablate_neurons *", "measure_gradients *", "* replies=without_neurons *")
FOLLOWED = ("measure_checkpoints *", "* replies=checkpoints *")
FINETUNED = ("finetune_model *", "summarize_finetunes")
FROZEN = ("finetune_model *variant=gsm8k_target_frozen", "summarize_finetunes")  # the former is given the neurons
ASKED = (
    "generate_replies *",
    "annotate_patterns *",
    "summarize_patterns",
    "cache_activations *",
    *ANALYSED,
    *NEURONS,
    *FOLLOWED,
    *FROZEN,
    "grade_answers *",
    *JUDGED,
)
REPLIES = ("inject_patterns *", "judge_responses *", *ASKED)
OF_AN_ARM = (
    "generate_replies", "judge_responses", "grade_answers", "cache_activations", "fit_probes", "find_refusal_heads",
)  # fmt: skip
BASE_JOBS = (
    "generate_replies", "inject_patterns", "cache_activations", "fit_probes", "find_refusal_heads", "measure_head_effects",
    "ablate_heads", "find_safety_neurons", "ablate_neurons",
)  # fmt: skip
OF_INJECTED = ("summarize_patterns", "draw_figures", "write_report")
MODELS = ("associated", "associated_moe", "null")
AFTER_FROZEN, AFTER_HALF = (
    tuple(f"{rule} *variant={name}" for rule in OF_AN_ARM[:3]) for name in ("gsm8k_target_frozen", "half")
)
Change = Callable[[Path], object]


def edit(file: str, old: str, new: str) -> Change:
    def change(copy: Path) -> None:
        text = (copy / file).read_text()
        assert old in text
        (copy / file).write_text(text.replace(old, new))

    return change


def everywhere(pattern: str, new: str) -> Change:
    """Replace a name in the whole package."""

    def change(copy: Path) -> None:
        texts = {path: path.read_text() for path in (copy / "src").rglob("*.py")}
        assert any(re.search(pattern, text) for text in texts.values())
        for path, text in texts.items():
            path.write_text(re.sub(pattern, new, text))

    return change


def renamed(file: str, name: str) -> Change:
    """Rename a module and mend its imports."""

    def change(copy: Path) -> None:
        old, new = copy / file, (copy / file).with_stem(name)
        package = ".".join(Path(file).parts[1:-1])
        old.rename(new)
        everywhere(rf"\b{package}\.{old.stem}\b", f"{package}.{name}")(copy)

    return change


def moved(file: str, function: str, needs: str, to: str) -> Change:
    """Move a function to a new module, which imports what it needs from the old one and hands the function back to it."""

    def change(copy: Path) -> None:
        text = (copy / file).read_text()
        body = re.search(rf"^def {function}\(.*?(?=^\S|\Z)", text, re.M | re.S)
        assert body
        old, new = (".".join(Path(each).with_suffix("").parts[1:]) for each in (file, to))
        head = f"from __future__ import annotations\n\nfrom {old} import {needs}\n\n\n"
        (copy / to).write_text(head + body.group())
        handed_back = f"\n\nfrom {new} import {function}\n"  # at the end, since the new module imports the old one
        (copy / file).write_text(text.replace(body.group(), "") + handed_back)

    return change


def configure(**changes: object) -> Change:
    return lambda copy: configured(copy / "study.yaml", str(copy / "study.yaml"), **changes)


def both(*changes: Change) -> Change:
    return lambda copy: [change(copy) for change in changes]


def touch(copy: Path) -> None:
    for folder in ("data/smoke/datasets", "data/smoke/checkpoints", "data/raw", "src", "rules", "workflow"):
        for path in (copy / folder).rglob("*"):
            os.utime(path)


def other_sums(copy: Path) -> None:
    raw = copy / "data/raw/sums.jsonl"
    raw.write_text(raw.read_text().replace("what is 3 + 2?", "what is 8 + 2?").replace("#### 5", "#### 10"))
    os.utime(raw, (0, 0))  # older than all that was made from it


def nothing(copy: Path) -> None:
    pass


def reordered(copy: Path) -> None:
    """Write sections, and the settings in them, in another order; that of benchmarks and the like is the order of rows."""
    path = copy / "study.yaml"
    study = yaml.safe_load(path.read_text())
    for name in ("finetune", "inference", "injection", "mechanism", "forgetting"):
        study[name] = dict(reversed(study[name].items()))
    path.write_text(yaml.safe_dump(dict(reversed(study.items())), sort_keys=False))


def record_of(copy: Path, output: str) -> Path:
    """Snakemake's record of an output, whose name fits into one file name."""
    return copy / "data/smoke/provenance" / base64.urlsafe_b64encode(output.encode()).decode()


class Event(NamedTuple):
    """Something that happens to a study after it has run."""

    change: Change
    reruns: tuple[str, ...] = ()  # patterns of the jobs that must run; one that matches no known job is a new job
    options: tuple[str, ...] = ()  # of Snakemake's command line
    variables: tuple[tuple[str, str], ...] = ()  # of the environment


EVENTS = {
    "no change": Event(nothing),
    "a hyper-parameter of one organism": Event(
        configure(models__null__organism__muon_rate=0.02),
        ("* *model=null *", "annotate_patterns *", "summarize_patterns", "summarize_finetunes", *JUDGED),
    ),
    "the recipe of fine-tuning": Event(
        configure(finetune__learning_rate=0.004),
        (*FINETUNED, *(f"{rule} *variant=gsm8k*" for rule in OF_AN_ARM), *AFTER_HALF, *FOLLOWED, *JUDGED),
    ),
    "a judge's threshold": Event(
        configure(judges__rule__threshold=4),
        (
            "judge_responses judge=rule *",
            *ANALYSED,
            "summarize_patterns",
            *JUDGED,
        ),
    ),
    "the title": Event(configure(title="Another title"), ("write_report",)),
    "what is injected": Event(
        configure(injection__rows=3),
        ("inject_patterns *", "judge_responses * replies=injected *", "summarize_patterns", *RESULTS),
    ),
    "the share that makes a refusal head": Event(
        configure(mechanism__head_share=0.9),
        ("find_refusal_heads *", *ABLATED, *RESULTS),
    ),
    "the content of a raw file": Event(
        other_sums,
        ("prepare_dataset dataset=sums", "judge_responses * replies=plain *", *ASKED),
    ),
    "a step": Event(
        edit("src/rim/steps/grade_answers.py", "= {}", "= dict()"),
        ("grade_answers *", *(each for each in RESULTS if each != "explain_replies")),  # which is of harmful requests
    ),
    "a module that many steps call": Event(
        edit("src/rim/models/chat.py", "request + SENTENCES[think]", "request + '' + SENTENCES[think]"),
        (*FINETUNED, *REPLIES),
    ),
    "an environment": Event(
        edit("envs/train.yaml", "python=3.11", "python=3.12"),
        ("train_organism *", *FINETUNED, *REPLIES),
    ),
    "the report's template": Event(edit("src/rim/report/templates/report.html.j2", "<main>", "<main >"), ("write_report",)),
    "every file touched, code and data": Event(touch),
    "a comment, a docstring and the layout": Event(
        both(
            edit("src/rim/instruments/grading.py", "def grade_answers(", "# a remark\n\n\ndef grade_answers("),
            edit("src/rim/instruments/judges.py", '"""Judges of replies', '"""What judges replies'),
        ),
    ),
    "a module renamed": Event(renamed("src/rim/models/thinking.py", "reasoning")),
    "a function moved to another module": Event(moved("src/rim/models/thoughts.py", "opened_by", "KINDS, Markers", "src/rim/models/opening.py")),
    "a function renamed": Event(everywhere(r"\bprompt_key\b", "key_of_prompt")),
    "a private helper renamed": Event(everywhere(r"\b_common_end\b", "_shared_end")),
    "a local variable renamed": Event(edit("src/rim/analysis/ras.py", "rise", "climb")),
    "an annotation added": Event(edit("src/rim/instruments/grading.py", "    rows = []", "    rows: list[object] = []")),
    "imports written another way": Event(
        edit("src/rim/steps/grade_answers.py", "from rim.instruments.grading import grade_answers", "from ..instruments.grading import grade_answers"),
    ),
    "the words of an error and of a log line": Event(
        both(
            edit("src/rim/models/benchmarks.py", "asks no rows of", "has no rows of"),
            edit("src/rim/steps/prepare_dataset.py", " rows\")", " rows prepared\")"),
        ),
    ),
    "how often progress is told": Event(edit("src/rim/core/progress.py", "EVERY = 2.0", "EVERY = 20.0")),
    "the description of a setting": Event(edit("src/rim/settings/models.py", "Peak learning rate of AdamW, cosine schedule.", "Highest learning rate.")),
    "a new setting, at the value at which all is as before": Event(
        edit(
            "src/rim/settings/inference.py",
            "    temperature: float",
            '    penalty: Annotated[float, AsBefore(0.0)] = Field(0.0, description="A new one.")\n    temperature: float',
        ),
    ),
    "a definition that no job needs": Event(
        edit("src/rim/config/study.py", "class Pair(Settings):", "class Spare(Settings):\n    x: int = 1\n\n\nclass Pair(Settings):"),
    ),
    "one more model": Event(
        configure(models__another={"organism": {"association": 0.5, "layers": 1}, "variants": []}),
        (
            "train_organism model=another seed=0",
            *(f"{rule} model=another seed=0 variant=base" for rule in BASE_JOBS),
            *(f"grade_answers model=another replies={each} seed=0 variant=base" for each in ("plain", "without_heads", "without_neurons")),
            *(f"judge_responses judge=rule model=another replies={each} seed=0 variant=base" for each in ("plain", "injected", "without_neurons")),
            "judge_ablated judge=rule model=another replies=without_heads seed=0 variant=base",
            "judge_responses judge=prefix model=another replies=plain seed=0 variant=base",
            "annotate_patterns *",
            "summarize_patterns",
            *JUDGED,
        ),
    ),
    "an intermediate file deleted, and nothing needs it": Event(
        lambda copy: (copy / "data/smoke/responses/null/base/seed0/plain.parquet").unlink(),
    ),
    "another folder for temporary files": Event(nothing, variables=(("TMPDIR", "/var/tmp"),)),
    "default resources": Event(nothing, options=("--default-resources", "mem_mb=4000", "runtime=60")),
    "more cores, and more threads for some jobs": Event(
        nothing, options=("--cores", "4", "--set-threads", "generate_replies=3", "summarize_replies=2")
    ),
    "the study's threads": Event(configure(threads=2)),
    "what GPUs there are": Event(configure(hardware={"gpu_memory": 40})),
    "the label of an arm": Event(configure(variants__gsm8k_target__label="fast CoT"), RESULTS),
    "an arm less": Event(
        configure(models__associated__variants=["gsm8k_control", "gsm8k_target"]), ("summarize_finetunes", *JUDGED),
    ),
    "one more judge": Event(
        configure(judges__second={"kind": "refusal_prefix", "variants": ["base"]}),
        (*(f"judge_responses judge=second model={model} replies=plain seed=0 variant=base" for model in MODELS), *JUDGED),
    ),
    "what models without heads are asked": Event(
        configure(mechanism__benchmarks=["restricted", "lookalike"]), (*ABLATED, *RESULTS)
    ),
    "random sets of heads": Event(configure(mechanism__random_sets=3), (*ABLATED, *RESULTS)),
    "prompts of the sweep over heads": Event(configure(mechanism__sweep_prompts=5), ("measure_head_effects *", *ABLATED, *RESULTS)),
    "the frequency that makes a neuron safety-critical": Event(
        configure(forgetting__frequency=0.8), (*NEURONS, *FOLLOWED, *FROZEN, *AFTER_FROZEN, *JUDGED)
    ),
    "the layout of a rule and the order of the rules": Event(
        both(
            edit("rules/judge.smk", "        step(\"grade_answers\")", "        (step(\"grade_answers\"))"),
            edit("Snakefile", 'include: "rules/infer.smk"\ninclude: "rules/judge.smk"', 'include: "rules/judge.smk"\ninclude: "rules/infer.smk"'),
        ),
    ),
    "the text of every command": Event(edit("rules/common.smk", "rim {name} {{params.job}}", "rim  {name}  {{params.job}}")),
    "the order of keys": Event(reordered),
    "a comment in an environment": Event(edit("envs/train.yaml", "channels:", "# a remark\nchannels:")),
    "a figure's code": Event(edit("src/rim/report/figures/style.py", "STEP = 11", "STEP = 12"), ("draw_figures", "write_report")),
    "the report's style": Event(edit("src/rim/report/templates/report.css", "body {", "body  {"), ("write_report",)),
    "a record is lost": Event(
        lambda copy: record_of(copy, "data/smoke/judgements/rule/null/base/seed0/injected.parquet").unlink(),
        ("judge_responses judge=rule model=null replies=injected seed=0 variant=base", *OF_INJECTED),
    ),
    "a record is torn": Event(
        lambda copy: record_of(copy, "data/smoke/judgements/rule/null/base/seed0/injected.parquet").write_text('{"rule": "ju'),
        ("judge_responses judge=rule model=null replies=injected seed=0 variant=base", *OF_INJECTED),
    ),
}  # fmt: skip


CONTENT = (
    "no change",
    "a hyper-parameter of one organism",
    "the content of a raw file",
    "every file touched, code and data",
)


def study(copy: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run or dry-run the study of a copy, with its own code."""
    return snakemake(copy, *options, "--configfile", str(copy / "study.yaml"), repository=copy, **variables)


def to_run(copy: Path, *options: str, **variables: str) -> set[str]:
    done = study(copy, "--dry-run", *options, **variables)
    assert done.returncode == 0, done.stderr
    return jobs(done.stdout + done.stderr) - {"all"}


@pytest.fixture(scope="session")
def every_job(smoke: Path) -> set[str]:
    return to_run(smoke, "--forceall")


@pytest.fixture(scope="session")
def pulled(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cloned(published, tmp_path_factory.mktemp("pulled") / "clone")


def copied(original: Path, directory: Path) -> Path:
    """A copy of one's own, with its modification times, without what belongs to git and DVC."""
    ignore = shutil.ignore_patterns(".git", ".dvc", ".artifacts")
    return Path(shutil.copytree(original, directory / "copy", symlinks=True, ignore=ignore))


def shuffle_times(copy: Path) -> None:
    """Give every file a random age, folders included."""
    rng = random.Random(0)
    for path in sorted(copy.rglob("*"), reverse=True):
        age = rng.uniform(0, 1e6)
        os.utime(path, (time.time() - age, time.time() - age), follow_symlinks=False)


def expected(event: Event, every_job: set[str]) -> set[str]:
    """The jobs that must run."""
    matches = [{job for job in every_job if fnmatchcase(job, pattern)} or {pattern} for pattern in event.reruns]
    return set().union(*matches)


@pytest.mark.parametrize("name", EVENTS)
def test_exactly_what_changed_reruns(
    name: str, smoke: Path, every_job: set[str], tmp_path: Path, record_property
) -> None:
    event = EVENTS[name]
    copy = copied(smoke, tmp_path)
    event.change(copy)
    found = to_run(copy, *event.options, **dict(event.variables))
    record_property("event", (name, "in place", len(found)))
    assert found == expected(event, every_job)


@pytest.mark.parametrize("name", CONTENT)
def test_exactly_what_changed_reruns_in_a_clone(
    name: str, pulled: Path, every_job: set[str], tmp_path: Path, record_property
) -> None:
    event = EVENTS[name]
    copy = copied(pulled, tmp_path)
    event.change(copy)
    shuffle_times(copy)
    found = to_run(copy)
    record_property("event", (name, "in a clone", len(found)))
    assert found == expected(event, every_job)


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["", "slurm"], ids=["", "SLURM"])
@pytest.mark.parametrize("name", EVENTS)
def test_every_event_is_exact_in_a_clone_and_under_slurms_profile(
    name: str, profile: str, pulled: Path, every_job: set[str], tmp_path: Path, record_property
) -> None:
    event = EVENTS[name]
    copy = copied(pulled, tmp_path)
    event.change(copy)
    shuffle_times(copy)
    options = ("--profile", str(ROOT / "profiles/slurm")) if profile else ()
    found = to_run(copy, *options, *event.options, **dict(event.variables))
    record_property("event", (name, "under SLURM's profile" if profile else "in a clone", len(found)))
    assert found == expected(event, every_job)


BATCHES = Event(configure(mechanism__batch_size=7, forgetting__batch_size=7))
LATER = {
    name: EVENTS[name]
    for name in (
        "a judge's threshold",
        "the share that makes a refusal head",
        "the frequency that makes a neuron safety-critical",
    )
}


@pytest.mark.parametrize("event", [*LATER.values(), BATCHES], ids=[*LATER, "batch sizes"])
def test_for_what_publishing_leaves_out_texts_are_read_again_and_nothing_is_trained(
    event: Event, smoke: Path, every_job: set[str], tmp_path: Path
) -> None:
    """As `workflow/publish.sh`: activation caches, and checkpoints on the way that nothing measures."""
    copy = copied(smoke, tmp_path)
    caches = [each for each in (copy / "data/smoke/activations").glob("*/*/seed*") if each.is_dir()]
    steps = [Path(each) for each in (copy / "data/smoke/checkpoints").glob("*/*/seed*.steps")]
    unused = [
        each for each in steps if not Path(f"{each}".replace("checkpoints", "metrics")).with_suffix(".parquet").exists()
    ]
    assert caches
    assert unused
    for folder in caches + unused:
        shutil.rmtree(folder)
    event.change(copy)
    found = to_run(copy)
    assert expected(event, every_job) <= found
    more = {job.split()[0] for job in found - expected(event, every_job)}
    assert more.isdisjoint({"train_organism", "finetune_model", "generate_replies"})
    assert event.reruns or not found


def test_one_more_seed_runs_its_own_jobs_and_what_compares_them(
    smoke: Path, every_job: set[str], tmp_path: Path
) -> None:
    copy = copied(smoke, tmp_path)
    configure(seeds=[0, 1])(copy)
    own = {job.replace("seed=0", "seed=1") for job in every_job if "seed=0" in job}
    assert to_run(copy) == own | {
        "annotate_patterns annotator=phrases",
        "summarize_patterns",
        "summarize_finetunes",
        *JUDGED,
    }


def test_an_edit_that_changes_no_result_costs_the_jobs_that_run_it(
    smoke: Path, every_job: set[str], tmp_path: Path
) -> None:
    """Run for real: nearly everything is planned, since it comes from datasets."""
    copy = copied(smoke, tmp_path)
    edit("src/rim/steps/prepare_dataset.py", "def run(job: Job) -> None:", "def run(job: Job) -> None:\n    _ = 0")(
        copy
    )
    assert to_run(copy) > {"generate_replies model=null seed=0 variant=base", *RESULTS}
    done = study(copy)
    assert done.returncode == 0, done.stderr
    ended = re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)", snakemake_log(copy), re.M)
    assert sorted(ended) == ["all"] + ["prepare_dataset"] * sum(job.startswith("prepare_dataset ") for job in every_job)
    assert to_run(copy) == set()


def test_in_a_clone_nothing_reruns_after_all_that_changes_nothing(pulled: Path, tmp_path: Path) -> None:
    copy = copied(pulled, tmp_path)
    events = [event for event in EVENTS.values() if not event.reruns]
    for event in events:
        event.change(copy)
    shuffle_times(copy)
    options = [option for event in events for option in event.options]
    assert to_run(copy, *options, **dict(pair for event in events for pair in event.variables)) == set()


def test_new_results_from_git_without_their_data_rerun_what_changed(
    smoke: Path, every_job: set[str], tmp_path: Path
) -> None:
    """A colleague changed a model and pushed its results; `git pull` brought them and `dvc pull` was forgotten."""
    copy = copied(smoke, tmp_path)
    configure(models__null__organism__muon_rate=0.02)(copy)
    for table in (copy / "results/smoke/tables").iterdir():
        table.write_text(table.read_text() + "\n")
    branch = {job for job in every_job if fnmatchcase(job, "* *model=null *")}
    assert to_run(copy) == branch | {
        "annotate_patterns annotator=phrases",
        "summarize_patterns",
        "summarize_finetunes",
        *JUDGED,
    }


def test_a_clone_without_its_data_says_what_to_do(published: Path, tmp_path: Path) -> None:
    run(published, "git", "clone", "--quiet", str(published), str(tmp_path / "clone"))
    done = study(tmp_path / "clone", "--dry-run")
    assert done.returncode != 0
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .startswith("data/smoke.dvc: the artifacts it names are not here; run `dvc pull`")
    )
    assert "Traceback" not in done.stderr
    (tmp_path / "clone/data/smoke/provenance").mkdir(parents=True)  # the other way out: make everything anew
    started = to_run(tmp_path / "clone", "summarize_replies")
    assert {job.split()[0] for job in started} >= {
        "train_organism",
        "finetune_model",
        "generate_replies",
        "summarize_replies",
    }


def test_a_lost_file_is_made_again_when_something_needs_it(pulled: Path, tmp_path: Path) -> None:
    copy = copied(pulled, tmp_path)
    arm, responses = (f"data/smoke/{kind}/null/gsm8k_target/seed0" for kind in ("checkpoints", "responses"))
    shutil.rmtree(copy / f"{arm}.steps")
    (copy / f"{responses}/plain.parquet").unlink()
    assert to_run(copy) == set()
    assert to_run(copy, f"{responses}/plain.parquet") == {"generate_replies model=null seed=0 variant=gsm8k_target"}
    assert to_run(copy, f"{arm}.steps") == {"finetune_model model=null seed=0 variant=gsm8k_target"}
    shutil.rmtree(copy / arm)
    again = {f"{rule} model=null seed=0 variant=gsm8k_target" for rule in ("finetune_model", "generate_replies")}
    assert to_run(copy, f"{responses}/plain.parquet") == again


def test_going_back_to_an_older_revision_and_forth_reruns_nothing(published: Path, tmp_path: Path) -> None:
    clone = cloned(published, tmp_path / "clone")
    run(clone, "git", "config", "user.email", "somebody@example.org")
    run(clone, "git", "config", "user.name", "Somebody")
    configure(judges__prefix__threshold=4)(clone)
    assert study(clone).returncode == 0
    publish(clone, "another threshold")
    for revision in ("HEAD~1", "main"):
        run(clone, "git", "checkout", "--quiet", revision)
        run(clone, "dvc", "checkout", "--quiet")
        assert to_run(clone) == set()


FINISHED = re.compile(r"^\d\d:\d\d:\d\d \d+/\d+ ", re.M)  # the line of a job on the screen


def test_after_kill_minus_nine_only_what_had_not_finished_runs(smoke: Path, tmp_path: Path) -> None:
    copy = copied(smoke, tmp_path)
    configure(judges__prefix__threshold=4)(copy)
    planned = to_run(copy)
    log = tmp_path / "output.txt"
    with log.open("w") as stream:
        running = subprocess.Popen(
            command(copy, "--configfile", str(copy / "study.yaml"), repository=copy),
            stdout=stream, stderr=stream, env=environment(copy), start_new_session=True,
        )  # fmt: skip
        while not FINISHED.search(log.read_text()):
            assert running.poll() is None, log.read_text()
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    finished = len(FINISHED.findall(log.read_text()))
    assert study(copy, "--unlock").returncode == 0
    left = to_run(copy, "--rerun-incomplete")
    assert left < planned
    assert len(planned) - finished - 2 <= len(left) <= len(planned) - finished  # two may have finished unannounced
    done = study(copy, "--rerun-incomplete")
    assert done.returncode == 0, done.stdout + done.stderr
    assert to_run(copy) == set()


def test_a_checkpoint_that_does_not_match_its_receipt_is_not_used(smoke: Path, tmp_path: Path) -> None:
    copy = copied(smoke, tmp_path)
    weights = copy / "data/smoke/checkpoints/null/base/seed0/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    done = study(copy, "data/smoke/responses/null/base/seed0/plain.parquet", "--forcerun", "generate_replies")
    assert done.returncode != 0
    job = "generate_replies model=null variant=base seed=0"
    assert f"Failed: {job}: data/smoke/checkpoints/null/base/seed0: checksum mismatch" in done.stderr
    assert "found); delete it and run the workflow again" in done.stderr
