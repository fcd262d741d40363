"""What reruns when: after each event, exactly the jobs that it touches. One real run, then dry runs."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import configured, counted, shipped, snakemake

pytestmark = pytest.mark.xdist_group("smoke")
TAIL = {"summarize": 1, "summarize_mechanism": 1, "draw_figures": 1, "report": 1}
SCORES = {"judge_responses": 7, "grade_answers": 7}


def reading(runs: int, bases: int) -> dict[str, int]:
    """What follows new replies: reading activations of all runs, and ablating heads of the bases among them."""
    ablating = ("sweep_heads", "ablate", "judge_ablated", "grade_ablated")
    counts = dict.fromkeys(("cache_activations", "fit_probes", "find_refusal_heads"), runs)
    return counts | (dict.fromkeys(ablating, bases) if bases else {})


EVERYTHING_READ = reading(7, 3)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def touch_everything(copy: Path) -> None:
    for folder in ("data/datasets", "data/checkpoints", "src", "rules", "workflow"):
        for path in (copy / folder).rglob("*"):
            os.utime(path)


def reformat(copy: Path) -> None:
    edit(copy / "src/rim/grading.py", "def grade_answers(", "# a remark\n\n\ndef grade_answers(")
    edit(copy / "src/rim/judges.py", '"""Judges of replies', '"""What judges replies')


EVENTS: dict[str, tuple[Callable[[Path], object], dict[str, int]]] = {
    "nothing changed": (lambda copy: None, {}),
    "files touched, code and data": (touch_everything, {}),
    "comment, docstring and layout": (reformat, {}),
    "an intermediate file deleted": (lambda copy: (copy / "data/responses/smoke/null/base/seed0.parquet").unlink(), {}),
    "a step edited": (
        lambda copy: edit(copy / "src/rim/steps/grade_answers.py", "references = {}", "references = dict()"),
        {"grade_answers": 7, "grade_ablated": 3, **TAIL},
    ),
    "a module edited that two steps call": (
        lambda copy: edit(copy / "src/rim/chat.py", "text.partition(CLOSE)", "text.partition(CLOSE + '')"),
        {"infer": 7, **SCORES, **EVERYTHING_READ, **TAIL},
    ),
    "a setting added that no job before the report needs": (
        lambda copy: edit(copy / "src/rim/config.py", "class Pair(Settings):", "class Spare(Settings):\n    x: int = 1\n\n\nclass Pair(Settings):"),
        {},
    ),
    "an environment edited": (
        lambda copy: edit(copy / "envs/train.yaml", "python=3.11", "python=3.12"),
        {"train_organism": 3, "finetune": 4, "infer": 7, **SCORES, **EVERYTHING_READ, **TAIL},
    ),
    "the report's template edited": (
        lambda copy: edit(copy / "src/rim/templates/report.html.j2", "<main>", "<main >"),
        {"report": 1},
    ),
}  # fmt: skip


@pytest.fixture
def copy(smoke: Path, tmp_path: Path) -> Path:
    """A study of one's own, with its modification times."""
    return Path(shutil.copytree(smoke, tmp_path / "copy", copy_function=shutil.copy2, symlinks=True))


@pytest.mark.parametrize("event", EVENTS)
def test_exactly_what_changed_reruns(copy: Path, event: str) -> None:
    change, expected = EVENTS[event]
    change(copy)
    done = snakemake(copy, "--dry-run", "--configfile", shipped("smoke"), repository=copy)
    assert done.returncode == 0, done.stderr
    assert counted(done.stdout + done.stderr) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"finetune__learning_rate": 0.004}, {"finetune": 4, "infer": 4, "judge_responses": 4, "grade_answers": 4, **reading(4, 0), **TAIL}),
        ({"models__null__organism__muon_rate": 0.02}, {"train_organism": 1, "finetune": 2, "infer": 3, "judge_responses": 3, "grade_answers": 3, **reading(3, 1), **TAIL}),
        ({"judges__rule__threshold": 4}, {"judge_responses": 7, **{rule: n for rule, n in EVERYTHING_READ.items() if rule != "cache_activations"}, **TAIL}),
        ({"title": "Another title"}, {**TAIL}),
        ({"mechanism__head_share": 0.5}, {"find_refusal_heads": 7, "ablate": 3, "judge_ablated": 3, "grade_ablated": 3, **TAIL}),
        ({"mechanism__random_sets": 1}, {"ablate": 3, "judge_ablated": 3, "grade_ablated": 3, **TAIL}),
        ({"models__another": {"organism": {"association": 0.5, "layers": 1}, "variants": []}}, {"train_organism": 1, "infer": 1, "judge_responses": 1, "grade_answers": 1, **reading(1, 1), **TAIL}),
    ],
    ids=["learning rate of fine-tuning", "one organism's learning rate", "threshold", "title", "head share", "random sets", "one more model"],
)  # fmt: skip
def test_a_setting_reruns_its_branch_only(smoke: Path, tmp_path: Path, changes: dict, expected: dict) -> None:
    changed = configured(tmp_path / "c.yaml", **changes)
    done = snakemake(smoke, "--dry-run", "--configfile", changed, repository=smoke)
    assert counted(done.stdout + done.stderr) == expected


def test_raw_content_counts_and_its_age_does_not(smoke: Path, tmp_path: Path) -> None:
    raw = tmp_path / "data/raw/a.jsonl"
    raw.parent.mkdir(parents=True)
    raw.write_text('{"question": "1 + 1?", "answer": "#### 2"}\n')
    source = {"sources": [{"adapter": "gsm8k", "path": "data/raw/a.jsonl"}]}
    mapping = yaml.safe_load(Path(shipped("smoke")).read_text())
    mapping["datasets"]["extra"] = source
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(mapping))
    options = ("data/datasets/smoke/extra.parquet", "--configfile", str(tmp_path / "c.yaml"))

    def jobs(*more: str) -> dict[str, int]:
        done = snakemake(tmp_path, *options, *more, repository=smoke)
        assert done.returncode == 0, done.stderr
        return counted(done.stdout + done.stderr)

    assert jobs() == {"prepare_dataset": 1}
    os.utime(raw)
    assert jobs("--dry-run") == {}
    raw.write_text('{"question": "1 + 2?", "answer": "#### 3"}\n')
    os.utime(raw, (0, 0))  # older than the table made from it
    assert jobs("--dry-run") == {"prepare_dataset": 1}


def test_a_checkpoint_that_does_not_match_its_receipt_is_not_used(copy: Path) -> None:
    weights = copy / "data/checkpoints/smoke/null/base/seed0/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    target = "data/responses/smoke/null/base/seed0.parquet"
    done = snakemake(copy, target, "--forcerun", "infer", "--configfile", shipped("smoke"), repository=copy)
    assert done.returncode != 0
    assert "infer: error: data/checkpoints/smoke/null/base/seed0: is not what its receipt describes" in done.stderr


def test_a_deleted_checkpoint_is_made_again_when_it_is_needed(copy: Path) -> None:
    shutil.rmtree(copy / "data/checkpoints/smoke/null/base/seed0")
    (copy / "data/responses/smoke/null/gsm8k_target/seed0.parquet").unlink()
    options = ("--dry-run", "--configfile", shipped("smoke"))
    assert counted(snakemake(copy, *options, repository=copy).stdout) == {}
    target = "data/responses/smoke/null/gsm8k_target/seed0.parquet"
    jobs = counted(snakemake(copy, target, *options, repository=copy).stdout)
    assert (jobs["train_organism"], jobs["infer"]) == (1, 1)
