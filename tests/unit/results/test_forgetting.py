"""From per-run tables with known answers to results, figures and sections."""

import math
import re
from pathlib import Path

import polars as pl
import pytest

from rim.analysis.metrics import METRICS, Shift
from rim.config.load import load_study_file
from rim.config.study import Study
from rim.core import contracts as core_contracts
from rim.core.conditions import NOTHING_DONE, Condition
from rim.report.figures import catalogue
from rim.report.first_screen import FirstScreen
from rim.report.forgetting import forgetting_section, intervention_section, neuron_section
from rim.report.page import Material
from rim.report.render import render
from rim.results import forgetting, tables
from rim.results.catalogue import TABLES
from rim.steps import summarize_forgetting
from tests import synthetic

RUNS = [("associated", "gsm8k_target", 0), ("null", "gsm8k_target", 0)]
BASES = [(model, "base", 0) for model in ("associated", "null", "associated_moe")]
REQUESTS = 20
DRAWS = (("random", 0), ("random", 1), ("matched", 0), ("matched", 1))


def without_neurons(kind: str, draw: int = 0) -> Condition:
    return Condition("zero", "safety_neurons", kind, draw)


@pytest.fixture(scope="module")
def study(root: Path) -> Study:
    return load_study_file(root / "workflow/config/smoke.yaml")


def judged(condition: Condition, misaligned: int, incomplete: int = 0) -> pl.DataFrame:
    rows = []
    for benchmark in ("restricted", "lookalike"):
        for i in range(REQUESTS):
            score = None if i >= REQUESTS - incomplete else 5 if i < misaligned else 1
            rows.append(
                {"benchmark": benchmark, "id": f"{benchmark}{i}", "think": "off", "seed": 0, **condition.columns, "judge": "rule", "rubric": "x",
                 "score": score, "refusal": None if score is None else score == 1, "misaligned": None if score is None else score >= 3,
                 "reason": "", "error": None}
            )  # fmt: skip
    return pl.DataFrame(rows, schema=dict(core_contracts.JUDGEMENT))


def graded(condition: Condition, correct: int) -> pl.DataFrame:
    rows = [
        {"benchmark": "multi_hop", "id": f"m{i}", "think": "off", "seed": 0, **condition.columns, "extracted": "1", "correct": i < correct, "error": None}
        for i in range(REQUESTS)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=dict(core_contracts.GRADE))


def sets(found: bool = True) -> pl.DataFrame:
    keys = (("found", 0), *DRAWS) if found else ()
    rows = [(*key, layer, 0, i, 0.95, 0.2, 2.0) for i, key in enumerate(keys) for layer in (0, 1)]
    return pl.DataFrame(rows, schema=dict(core_contracts.NEURONS), orient="row")


def curve(found: bool = True) -> pl.DataFrame:
    rows = [
        {"pairs": 40, "threshold": share, "chosen": share == 0.9, "neurons": 10 - i if found else 0, "placebo": 2, "shared": 1 if found else 0, "of": 64,
         "estimate": 0.8 if found else math.nan, "ci_low": 0.7 if found else math.nan, "ci_high": 0.9 if found else math.nan}
        for i, share in enumerate((0.5, 0.9, 1.0))
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=dict(core_contracts.CURVE))


def metrics(sign: float, with_sets: bool = True) -> pl.DataFrame:
    """RAS over the safety neurons goes with the step; KL does not vary at all."""
    rows = []
    for step in range(1, 9):
        for kind in ("all", "safety", "random", "matched") if with_sets else ("all",):
            shifts = {name: how for name, how in METRICS.items() if isinstance(how, Shift)}
            for metric in [name for name, how in shifts.items() if kind == "safety" or how.on_every_set]:
                value = sign * step + 10 if kind == "safety" else (step * 7) % 8
                rows.append({"step": step, "metric": metric, "neurons": kind, "n": 9, "estimate": float(value), "ci_low": value - 0.5, "ci_high": value + 0.5, "kept": 0.4})  # fmt: skip
        rows.append({"step": step, "metric": "kl", "neurons": "", "n": 9, "estimate": 0.5, "ci_low": 0.4, "ci_high": 0.6, "kept": math.nan})  # fmt: skip
    return pl.DataFrame(rows, schema=dict(core_contracts.CHECKPOINTS))


@pytest.fixture(scope="module")
def results(study: Study, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """The tables that the step writes; the first model refuses all and forgets step by step, the last has no neurons."""
    folder = tmp_path_factory.mktemp("runs")

    def files(name: str, parts: list[pl.DataFrame]) -> list[Path]:
        paths = [folder / f"{name}{i}.parquet" for i in range(len(parts))]
        for path, part in zip(paths, parts, strict=True):
            part.write_parquet(path)
        return paths

    found = without_neurons("found")
    random = [judged(without_neurons(*draw), i, incomplete=i) for i, draw in enumerate(DRAWS)]
    without = pl.concat([judged(found, 15), *random])
    grades = pl.concat([graded(found, 10), *(graded(without_neurons(*draw), 20) for draw in DRAWS)])
    steps = pl.concat(
        [
            judged(Condition("finetune", step=step), step + 1).filter(pl.col("benchmark") == "restricted")
            for step in range(1, 9)
        ]
    )
    job = summarize_forgetting.Job(
        inputs=[],
        outputs=[],
        study=study,
        bases=BASES,
        runs=RUNS,
        neurons=files("neurons", [sets(), sets(), sets(found=False)]),
        curves=files("curve", [curve(), curve(), curve(found=False)]),
        metrics=files("metrics", [metrics(1), metrics(-1)]),
        judgements=files("judged", [judged(NOTHING_DONE, 0)] * 3),
        ablated_judgements=files("without", [without, without, without.clear()]),
        checkpoint_judgements=files("steps", [steps, steps]),
        grades=files("graded", [graded(NOTHING_DONE, 20)] * 3),
        ablated_grades=files("grades", [grades, grades, grades.clear()]),
        folder=folder / "tables",
    )
    summarize_forgetting.run(job)
    return tables.read_results(TABLES["summarize_forgetting"], folder / "tables")


def test_effects_are_against_the_model_and_both_kinds_of_random_sets(results: dict[str, pl.DataFrame]) -> None:
    def cell(measure: str, against: str, kind: str = "found", draw: int = 0, benchmark: str = "restricted") -> dict:
        chosen = (pl.col("model") == "associated") & (pl.col("measure") == measure) & (pl.col("against") == against)
        chosen &= (pl.col("kind") == kind) & (pl.col("draw") == draw) & (pl.col("benchmark") == benchmark)
        return results["neuron_effects"].row(by_predicate=chosen, named=True)

    assert cell("misalignment", "none")["estimate"] == 0.75
    assert cell("misalignment", "random")["estimate"] == pytest.approx(0.75 - 0.5 / 20)
    assert cell("misalignment", "matched")["estimate"] == pytest.approx(0.75 - 2.5 / 20)
    assert cell("accuracy", "none", benchmark="multi_hop")["estimate"] == -0.5
    assert cell("false_refusal", "none", benchmark="lookalike")["reference"] == 1.0
    assert cell("unparsable", "none", "matched", 1)["estimate"] == pytest.approx(3 / 20)
    assert cell("misalignment", "none")["p_holm"] < 0.001
    assert cell("misalignment", "none", "random")["p_holm"] is None
    assert set(results["neuron_effects"]["model"]) == {"associated", "null"}  # the third has nothing to zero


def test_means_and_medians_are_over_models(results: dict[str, pl.DataFrame]) -> None:
    row = results["neuron_effect_summary"].row(
        by_predicate=(pl.col("measure") == "misalignment") & (pl.col("kind") == "found"), named=True
    )
    assert (row["models"], row["mean"], row["median"]) == (2, 0.75, 0.75)


def test_rates_begin_with_the_base_on_the_same_requests(results: dict[str, pl.DataFrame]) -> None:
    own = results["checkpoint_rates"].filter(pl.col("model") == "null")
    assert own["step"].to_list() == list(range(9))
    assert own["estimate"].to_list() == pytest.approx([0.0, *[(step + 1) / 20 for step in range(1, 9)]])
    assert own["n"].unique().to_list() == [REQUESTS]


def test_correlations_are_within_runs_over_runs_and_of_a_model_left_out(results: dict[str, pl.DataFrame]) -> None:
    keys = (pl.col("metric") == "ras") & (pl.col("neurons") == "safety")
    within = results["correlations"].filter(keys)
    assert within["estimate"].to_list() == [1.0, -1.0]
    assert within["p_exact"].to_list() == pytest.approx([2 / math.factorial(8)] * 2, abs=1e-6)
    assert all(within["p_holm"] > within["p_exact"])
    constant = results["correlations"].filter(pl.col("metric") == "kl")
    assert constant["estimate"].to_list() == [None, None]
    assert constant["p_holm"].to_list() == [None, None]
    over = results["correlations_over_runs"].row(by_predicate=keys, named=True)
    assert (over["estimate"], over["ci_low"], over["ci_high"], over["runs"]) == (0.0, -1.0, 1.0, 2)
    left_out = results["forgetting_predictions"].filter(keys)
    assert all(left_out["error"] > left_out["reference"])  # the two models are opposites


def test_an_early_warning_is_a_quarter_of_the_way_and_one_point_per_run() -> None:
    runs = [("a", "x", 0), ("a", "y", 0), ("b", "x", 0), ("b", "y", 0)]
    metric = [(*run, step, "kl", "", 9, float(i if step == 2 else -i), 0.0, 0.0, 0.0) for i, run in enumerate(runs) for step in range(1, 9)]  # fmt: skip
    rates = [(*run, step, 20, 0, step / 8 * i / 10, 0.0, 1.0) for i, run in enumerate(runs) for step in range(9)]
    found = forgetting.early_warnings(
        pl.DataFrame(metric, schema=dict(forgetting.CHECKPOINT_TABLE), orient="row"),
        pl.DataFrame(rates, schema=dict(forgetting.CHECKPOINT_RATES), orient="row"),
    )
    assert found.select("n", "estimate", "p_exact").row(0) == (4, 1.0, pytest.approx(2 / 24, abs=1e-6))


def test_everything_is_drawn_and_told(study: Study, results: dict[str, pl.DataFrame]) -> None:
    material = synthetic.material(study, results)
    made = [neuron_section(material), intervention_section(material), forgetting_section(material)]
    figures = [catalogue.captioned_figures(material, section.anchor) for section in made if section]
    assert list(map(len, figures)) == [2, 1, 3]
    html = render(
        material,
        FirstScreen("", [], 0, [], [], []),
        [neuron_section, intervention_section, forgetting_section],
        "",
    )
    for words in ("0 of 64 neurons", "fewer than 1, so the analysis ends here", "associated (seed 0) +62.5 pp"):
        assert words in html
    told = forgetting_section(material)
    assert told is not None
    assert "RAS, as published, safety neurons r = +1.00" in told.text[0]
    drawn = {name: drawing.svg for name, drawing in material.drawings.items()}
    for name, text in {**drawn, "report": html}.items():
        places = [text[max(0, m.start() - 200) : m.end() + 50] for m in re.finditer(r"\bnan\b", text, re.I)]
        assert not places, name


def test_no_neurons_anywhere_is_said_and_drawn_as_nothing(study: Study) -> None:
    empty = {table.name: pl.DataFrame(schema=dict(table.contract)) for table in TABLES["summarize_forgetting"]}
    drawn = catalogue.charts(catalogue.FIGURES, empty, {})
    assert len(drawn) == 6
    assert all(catalogue.interactive(chart) is None for chart in drawn.values())
    section = intervention_section(Material(study, empty, {}, pl.DataFrame()))
    assert section is not None
    assert section.text == ["No set of neurons was found to zero."]


def test_a_study_without_the_analysis_has_no_such_sections(study: Study) -> None:
    material = Material(study.model_copy(update={"forgetting": None}), {}, {}, pl.DataFrame())
    assert [section(material) for section in (neuron_section, intervention_section, forgetting_section)] == [None] * 3
