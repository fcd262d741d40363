"""What reruns when: after each event exactly the jobs that it touches, in place and in somebody else's clone.

The study runs once; then each event is tried with a dry run, which names the jobs. The clone is what `git clone` and
`dvc pull` give, with every modification time shuffled. Killing, going back to an older revision and losing files are
run for real. The table of all events is printed at the end of the tests.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.workflow.conftest import cloned, command, configured, environment, jobs, publish, run, snakemake

RESULTS = (
    "summarize",
    "summarize_mechanism",
    "summarize_forgetting",
    "draw_figures",
    "report",
)  # what the whole configuration goes into
JUDGED = ("compare_judges", *RESULTS)
ABLATED = ("ablate *", "judge_ablated *", "grade_ablated *")
ANALYSED = ("fit_probes *", "find_refusal_heads *", "sweep_heads *", *ABLATED)
NEURONS = ("find_safety_neurons *", "ablate_neurons *", "judge_without_neurons *", "grade_without_neurons *")
FOLLOWED = ("compute_ras *", "judge_checkpoints *")
FROZEN = "finetune *variant=gsm8k_target_frozen"  # is given the neurons
ASKED = (
    "infer *",
    "annotate_patterns *",
    "summarize_patterns",
    "cache_activations *",
    *ANALYSED,
    *NEURONS,
    *FOLLOWED,
    FROZEN,
    "grade_answers *",
    *JUDGED,
)
REPLIES = ("inject_patterns *", "judge_responses *", *ASKED)
OF_AN_ARM = ("infer", "judge_responses", "grade_answers", "cache_activations", "fit_probes", "find_refusal_heads")
OF_A_BASE = (*OF_AN_ARM, "sweep_heads", "ablate", "grade_ablated")
Change = Callable[[Path], object]


def edit(file: str, old: str, new: str) -> Change:
    def change(copy: Path) -> None:
        text = (copy / file).read_text()
        assert old in text
        (copy / file).write_text(text.replace(old, new))

    return change


def configure(**changes: object) -> Change:
    return lambda copy: configured(copy / "study.yaml", str(copy / "study.yaml"), **changes)


def both(*changes: Change) -> Change:
    return lambda copy: [change(copy) for change in changes]


def touch(copy: Path) -> None:
    for folder in ("data/datasets", "data/checkpoints", "data/raw", "src", "rules", "workflow"):
        for path in (copy / folder).rglob("*"):
            os.utime(path)


def other_sums(copy: Path) -> None:
    raw = copy / "data/raw/sums.jsonl"
    raw.write_text(raw.read_text().replace("what is 3 + 2?", "what is 8 + 2?").replace("#### 5", "#### 10"))
    os.utime(raw, (0, 0))  # older than all that was made from it


# event -> what happens, and patterns of the jobs that must run; a pattern that matches no known job is a new job's name
EVENTS: dict[str, tuple[Change, tuple[str, ...]]] = {
    "no change": (lambda copy: None, ()),
    "a hyper-parameter of one organism": (
        configure(models__null__organism__muon_rate=0.02),
        ("* *model=null *", "annotate_patterns *", "summarize_patterns", *JUDGED),
    ),
    "the recipe of fine-tuning": (
        configure(finetune__learning_rate=0.004),
        ("finetune *", *(f"{rule} *variant=gsm8k*" for rule in OF_AN_ARM), *FOLLOWED, *JUDGED),
    ),
    "a judge's threshold": (
        configure(judges__rule__threshold=4),
        (
            "judge_responses judge=rule *",
            "judge_without_neurons *",
            "judge_checkpoints *",
            *ANALYSED,
            "summarize_patterns",
            *JUDGED,
        ),
    ),
    "the title": (configure(title="Another title"), RESULTS),
    "what is injected": (
        configure(injection__rows=3),
        ("inject_patterns *", "judge_responses *variant=injected", "summarize_patterns", *RESULTS),
    ),
    "the share that makes a refusal head": (
        configure(mechanism__head_share=0.9),
        ("find_refusal_heads *", *ABLATED, *RESULTS),
    ),
    "the content of a raw file": (
        other_sums,
        ("prepare_dataset dataset=sums", "judge_responses *variant=base", "judge_responses *variant=gsm8k*", *ASKED),
    ),
    "a step": (
        edit("src/rim/steps/grade_answers.py", "references = {}", "references = dict()"),
        ("grade_answers *", "grade_ablated *", "grade_without_neurons *", *RESULTS),
    ),
    "a module that many steps call": (
        edit("src/rim/models/chat.py", "text.partition(CLOSE)", "text.partition(CLOSE + '')"),
        ("finetune *", *REPLIES),
    ),
    "an environment": (
        edit("envs/train.yaml", "python=3.11", "python=3.12"),
        ("train_organism *", "finetune *", *REPLIES),
    ),
    "the report's template": (edit("src/rim/report/templates/report.html.j2", "<main>", "<main >"), ("report",)),
    "every file touched, code and data": (touch, ()),
    "a comment, a docstring and the layout": (
        both(
            edit("src/rim/instruments/grading.py", "def grade_answers(", "# a remark\n\n\ndef grade_answers("),
            edit("src/rim/instruments/judges.py", '"""Judges of replies', '"""What judges replies'),
        ),
        (),
    ),
    "a definition that no job needs": (
        edit("src/rim/config/study.py", "class Pair(Settings):", "class Spare(Settings):\n    x: int = 1\n\n\nclass Pair(Settings):"),
        (),
    ),
    "one more model": (
        configure(models__another={"organism": {"association": 0.5, "layers": 1}, "variants": []}),
        (
            "train_organism model=another seed=0",
            "inject_patterns model=another seed=0",
            *(f"{rule} model=another seed=0 variant=base" for rule in OF_A_BASE if rule != "judge_responses"),
            *(f"{rule} model=another seed=0 variant=base" for rule in ("find_safety_neurons", "ablate_neurons", "grade_without_neurons")),
            "judge_without_neurons judge=rule model=another seed=0 variant=base",
            "judge_ablated judge=rule model=another seed=0 variant=base",
            "judge_responses judge=rule model=another seed=0 variant=base",
            "judge_responses judge=rule model=another seed=0 variant=injected",
            "judge_responses judge=prefix model=another seed=0 variant=base",
            "annotate_patterns *",
            "summarize_patterns",
            *JUDGED,
        ),
    ),
    "an intermediate file deleted, and nothing needs it": (
        lambda copy: (copy / "data/responses/smoke/null/base/seed0.parquet").unlink(),
        (),
    ),
}  # fmt: skip


def study(copy: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run or dry-run the study of a copy, with its own code."""
    return snakemake(copy, *options, "--configfile", str(copy / "study.yaml"), repository=copy)


def to_run(copy: Path, *options: str) -> set[str]:
    done = study(copy, "--dry-run", *options)
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


@pytest.mark.parametrize("place", ["in place", "in a clone"])
@pytest.mark.parametrize("event", EVENTS)
def test_exactly_what_changed_reruns(
    event: str, place: str, smoke: Path, pulled: Path, every_job: set[str], tmp_path: Path, record_property
) -> None:
    change, patterns = EVENTS[event]
    copy = copied(smoke if place == "in place" else pulled, tmp_path)
    change(copy)
    if place == "in a clone":
        shuffle_times(copy)
    found = to_run(copy)
    record_property("event", (event, place, len(found)))
    matched = {pattern: {job for job in every_job if fnmatchcase(job, pattern)} or {pattern} for pattern in patterns}
    assert found == set().union(*matched.values())


def test_new_results_from_git_without_their_data_rerun_what_changed(
    smoke: Path, every_job: set[str], tmp_path: Path
) -> None:
    """A colleague changed a model and pushed its results; `git pull` brought them and `dvc pull` was forgotten."""
    copy = copied(smoke, tmp_path)
    configure(models__null__organism__muon_rate=0.02)(copy)
    for table in (copy / "results/smoke/tables").iterdir():
        table.write_text(table.read_text() + "\n")
    branch = {job for job in every_job if fnmatchcase(job, "* *model=null *")}
    assert to_run(copy) == branch | {"annotate_patterns annotator=phrases", "summarize_patterns", *JUDGED}


def test_a_clone_without_its_data_says_what_to_do(published: Path, tmp_path: Path) -> None:
    run(published, "git", "clone", "--quiet", str(published), str(tmp_path / "clone"))
    done = study(tmp_path / "clone", "--dry-run")
    assert done.returncode != 0
    assert (
        done.stderr.strip().splitlines()[-1].startswith("data.dvc: the artifacts it names are not here; run `dvc pull`")
    )
    assert "Traceback" not in done.stderr
    (tmp_path / "clone/data/provenance").mkdir(parents=True)  # the other way out: make everything anew
    started = to_run(tmp_path / "clone", "summarize")
    assert {job.split()[0] for job in started} >= {"train_organism", "finetune", "infer", "summarize"}


def test_a_lost_file_is_made_again_when_something_needs_it(pulled: Path, tmp_path: Path) -> None:
    copy = copied(pulled, tmp_path)
    arm, responses = (f"data/{kind}/smoke/null/gsm8k_target/seed0" for kind in ("checkpoints", "responses"))
    shutil.rmtree(copy / f"{arm}.steps")
    (copy / f"{responses}.parquet").unlink()
    assert to_run(copy) == set()
    assert to_run(copy, f"{responses}.parquet") == {"infer model=null seed=0 variant=gsm8k_target"}
    assert to_run(copy, f"{arm}.steps") == {"finetune model=null seed=0 variant=gsm8k_target"}
    shutil.rmtree(copy / arm)
    expected = {f"{rule} model=null seed=0 variant=gsm8k_target" for rule in ("finetune", "infer")}
    assert to_run(copy, f"{responses}.parquet") == expected


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


def test_after_kill_minus_nine_only_what_had_not_finished_runs(smoke: Path, tmp_path: Path) -> None:
    copy = copied(smoke, tmp_path)
    configure(judges__prefix__threshold=4)(copy)
    expected = to_run(copy)
    log = tmp_path / "output.txt"
    with log.open("w") as stream:
        running = subprocess.Popen(
            command(copy, "--configfile", str(copy / "study.yaml"), repository=copy),
            stdout=stream, stderr=stream, env=environment(copy), start_new_session=True,
        )  # fmt: skip
        while "Finished jobid" not in log.read_text():
            assert running.poll() is None, log.read_text()
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    finished = log.read_text().count("Finished jobid")
    assert study(copy, "--unlock").returncode == 0
    left = to_run(copy, "--rerun-incomplete")
    assert left < expected
    assert len(expected) - finished - 2 <= len(left) <= len(expected) - finished  # two may have finished unannounced
    done = study(copy, "--rerun-incomplete")
    assert done.returncode == 0, done.stdout + done.stderr
    assert to_run(copy) == set()


def test_a_checkpoint_that_does_not_match_its_receipt_is_not_used(smoke: Path, tmp_path: Path) -> None:
    copy = copied(smoke, tmp_path)
    weights = copy / "data/checkpoints/smoke/null/base/seed0/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    done = study(copy, "data/responses/smoke/null/base/seed0.parquet", "--forcerun", "infer")
    assert done.returncode != 0
    assert "infer: error: data/checkpoints/smoke/null/base/seed0: is not what its receipt describes" in done.stderr
    assert "dvc checkout --force data/checkpoints/smoke/null/base/seed0" in done.stderr
