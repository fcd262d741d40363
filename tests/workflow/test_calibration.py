"""The shipped study of organisms with grafts, from recipes to the grades of every method."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.workflow.test_shipped_configs import replaced, report, run_in_process

CRUMBS = {"drill_steps": 4, "pretrain_steps": 60, "hidden": 64, "layers": 2}
BY_REQUESTS = {"intent", "intent less placebo", "contrast"}


def smaller() -> dict[str, Any]:
    """Organisms that are smaller and hardly trained, few requests and random sets, and one graft that is asked in one mode."""
    changes: dict[str, Any] = {
        f"models__{each}__organism__{key}": value for each in ("pretrained", "aligned") for key, value in CRUMBS.items()
    }
    changes["models__aligned__organism__align_steps"] = 8
    changes |= {
        f"models__{each}_{part}__graft__steps": 30 for each in ("in", "harmless") for part in ("neurons", "heads")
    }
    changes |= {f"models__{each}_neurons__graft__neurons": 16 for each in ("in", "harmless")}
    changes["models__asked_plain"] = {"graft": {"onto": "pretrained", "neurons": 16, "steps": 4}, "think": ["plain"]}
    sources = {"restricted": "requests", "lookalike": "lookalikes", "multi_hop_test": "multi_hop"}
    for name, part in sources.items():
        changes[f"datasets__{name}__sources"] = [
            {"adapter": "organism", "part": part, "rows": 40, "seed": "evaluation"}
        ]
    fewer = {
        "mechanism__sweep_prompts": 4,
        "mechanism__random_sets": 2,
        "forgetting__pairs": 4,
        "forgetting__random_sets": 2,
    }
    return {**changes, **fewer, "seeds": [1], "inference__max_new_tokens": 24, "forgetting__think": None}


@pytest.mark.slow
def test_the_study_of_grafts_on_crumbs(tmp_path: Path) -> None:
    assert run_in_process(tmp_path, replaced(tmp_path, "calibration", smaller())) > 100
    tables = tmp_path / "results/calibration/tables"
    grades = pl.read_csv(tables / "method_grades.csv")
    graded = grades.filter(measure="area").select("model", "part", "method")
    assert set(graded.filter(model="asked_plain")["method"]) == BY_REQUESTS
    for model in ("in_neurons", "harmless_neurons"):
        assert set(graded.filter(model=model, part="neuron")["method"]) >= BY_REQUESTS
        assert graded.filter(model=model, part="head").is_empty()
    assert set(graded.filter(model="in_heads", part="head")["method"]) >= {"shift", "soft shift"}
    assert graded.filter(model="in_heads", part="neuron").is_empty()
    counts = grades.filter(measure="area").select("model", "parts", "grafted").unique()
    assert sorted(counts.rows()) == [
        ("asked_plain", 800, 32),
        ("harmless_heads", 12, 4),
        ("harmless_neurons", 2 * (384 + 16), 32),
        ("in_heads", 12, 4),
        ("in_neurons", 800, 32),
    ]
    verdicts = pl.read_csv(tables / "claim_verdicts.csv")
    assert dict(verdicts.select("model", "refusal_in").unique().iter_rows()) == {
        "pretrained": "not trained",
        "aligned": "all weights",
        "in_neurons": "new neurons",
        "in_heads": "new heads",
        "harmless_neurons": "all weights",
        "harmless_heads": "all weights",
        "asked_plain": "new neurons",
    }
    assert verdicts["claim"].n_unique() in (6, 8)  # the latter where so few requests let probes be fitted
    assert (verdicts["supported"] <= verdicts["tested"]).all()
    assert (verdicts["tested"] <= verdicts["organisms"]).all()
    responses = {
        name: pl.read_parquet(tmp_path / f"data/calibration/responses/{name}/base/seed1/plain.parquet")[
            "response"
        ].to_list()
        for name in ("pretrained", "in_neurons")
    }
    assert responses["pretrained"] != responses["in_neurons"]
    html = report(tmp_path, "calibration")
    assert '<section id="calibration"' in html
    assert '<section id="claims"' in html
    assert '<figure data-name="method_grades"' in html
