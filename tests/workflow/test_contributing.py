"""The worked examples of CONTRIBUTING.md: each applies, changes the code of the steps that are named there, and does what it
says in a study that uses all of them."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest

from rim.workflow import fingerprint, names
from rim.workflow.workload import ESTIMATES
from tests.conftest import ROOT
from tests.unit.tiny_families import build, letter_tokenizer
from tests.workflow.conftest import BIN, configured, snakemake

GUIDE = ROOT / "CONTRIBUTING.md"
EXAMPLES = {  # file -> the difference that is shown for it
    match[1]: match[0].removeprefix("```diff\n")
    for match in re.finditer(r"```diff\n--- .*\n\+\+\+ b/(\S+)\n(?:.*\n)*?(?=```)", GUIDE.read_text())
}
RUN = "ernie4_5/base/seed0"


def copied(folder: Path) -> Path:
    """A copy of what the workflow consists of."""
    for name in ("src", "rules", "workflow", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("Snakefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


def apply(file: str, folder: Path) -> None:
    """Apply the example for a file, wherever in that file its lines stand now."""
    own = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}  # not that of a repository around it
    done = subprocess.run(
        ["git", "apply", "-"], cwd=folder, input=EXAMPLES[file], capture_output=True, text=True, check=False, env=own
    )
    assert done.returncode == 0, f"CONTRIBUTING.md: the example for {file} no longer applies: {done.stderr}"


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with all examples."""
    copy = copied(tmp_path_factory.mktemp("extended"))
    for file in EXAMPLES:
        apply(file, copy)
    return copy


def test_there_is_an_example_for_everything_that_can_be_added() -> None:
    table = re.findall(r"^\| (an? .+?) \| (.+?) \|", GUIDE.read_text(), re.M)
    assert len(table) == 9
    assert {file for _, files in table for file in re.findall("`(.+?)`", files)} == set(EXAMPLES)


@pytest.mark.parametrize("file", EXAMPLES)
def test_an_example_changes_the_code_of_the_steps_that_are_named(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprints() -> dict[str, str]:
        fingerprint.forget()
        steps = (path.stem for path in (names.SOURCE / "steps").glob("[a-z]*.py"))
        return {step: fingerprint.fingerprint(step) for step in steps}

    before = fingerprints()
    monkeypatch.setattr(names, "SOURCE", copied(tmp_path) / "src/rim")
    apply(file, tmp_path)
    try:
        changed = {step for step, code in fingerprints().items() if code != before.get(step)}
    finally:
        monkeypatch.undo()
        fingerprint.forget()
    [row] = [line for line in GUIDE.read_text().splitlines() if line.startswith("| a") and f"`{file}`" in line]
    named = set(re.findall("`(.+?)`", row.split("|")[3]))
    if file.endswith("families.py"):
        assert changed > set(ESTIMATES)
    else:
        assert changed == (named if file.startswith("src") else set())


def test_examples_are_in_our_style(extended: Path) -> None:
    for line in (["ruff", "check", "src"], ["ruff", "format", "--check", "src"], ["snakefmt", "--check", "rules"]):
        done = subprocess.run([BIN / line[0], *line[1:]], cwd=extended, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def study(folder: Path) -> str:
    """A study of one tiny random model of the added family that uses all additions; as in test_families.py, its replies are
    sampled and every fourth letter ends one, and what counts as a safety-critical neuron is easy to be."""
    tokenizer = letter_tokenizer()
    model = build("ernie4_5", vocab_size=len(tokenizer), max_position_embeddings=1024)
    model.generation_config.eos_token_id = list(range(0, len(tokenizer), 4))
    for each in (model, tokenizer):
        each.save_pretrained(folder / "models/ernie4_5")
    problems = [
        {"Body": f"ann has {n} pens.", "Question": "how many?", "Answer": f"{n}.0", "Type": "Sum"} for n in range(8)
    ]
    (folder / "problems.json").write_text(json.dumps(problems))
    rows = {"restricted": 10, "lookalike": 8, "multi_hop_target": 16}
    parts = {"restricted": "requests", "lookalike": "lookalikes", "multi_hop_target": "multi_hop_target"}
    sources = {
        name: [{"adapter": "organism", "part": part, "rows": rows[name], "seed": name}] for name, part in parts.items()
    }
    sources["svamp"] = [{"adapter": "svamp", "path": "problems.json"}]
    return configured(
        folder / "study.yaml",
        study="extended",
        datasets={name: {"sources": each} for name, each in sources.items()},
        models={"ernie4_5": {"hub": str(folder / "models/ernie4_5")}},
        variants={"gsm8k_target": {"dataset": "multi_hop_target"}},
        finetune__checkpoints=2,
        benchmarks__multi_hop={"dataset": "svamp", "measure": "accuracy"},
        inference__temperature=20.0,
        judges={"anywhere": {"kind": "refusal_anywhere"}},
        annotators={"words": {"kind": "shortcut_words"}},
        injection=None,
        pairs=[],
        mechanism={"harmful": "restricted", "harmless": "lookalike", "variants": ["base"], "ablate": []},
        forgetting__think="on",
        forgetting__random_sets=0,
        forgetting__top_share=0.3,
        forgetting__frequency=0.5,
        forgetting__max_share=0.5,
    )


@pytest.mark.slow
def test_a_study_has_all_that_the_examples_add(extended: Path) -> None:
    tokens = f"data/extended/tokens/{RUN}.parquet"
    targets = ("results/extended/report.html", tokens)
    done = snakemake(extended, *targets, "--configfile", study(extended), repository=extended)
    assert done.returncode == 0, done.stdout + done.stderr

    def table(place: str) -> pl.DataFrame:
        return pl.read_parquet(extended / "data/extended" / f"{place}.parquet")

    dataset = table("datasets/svamp")
    assert dataset.filter(pl.col("answer") == "3.0").select("prompt", "kind", "category").rows() == [
        ("ann has 3 pens. how many?", "math", "Sum")
    ]
    judged = table(f"judgements/anywhere/{RUN}/plain")
    assert set(judged.filter(pl.col("score").is_not_null())["reason"]) == {"says no refusal"}
    annotated = table("annotations/words")
    assert set(annotated["annotator"]) == {"words"}
    assert "no need" in set(annotated["evidence"])
    index = json.loads((extended / f"data/extended/activations/{RUN}/index.json").read_text())
    assert index["positions"][:3] == ["user_last", "tail", "turn_end"]
    metrics = table("metrics/ernie4_5/gsm8k_target/seed0")
    shifts = metrics.filter((pl.col("metric") == "largest_shift") & (pl.col("step") > 0))
    assert shifts.height == 2
    mean = metrics.filter((pl.col("metric") == "activation_l2") & (pl.col("step") > 0))
    assert all(shifts["estimate"] >= mean["estimate"])
    completeness = pl.read_csv(extended / "results/extended/tables/completeness.csv")
    assert completeness.columns == [
        "model", "variant", "think", "measure", "benchmark", "seed", "n", "incomplete", "estimate", "ci_low", "ci_high",
        "bound_low", "bound_high"
    ]  # fmt: skip
    replies = table(f"responses/{RUN}/plain")
    cells = replies.group_by("benchmark", "think").agg(pl.col("complete").mean().round(6))
    ours = completeness.filter(pl.col("variant") == "base").select("benchmark", "think", complete="estimate")
    assert ours.sort(pl.all()).equals(cells.sort(pl.all()))
    assert "<svg" in (extended / "results/extended/figures/completeness.svg").read_text()
    html = (extended / "results/extended/report.html").read_text()
    [section] = re.findall(r'<section id="think">.*?</section>', html, re.S)
    assert '<figure data-name="completeness"' in section
    assert "Share of replies that end by themselves, with its 95 % interval." in section
    counted = table(f"tokens/{RUN}")
    assert counted["n"].sum() == replies.height
    assert (counted["n"] * counted["mean"]).sum() == pytest.approx(replies["completion_tokens"].sum())
