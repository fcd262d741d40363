import json
import shutil
from pathlib import Path

import pytest

from rim import provenance
from rim.errors import UserError

STEPS = (
    "prepare_dataset",
    "train_organism",
    "finetune",
    "infer",
    "judge_responses",
    "grade_answers",
    "cache_activations",
    "fit_probes",
    "find_refusal_heads",
    "sweep_heads",
    "ablate",
    "summarize",
    "summarize_mechanism",
    "draw_figures",
    "report",
)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package that fingerprints are taken over."""
    copy = tmp_path / "rim"
    shutil.copytree(provenance.SOURCE, copy)
    monkeypatch.setattr(provenance, "SOURCE", copy)
    return copy


def changed(source: Path, file: str, old: str, new: str) -> set[str]:
    """The steps whose fingerprint changes with an edit."""

    def all_of_them() -> dict[str, str]:
        provenance._module.cache_clear()
        provenance.fingerprint.cache_clear()
        return {step: provenance.fingerprint(step) for step in STEPS}

    before = all_of_them()
    text = (source / file).read_text()
    assert old in text
    (source / file).write_text(text.replace(old, new))
    after = all_of_them()
    provenance._module.cache_clear()
    provenance.fingerprint.cache_clear()
    return {step for step in STEPS if before[step] != after[step]}


@pytest.mark.parametrize(
    ("file", "old", "new", "steps"),
    [
        ("grading.py", "def grade_answers", "# why\n\ndef grade_answers", set()),
        ("grading.py", '"""Grade answers', '"""Mark answers', set()),
        ("generate.py", 'ASKED = {"misalignment"', 'ASKED = {"harm"', {"infer", "ablate"}),
        ("activations.py", "weights[..., 1:]", "weights[..., 2:]", {"cache_activations", "ablate"}),
        ("directions.py", "SHUFFLES = 5, 200", "SHUFFLES = 5, 300", {"fit_probes"}),
        ("heads.py", "before & lies_in", "before | lies_in", {"find_refusal_heads"}),
        ("sweep.py", "slice(-1, None) if", "slice(-2, None) if", {"sweep_heads"}),
        ("ablation.py", "weight[:, columns] = 0", "weight[:, columns] = 1", {"ablate"}),
        ("grading.py", "1e-3", "1e-4", {"grade_answers"}),
        ("judges.py", "OPENING_LENGTH = 120", "OPENING_LENGTH = 100", {"judge_responses"}),
        ("organism/world.py", "MAX_NUMBER = 30", "MAX_NUMBER = 40", {"prepare_dataset", "train_organism"}),
        ("organism/training.py", "weight_decay=0.05", "weight_decay=0.06", {"train_organism"}),
        ("statistics.py", "RESAMPLES = 9999", "RESAMPLES = 999", {"summarize", "summarize_mechanism"}),
        ("figures.py", "ROW_HEIGHT = 15", "ROW_HEIGHT = 16", {"draw_figures"}),
        ("config.py", "class Judge(Settings):", "class Judge(Settings):\n    extra: int = 0", {"judge_responses", "summarize", "summarize_mechanism", "report"}),
        ("config.py", "class Pair(Settings):", "class Spare(Settings):\n    x: int = 1\n\n\nclass Pair(Settings):", set()),
        ("cli.py", "DISK_FULL", "NO_SPACE", set()),
    ],
)  # fmt: skip
def test_a_fingerprint_covers_what_a_step_needs_and_no_more(
    source: Path, file: str, old: str, new: str, steps: set[str]
) -> None:
    assert changed(source, file, old, new) == steps


def test_a_receipt_names_what_was_changed_or_lost(tmp_path: Path) -> None:
    artifact, receipt = tmp_path / "seed0", tmp_path / "seed0.receipt.json"
    artifact.mkdir()
    (artifact / "a").write_text("1")
    provenance.write_receipt(receipt, artifact, steps=3)
    assert provenance.verified(receipt) == artifact
    assert json.loads(receipt.read_text())["steps"] == 3
    (artifact / "a").write_text("2")
    with pytest.raises(UserError, match=r"seed0: is not what its receipt describes"):
        provenance.verified(receipt)
    shutil.rmtree(artifact)
    with pytest.raises(UserError, match=r"seed0: is not what its receipt describes"):
        provenance.verified(receipt)
    receipt.write_text("{")
    with pytest.raises(UserError, match=r"seed0\.receipt\.json: is not a readable receipt"):
        provenance.verified(receipt)
