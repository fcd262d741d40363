"""From per-run tables with known answers to results, figures and sections."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
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
from rim.report.labels import names_of
from rim.report.page import Material
from rim.report.render import render
from rim.results import forgetting, tables
from rim.results.catalogue import TABLES
from rim.settings.models import Mitigation, Model, Variant
from rim.steps import summarize_forgetting
from tests import courses, synthetic

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


def gradients() -> pl.DataFrame:
    """Of what the fine-tunes learn, of some rows of it, and of something else."""
    keys = {"metric": "gradient_conflict", "neurons": "all", "n": 7}
    lessons = (("multi_hop_target", None, 0.25), ("multi_hop_target", 5, 0.5), ("half", None, 0.75))
    rows = [{"dataset": dataset, "rows": count, **keys, "estimate": value} for dataset, count, value in lessons]
    return pl.DataFrame(rows, schema=dict(core_contracts.GRADIENTS))


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
    conditions = (Condition("add", "intent"), 2), (Condition("add", "placebo"), 9)
    added = pl.concat([judged(*each, incomplete=1).filter(pl.col("benchmark") == "restricted") for each in conditions])
    job = summarize_forgetting.Job(
        inputs=[],
        outputs=[],
        study=study,
        bases=BASES,
        runs=RUNS,
        neurons=files("neurons", [sets(), sets(), sets(found=False)]),
        curves=files("curve", [curve(), curve(), curve(found=False)]),
        gradients=files("gradients", [gradients(), gradients().clear()]),
        metrics=files("metrics", [metrics(1), metrics(-1)]),
        judgements=files("judged", [judged(NOTHING_DONE, 0)] * 3),
        ablated_judgements=files("without", [without, without, without.clear()]),
        counterfactual_judgements=files("added", [added, added, added]),
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
    assert [cell("misalignment", against)["sets"] for against in ("none", "random", "matched")] == [0, 2, 2]
    assert cell("misalignment", "matched")["p"] is None  # two sets prove nothing
    assert cell("misalignment", "none", "random")["p_holm"] is None
    assert set(results["neuron_effects"]["model"]) == {"associated", "null"}  # the third has nothing to zero


def test_the_rate_with_intent_stands_beside_that_without(results: dict[str, pl.DataFrame]) -> None:
    own = results["intent_rates"].filter(pl.col("model") == "associated")
    assert own.select("added", "n", "incomplete").rows() == [("nothing", 20, 0), ("intent", 19, 1), ("placebo", 19, 1)]
    assert own["estimate"].to_list() == pytest.approx([0.0, 2 / 19, 9 / 19], abs=1e-6)
    assert own["change"].to_list() == [None, pytest.approx(2 / 19, abs=1e-6), pytest.approx(9 / 19, abs=1e-6)]
    assert own["p"].to_list()[2] < 0.05 < own["p"].to_list()[1]


def test_means_and_medians_are_over_models(results: dict[str, pl.DataFrame]) -> None:
    row = results["neuron_effect_summary"].row(
        by_predicate=(pl.col("measure") == "misalignment") & (pl.col("kind") == "found"), named=True
    )
    assert (row["models"], row["mean"], row["median"]) == (2, 0.75, 0.75)


def test_the_gradients_of_what_a_fine_tune_learns_stand_before_its_checkpoints(
    results: dict[str, pl.DataFrame],
) -> None:
    before = results["checkpoints"].filter(pl.col("step") == 0)
    keys = ("model", "variant", "metric", "neurons", "n", "estimate")
    assert before.select(keys).rows() == [("associated", "gsm8k_target", "gradient_conflict", "all", 7, 0.25)]
    assert results["checkpoints"]["step"][0] == 0
    [warning] = results["early_warnings"].filter(pl.col("metric") == "gradient_conflict").to_dicts()
    assert warning["runs"] == 1


def test_rates_begin_with_the_base_on_the_same_requests(results: dict[str, pl.DataFrame]) -> None:
    own = results["checkpoint_rates"].filter(pl.col("model") == "null")
    assert own["step"].to_list() == list(range(9))
    assert own["estimate"].to_list() == pytest.approx([0.0, *[(step + 1) / 20 for step in range(1, 9)]])
    assert own["n"].unique().to_list() == [REQUESTS]


def test_incomplete_replies_are_left_out_of_the_rates() -> None:
    run = ("m", "arm", 0)
    steps = pl.concat([judged(Condition("finetune", step=step), 10, incomplete=5 * step) for step in (1, 2)])
    rates = forgetting.checkpoint_rates({run: steps}, {run: judged(NOTHING_DONE, 0)})
    assert rates.select("n", "incomplete", "estimate").rows() == [(40, 0, 0.0), (30, 10, 0.666667), (20, 20, 1.0)]  # fmt: skip
    none = forgetting.checkpoint_rates({run: judged(Condition("finetune", step=1), 0, REQUESTS)}, {run: judged(NOTHING_DONE, 0)})  # fmt: skip
    assert none["estimate"].to_list() == [0.0, None]
    assert forgetting.changes(none)["change"].to_list() == [0.0, None]


def test_within_a_run_stands_what_is_published(results: dict[str, pl.DataFrame]) -> None:
    keys = (pl.col("metric") == "ras") & (pl.col("neurons") == "safety")
    within = results["correlations"].filter(keys)
    assert within["estimate"].to_list() == [1.0, -1.0]
    assert within["given_step"].to_list() == [1.0, -1.0]  # a line, and the step by its logarithm
    step = results["correlations"].filter(pl.col("metric") == "log_step")
    assert step["estimate"].to_list() == pytest.approx([np.corrcoef(np.log(range(1, 9)), range(8))[0, 1]] * 2, abs=1e-6)
    assert step["given_step"].to_list() == [None, None]
    constant = results["correlations"].filter(pl.col("metric") == "kl")
    assert constant["estimate"].to_list() == [None, None]


def test_two_models_are_shown_without_a_claim(results: dict[str, pl.DataFrame]) -> None:
    """The metrics of the two models are opposites while their rates are equal."""
    keys = (pl.col("metric") == "ras") & (pl.col("neurons") == "safety")
    over = results["correlations_over_runs"].row(by_predicate=keys, named=True)
    assert (over["r"], over["runs"], over["arms"], over["models"]) == (0.0, 2, 1, 2)
    assert [over[name] for name in ("estimate", "ci_low", "p", "p_holm")] == [None] * 4  # no unit has a rate of its own
    left_out = results["forgetting_predictions"].filter(keys)
    assert all(left_out["error"] > left_out["reference"])


def followed(study: Study, **models: Any) -> Study:
    """A study of these models with an arm, its mitigated twin, and an arm on other rows."""
    data = next(iter(study.datasets))
    frozen = Mitigation(kind="freeze_neurons")
    variants = {
        "plain": Variant(dataset=data),
        "twin": Variant(dataset=data, mitigation=frozen),
        "other": Variant(dataset="other"),
    }
    return study.model_copy(update={"models": models, "variants": variants})


def test_organisms_of_two_seeds_are_foretold_by_each_other_and_seeds_of_a_hub_model_are_not(study: Study) -> None:
    steps = np.arange(1.0, 5.0)
    for model, alone in ((Model(hub="a/b"), True), (study.models["associated"], False)):
        own = followed(study, model=model).model_copy(update={"seeds": [3, 4]})
        runs = {("model", "plain", seed): forgetting.Course(steps, steps * seed, steps * seed) for seed in own.seeds}
        table = forgetting.forgetting_predictions(own, {("log_step", ""): runs, ("kl", ""): runs})
        assert table["metric"].unique().to_list() == ([] if alone else ["kl"])
        assert table["seed"].to_list() == ([] if alone else [3, 4])
        assert (table["error"] < 1e-6).all()  # the change is the metric


def test_fine_tunes_of_a_model_on_the_same_rows_are_one_cluster(study: Study) -> None:
    hub, organism = Model(hub="a/b"), study.models["associated"]
    own = followed(study, hub=hub, organism=organism)
    runs = [(model, arm, seed) for model in own.models for arm in own.variants for seed in (0, 1)]
    members: dict[forgetting.Cluster, list[str]] = {}
    for run in runs:
        members.setdefault(forgetting.cluster_of(own, run), []).append(f"{run[1]}{run[2]}")
    of_hub = [names for ((model, _), _), names in members.items() if model == "hub"]
    assert of_hub == [["plain0", "plain1", "twin0", "twin1"], ["other0", "other1"]]  # one model in every seed
    of_organism = [names for ((model, _), _), names in members.items() if model == "organism"]
    assert of_organism == [["plain0", "twin0"], ["plain1", "twin1"], ["other0"], ["other1"]]


def world(models: int, planted: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Metrics and rates of two arms and a twin of each of several models; training twins is like training their plain arm."""
    rng = np.random.default_rng(0)
    make = courses.planted if planted else courses.common_trends
    metric, rate = make(rng, 2 * models)
    rows, rates = [], []
    for i in range(models):
        for arm, unit in (("plain", 2 * i), ("twin", 2 * i), ("other", 2 * i + 1)):
            run = (f"m{i}", arm, 0)
            rates.append((*run, 0, 20, 0, 0.0, 0.0, 1.0))
            for step in range(8):
                rows.append((*run, step + 1, "kl", "", 9, 10.0**i * metric[unit, step], 0.0, 0.0, 0.0))
                rates.append((*run, step + 1, 20, 0, rate[unit, step], 0.0, 1.0))
    return (
        pl.DataFrame(rows, schema=dict(forgetting.CHECKPOINT_TABLE), orient="row"),
        pl.DataFrame(rates, schema=dict(forgetting.CHECKPOINT_RATES), orient="row"),
    )


@pytest.mark.parametrize("planted", [True, False])
def test_a_metric_is_judged_by_what_it_adds_to_the_step(study: Study, planted: bool) -> None:
    own = followed(study, **{f"m{i}": Model(hub="a/b") for i in range(8)})
    found = forgetting.correlations_over_runs(own, forgetting.series(*world(8, planted)))
    step, kl = found.iter_rows(named=True)
    assert (kl["runs"], kl["arms"], kl["models"], kl["n"]) == (24, 2, 8, 192)
    assert min(step["r"], kl["r"]) > 0.5  # with a trend as well as without a relation
    assert step["estimate"] is None
    assert tables.is_significant(kl) == planted


def test_what_an_arm_does_in_all_models_is_no_relation(study: Study) -> None:
    """Arms differ in the size of the metric, and, whatever the metric is, in what they do to misalignment."""
    own = followed(study, **{f"m{i}": Model(hub="a/b") for i in range(8)})
    called = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        size, effect = dict(zip(own.variants, rng.normal(size=3), strict=True)), dict(zip(own.variants, rng.normal(size=3), strict=True))  # fmt: skip
        rows, rates = [], []
        for model, arm in [(model, arm) for model in own.models for arm in ("plain", "other")]:
            run, noise = (model, arm, 0), rng.normal(0, 0.3, (2, 9)).cumsum(1)
            rates += [(*run, step, 20, 0, effect[arm] * step + noise[0, step] if step else 0.0, 0.0, 1.0) for step in range(9)]  # fmt: skip
            rows += [(*run, step, "kl", "", 9, size[arm] * step + noise[1, step], 0.0, 0.0, 0.0) for step in range(1, 9)]  # fmt: skip
        found = forgetting.correlations_over_runs(
            own,
            forgetting.series(
                pl.DataFrame(rows, schema=dict(forgetting.CHECKPOINT_TABLE), orient="row"),
                pl.DataFrame(rates, schema=dict(forgetting.CHECKPOINT_RATES), orient="row"),
            ),
        )
        called += tables.is_significant(found.row(by_predicate=pl.col("metric") == "kl", named=True))
    assert called <= 5  # of 30; of clusters as units most would be


def test_courses_of_other_lengths_are_compared_at_equal_shares_of_training() -> None:
    course = forgetting.Course(*np.arange(24.0).reshape(3, 8))
    assert all(np.array_equal(a, b) for a, b in zip(course.at(8), course, strict=True))
    assert course.at(4).metric.tolist() == [9, 11, 13, 15]
    gap = forgetting.Course(course.step, course.metric, np.where(course.step == 3, np.nan, course.change))
    assert gap.known.tolist() == [True, True, True, False, True, True, True, True]
    assert gap.at(8).change.tolist() == course.change.tolist()  # between its neighbours


def test_an_early_warning_is_a_quarter_of_the_way_and_has_models_as_units(study: Study) -> None:
    own = followed(study, **{f"m{i}": Model(hub="a/b") for i in range(7)})
    rng = np.random.default_rng(0)
    arms, effect, early = list(own.variants), rng.normal(size=(7, 3)), rng.normal(size=(7, 3))
    metric, rates = [], []
    for i, j in np.ndindex(7, 3):
        final = effect[i, j] + 5 * j  # an arm does in all models what the metric need not know
        for seed in (0, 1):
            run = (f"m{i}", arms[j], seed)
            metric += [(*run, 0, "share", "all", 9, effect[i, j], 0.0, 0.0, 0.0)]
            metric += [(*run, step, "kl", "", 9, (effect[i, j] + early[i, j] + seed - 0.5) if step == 2 else 9.0 * i, 0.0, 0.0, 0.0) for step in range(1, 9)]  # fmt: skip
            rates += [(*run, step, 20, 0, {0: 0.1, 2: 0.1 + early[i, j], 8: 0.1 + final}.get(step, 0.3), 0.0, 1.0) for step in range(9)]  # fmt: skip
    found = forgetting.early_warnings(
        own,
        pl.DataFrame(metric, schema=dict(forgetting.CHECKPOINT_TABLE), orient="row"),
        pl.DataFrame(rates, schema=dict(forgetting.CHECKPOINT_RATES), orient="row"),
    )
    seen, share, kl = found.iter_rows(named=True)
    assert [row["metric"] for row in (seen, share, kl)] == ["seen", "share", "kl"]
    assert {(row["runs"], row["arms"], row["models"]) for row in (seen, share, kl)} == {(42, 3, 7)}
    assert share["estimate"] > 0.9 > share["r"]  # not 1, since each model has units of its own
    assert abs(seen["estimate"]) < 0.6
    assert tables.is_significant(kl)
    assert not tables.is_significant(seen)


def test_arms_that_some_models_lack_give_no_early_warning(study: Study) -> None:
    own = followed(study, a=Model(hub="a/b"), b=Model(hub="a/b"))
    rates = [(*run, step, 20, 0, 0.1 * step, 0.0, 1.0) for run in (("a", "plain", 0), ("b", "other", 0)) for step in range(9)]  # fmt: skip
    found = forgetting.early_warnings(
        own,
        pl.DataFrame(schema=dict(forgetting.CHECKPOINT_TABLE)),
        pl.DataFrame(rates, schema=dict(forgetting.CHECKPOINT_RATES), orient="row"),
    )
    assert found.select("runs", "arms", "models", "r", "estimate").rows() == [(0, 0, 2, None, None)]


@pytest.mark.parametrize("models", [5, 6])
def test_arms_are_compared_over_models_whatever_the_scale_of_their_activations(study: Study, models: int) -> None:
    """The last checkpoint counts; a hub model's seeds count once, and an organism's are models of their own."""
    (target, control), *_ = study.compared_arms
    rows = [
        {"model": "null", "variant": arm, "seed": seed, "step": step, "metric": "ras", "neurons": "all",
         "estimate": 10.0**seed * (1 if arm == control or step == 1 else 3 + seed / 10)}
        for seed in range(models) for arm in (target, control) for step in (1, 2)
    ]  # fmt: skip
    found = forgetting.arm_shifts(study, pl.DataFrame(rows)).row(0, named=True)
    ratios = np.array([3 + seed / 10 for seed in range(models)])
    assert found["estimate"] == pytest.approx(np.mean((ratios - 1) / (ratios + 1)), abs=1e-4)
    assert (found["target"], found["control"], found["models"]) == (target, control, models)
    assert tables.is_significant(found) == (models == 6)
    assert (found["p"] is None) == (models == 5)
    swapped = [{**row, "variant": control if row["variant"] == target else target} for row in rows]
    back = forgetting.arm_shifts(study, pl.DataFrame(swapped)).row(0, named=True)
    assert back["estimate"] == -found["estimate"]
    hub = study.model_copy(update={"models": {"null": Model(hub="a/b")}})
    assert forgetting.arm_shifts(hub, pl.DataFrame(rows))["models"].to_list() == [1]


def test_everything_is_drawn_and_told(study: Study, results: dict[str, pl.DataFrame]) -> None:
    material = synthetic.material(study, results)
    made = [neuron_section(material), intervention_section(material), forgetting_section(material)]
    figures = [catalogue.captioned_figures(material, section.anchor) for section in made if section]
    assert list(map(len, figures)) == [2, 1, 4]
    html = render(
        material,
        FirstScreen("", "", [], []),
        [neuron_section, intervention_section, forgetting_section],
        "",
    )
    told_of = (
        "0 of 64 in ", "fewer than 1: not followed", "none (shown without a claim: 2 random sets, 19 are needed)",
        "malicious intent spelled out",
    )  # fmt: skip
    for words in told_of:
        assert words in html
    told = forgetting_section(material)
    assert told is not None
    assert "beyond the step: nothing is claimed of 18 with 2 models, since a claim takes 6." in told.text[0]
    assert "log(step) in each: no claim, which needs 6 models." in told.text[2]
    drawn = {name: drawing.svg for name, drawing in material.drawings.items()}
    for name, text in {**drawn, "report": html}.items():
        places = [text[max(0, m.start() - 200) : m.end() + 50] for m in re.finditer(r"\bnan\b", text, re.I)]
        assert not places, name


def test_no_neurons_anywhere_is_said_and_drawn_as_nothing(study: Study) -> None:
    empty = {table.name: pl.DataFrame(schema=dict(table.contract)) for table in TABLES["summarize_forgetting"]}
    drawn = catalogue.charts(catalogue.FIGURES, empty, names_of(study))
    assert len(drawn) == 7
    assert all(catalogue.interactive(chart) is None for chart in drawn.values())
    section = intervention_section(Material(study, empty, {}, pl.DataFrame()))
    assert section is not None
    assert section.text == ["No set of neurons was found to zero."]


def test_a_study_without_the_analysis_has_no_such_sections(study: Study) -> None:
    material = Material(study.model_copy(update={"forgetting": None}), {}, {}, pl.DataFrame())
    assert [section(material) for section in (neuron_section, intervention_section, forgetting_section)] == [None] * 3


def test_the_report_says_what_survives(study: Study, results: dict[str, pl.DataFrame]) -> None:
    """What has enough models and is significant is named; what knows only the step never is."""
    rows = [
        {"metric": metric, "neurons": "", "estimate": estimate, "ci_low": low, "ci_high": 0.9, "p_holm": p, "r": 0.9, "models": models}
        for metric, estimate, low, p, models in [("log_step", None, None, None, 8), ("kl", 0.6, 0.2, 0.01, 8), ("weights", 0.6, 0.2, 0.2, 8), ("activation_l2", 0.6, 0.2, 0.01, 5)]
    ]  # fmt: skip
    over = pl.DataFrame(rows, schema_overrides={"estimate": pl.Float64}).with_columns(
        n=64, p=pl.col("p_holm"), runs=8, arms=1
    )
    section = forgetting_section(Material(study, {**results, "correlations_over_runs": over}, {}, pl.DataFrame()))
    assert section is not None
    assert (
        "beyond the step: KL divergence +0.60 [+0.20, +0.90] of 2 metrics; nothing is claimed of 1 with 5 models"
        in section.text[0]
    )
    assert "Within fine-tunes log(step) alone reaches r = +0.90." in section.text[0]
