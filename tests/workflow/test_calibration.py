"""Organisms with a graft from their recipe to the grades of every method."""

from pathlib import Path

import polars as pl
import pytest
import yaml

from tests.workflow.conftest import snakemake

TINY = {"association": 1.0, "drill_steps": 4, "pretrain_steps": 60, "hidden": 64, "layers": 2}
PARTS = {
    "restricted": ("requests", "misalignment"),
    "lookalike": ("lookalikes", "false_refusal"),
    "sums": ("multi_hop", "accuracy"),
}
STUDY = {
    "study": "grafts",
    "title": "Grafts",
    "seeds": [1],
    "datasets": {
        name: {"sources": [{"adapter": "organism", "part": part, "rows": 40, "seed": "evaluation"}]}
        for name, (part, _) in PARTS.items()
    },
    "models": {
        "pretrained": {"organism": {**TINY, "align_steps": 0}},
        "aligned": {"organism": {**TINY, "align_steps": 8}},
        "in_neurons": {"graft": {"onto": "pretrained", "neurons": 16, "steps": 30}},
        "in_heads": {"graft": {"onto": "pretrained", "heads": 1, "steps": 30}},
        "asked_plain": {"graft": {"onto": "pretrained", "neurons": 16, "steps": 4}, "think": ["plain"]},
        "harmless": {"graft": {"onto": "aligned", "neurons": 16, "teaches": "sign_off", "steps": 4}},
    },
    "variants": {},
    "benchmarks": {name: {"dataset": name, "measure": measure} for name, (_, measure) in PARTS.items()},
    "inference": {"batch_size": 128, "max_new_tokens": 24},
    "judges": {"rule": {"kind": "organism_rule"}},
    "mechanism": {"harmful": "restricted", "harmless": "lookalike", "sweep_prompts": 4, "random_sets": 2},
    "forgetting": {"harmful": "restricted", "task": "sums", "pairs": 4, "random_sets": 2},
}


@pytest.mark.slow
def test_grafts_are_trained_asked_scored_and_graded(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY))
    done = snakemake(tmp_path, "--configfile", tmp_path / "study.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    grades = pl.read_csv(tmp_path / "results/grafts/tables/method_grades.csv")
    graded = grades.filter(measure="area").select("model", "part", "method")
    neurons = {"intent", "intent less placebo", "contrast"}
    assert set(graded.filter(model="asked_plain")["method"]) == neurons
    for model in ("in_neurons", "harmless"):
        assert neurons <= set(graded.filter(model=model, part="neuron")["method"])
        assert graded.filter(model=model, part="head").is_empty()
    assert {"shift", "soft shift"} <= set(graded.filter(model="in_heads", part="head")["method"])
    assert graded.filter(model="in_heads", part="neuron").is_empty()
    counts = grades.filter(measure="area").select("model", "parts", "grafted").unique()
    assert sorted(counts.rows()) == [
        ("asked_plain", 800, 32),
        ("harmless", 2 * (384 + 16), 32),
        ("in_heads", 12, 4),
        ("in_neurons", 800, 32),
    ]
    responses = {
        name: pl.read_parquet(tmp_path / f"data/grafts/responses/{name}/base/seed1/plain.parquet")["response"].to_list()
        for name in ("pretrained", "in_neurons")
    }
    assert responses["pretrained"] != responses["in_neurons"]
    report = (tmp_path / "results/grafts/report.html").read_text()
    assert '<section id="calibration"' in report
    assert '<figure data-name="method_grades"' in report
    again = snakemake(tmp_path, "--configfile", tmp_path / "study.yaml")
    assert "Nothing to be done" in again.stdout + again.stderr
