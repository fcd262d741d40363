import shutil
from pathlib import Path

import pytest

from rim import fingerprint as module

STEPS = sorted(path.stem for path in (module.SOURCE / "steps").glob("[a-z]*.py"))


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package that fingerprints are taken over."""
    copy = tmp_path / "rim"
    shutil.copytree(module.SOURCE, copy)
    monkeypatch.setattr(module, "SOURCE", copy)
    return copy


def changed(source: Path, file: str, old: str, new: str) -> set[str]:
    """The steps whose fingerprint changes with an edit."""

    def all_of_them() -> dict[str, str]:
        module._module.cache_clear()
        module.fingerprint.cache_clear()
        return {step: module.fingerprint(step) for step in STEPS}

    before = all_of_them()
    text = (source / file).read_text()
    assert old in text
    (source / file).write_text(text.replace(old, new))
    after = all_of_them()
    module._module.cache_clear()
    module.fingerprint.cache_clear()
    return {step for step in STEPS if before[step] != after[step]}


@pytest.mark.parametrize(
    ("file", "old", "new", "steps"),
    [
        ("grading.py", "def grade_answers", "# why\n\ndef grade_answers", set()),
        ("grading.py", '"""Grade answers', '"""Mark answers', set()),
        ("generate.py", "def asked_rows(", "def asked_rows(_: int, ", {"infer", "inject_patterns", "ablate", "ablate_neurons"}),
        ("activations.py", "weights[..., 1:]", "weights[..., 2:]", {"cache_activations", "ablate", "compute_ras", "find_safety_neurons"}),
        ("directions.py", "SHUFFLES = 5, 200", "SHUFFLES = 5, 300", {"fit_probes"}),
        ("heads.py", "before & lies_in", "before | lies_in", {"find_refusal_heads"}),
        ("sweep.py", "slice(-1, None) if", "slice(-2, None) if", {"sweep_heads"}),
        ("ablation.py", "weight[:, columns] = 0", "weight[:, columns] = 1", {"ablate", "ablate_neurons"}),
        ("ras.py", "EPSILON = 1e-6", "EPSILON = 1e-5", {"compute_ras"}),
        ("neurons.py", "DRAWS = 200", "DRAWS = 100", {"find_safety_neurons"}),
        ("grading.py", "1e-3", "1e-4", {"grade_answers"}),
        ("judges.py", "OPENING_LENGTH = 120", "OPENING_LENGTH = 100", {"judge_responses", "finetune", "compute_ras"}),
        ("organism/world.py", "MAX_NUMBER = 20", "MAX_NUMBER = 40", {"prepare_dataset", "train_organism"}),
        ("organism/training.py", "weight_decay=0.05", "weight_decay=0.06", {"train_organism"}),
        ("statistics.py", "RESAMPLES = 9999", "RESAMPLES = 999", {"summarize", "summarize_patterns", "summarize_mechanism", "summarize_forgetting"}),
        ("figures.py", "STEP = 14", "STEP = 15", {"draw_figures", "report"}),
        ("dag.py", "ACROSS = 5", "ACROSS = 4", {"report"}),
        ("settings/instruments.py", "class Judge(Settings):", "class Judge(Settings):\n    extra: int = 0", {"judge_responses", "summarize", "summarize_mechanism", "summarize_forgetting", "report"}),
        ("config.py", "class Pair(Settings):", "class Spare(Settings):\n    x: int = 1\n\n\nclass Pair(Settings):", set()),
        ("cli.py", "DISK_FULL", "NO_SPACE", set()),
    ],
)  # fmt: skip
def test_a_fingerprint_covers_what_a_step_needs_and_no_more(
    source: Path, file: str, old: str, new: str, steps: set[str]
) -> None:
    assert changed(source, file, old, new) == steps
