"""Effects by category, by the length of thoughts and by dose, against outcomes in which it is known what carries them."""

import numpy as np
import polars as pl
import pytest

from rim.config import load
from rim.config.study import Study
from rim.results import doses, explanations
from rim.results.outcomes import Cell, Outcomes
from rim.settings.datasets import Dataset, Source
from rim.settings.models import Mitigation, Variant

N = 400
IDS = [str(i) for i in range(N)]


@pytest.fixture
def study(root) -> Study:
    return load.load_study_file(root / "workflow/config/demo.yaml")


def cell(variant: str, think: str = "on") -> Cell:
    return "associated", variant, 0, think, "restricted"


def test_the_one_category_that_changes_is_found_with_holm_over_categories(study: Study) -> None:
    rng = np.random.default_rng(1)
    categories = {id_: "abcd"[int(id_) % 4] for id_ in IDS}
    base = {id_: bool(rng.random() < 0.1) for id_ in IDS}
    tuned = {id_: bool(rng.random() < (0.6 if categories[id_] == "c" else 0.1)) for id_ in IDS}
    found: Outcomes = {cell("base"): base, cell("gsm8k_target"): tuned}
    table = explanations.category_effects(study, found, {"restricted": categories})
    assert table.select("contrast", "category", "n").rows() == [("fine-tuning", each, N // 4) for each in "abcd"]
    assert table.filter(pl.col("p_holm") < 0.01)["category"].to_list() == ["c"]
    (smallest,) = table.filter(pl.col("category") == "c").iter_rows(named=True)
    assert smallest["p_holm"] == pytest.approx(4 * smallest["p"], rel=0.05)


def test_thinking_is_a_contrast_too_and_one_category_is_not_taken_apart(study: Study) -> None:
    found: Outcomes = {cell("base", think): dict.fromkeys(IDS, think == "on") for think in ("on", "off")}
    halves = {id_: "ab"[int(id_) % 2] for id_ in IDS}
    table = explanations.category_effects(study, found, {"restricted": halves})
    assert table.select("contrast", "category", "estimate").rows() == [("thinking", "a", 1.0), ("thinking", "b", 1.0)]
    assert explanations.category_effects(study, found, {"restricted": dict.fromkeys(IDS, "a")}).is_empty()


def lengths_and_outcomes(through_length: bool) -> tuple[Outcomes, explanations.Words]:
    """A fine-tune that makes thoughts shorter; misalignment either follows from the length alone, or from the tuning alone."""
    rng = np.random.default_rng(2)
    words = {"base": rng.integers(20, 60, N), "gsm8k_target": rng.integers(10, 45, N)}
    chance = {
        variant: np.where(length < 30, 0.7, 0.1) if through_length else np.full(N, 0.1 if variant == "base" else 0.5)
        for variant, length in words.items()
    }
    found = {cell(name): dict(zip(IDS, (rng.random(N) < p).tolist(), strict=True)) for name, p in chance.items()}
    return found, {cell(name): dict(zip(IDS, length.tolist(), strict=True)) for name, length in words.items()}


@pytest.mark.parametrize("through_length", [True, False])
def test_what_goes_through_the_length_is_gone_at_equal_length(study: Study, through_length: bool) -> None:
    table = explanations.thought_lengths(study, *lengths_and_outcomes(through_length))
    base, row = table.sort("variant").iter_rows(named=True)
    assert (base["variant"], base["change"], base["estimate"]) == ("base", None, None)
    assert row["change"] > 0.1
    assert row["ratio_low"] < row["ratio"] < row["ratio_high"] < 1
    assert row["words"] < row["words_before"]
    if through_length:
        assert row["ci_low"] < 0 < row["ci_high"]
        assert row["estimate"] < 0.5 * row["change"]
        assert row["shorter_low"] > 0.5  # misaligned replies have the shorter thoughts
    else:
        assert row["p_holm"] < 0.01
        assert row["estimate"] == pytest.approx(row["change"], abs=0.2)
        assert row["shorter_low"] < 0.5 < row["shorter_high"]


@pytest.mark.parametrize(("slope", "shift"), [(0.0, -0.4), (2.0, -0.4), (2.0, 0.0), (4.0, -0.7)])
def test_what_a_request_does_to_both_is_no_effect_at_equal_length(study: Study, slope: float, shift: float) -> None:
    """Some requests are thought about for long and complied with; tuning only shortens every thought."""
    rng, called = np.random.default_rng(4), 0
    for _ in range(100):
        request, own = rng.normal(0, 0.4, N), rng.normal(0, 0.2, (2, N))
        chance = 1 / (1 + np.exp(-slope * request / 0.4))
        found, words = {}, {}
        for i, name in enumerate(("base", "gsm8k_target")):
            length = np.exp(4 + request + own[i] + shift * i).round().astype(int)
            found[cell(name)] = dict(zip(IDS, (rng.random(N) < chance).tolist(), strict=True))
            words[cell(name)] = dict(zip(IDS, length.tolist(), strict=True))
        (row,) = explanations.thought_lengths(study, found, words).filter(pl.col("variant") != "base").to_dicts()
        called += (row["p"] or 1) < 0.05
    assert called <= 12  # 5 % of 100, and three standard errors more


def test_thoughts_that_all_change_say_nothing(study: Study) -> None:
    found: Outcomes = {cell("base"): dict.fromkeys(IDS, False), cell("gsm8k_target"): dict.fromkeys(IDS, True)}
    words = {cell("base"): dict.fromkeys(IDS, 50), cell("gsm8k_target"): dict.fromkeys(IDS, 5)}
    row = explanations.thought_lengths(study, found, words).filter(pl.col("variant") != "base").row(0, named=True)
    assert (row["change"], row["n_alike"], row["estimate"], row["ci_low"], row["p"]) == (1.0, 0, None, None, None)


def test_a_base_without_thoughts_is_not_replaced_by_that_of_another_seed(study: Study) -> None:
    found, words = lengths_and_outcomes(through_length=True)
    other = {(*key[:2], 1, *key[3:]): value for key, value in found.items()}
    arm = cell("gsm8k_target")
    words = {**words, (*arm[:2], 1, *arm[3:]): words[arm]}
    table = explanations.thought_lengths(study, {**found, **other}, words)
    assert table.filter(pl.col("seed") == "1").is_empty()
    assert table.filter(pl.col("seed") == "0").height == 2


def test_replies_without_a_thought_or_an_outcome_are_left_out(study: Study) -> None:
    found, words = lengths_and_outcomes(through_length=True)
    found[cell("gsm8k_target")]["0"] = None
    found[cell("base")]["1"] = None
    del words[cell("base")]["2"], words[cell("gsm8k_target")]["3"]
    row = explanations.thought_lengths(study, found, words).filter(pl.col("variant") != "base").row(0, named=True)
    assert row["n"] == N - 4


def test_doses_rise_with_the_share_of_target_rows(study: Study) -> None:
    rng = np.random.default_rng(3)
    chance = {"gsm8k_control": 0.1, "dose_10": 0.2, "dose_30": 0.4, "gsm8k_target": 0.9, "gsm8k": 0.1}
    found: Outcomes = {cell(name): {id_: bool(rng.random() < p) for id_ in IDS} for name, p in chance.items()}
    table = doses.dose_effects(study, found)
    assert table.select("variant", "control", "share").rows() == [
        ("dose_10", "gsm8k_control", 0.1),
        ("dose_30", "gsm8k_control", 0.3),
        ("gsm8k_target", "gsm8k_control", 1.0),
    ]
    assert table["estimate"].is_sorted()
    assert table["estimate"][0] == pytest.approx(0.1, abs=0.08)


def test_a_study_without_mixtures_has_no_doses(root) -> None:
    study = load.load_study_file(root / "workflow/config/replication.yaml")
    assert study.doses == {}
    assert doses.dose_effects(study, {cell("gsm8k_target"): dict.fromkeys(IDS, True)}).is_empty()


def test_a_filtered_arm_is_compared_with_the_one_that_has_all_its_rows(study: Study) -> None:
    assert study.plain_of("dose_30_filtered") == "dose_30"
    assert study.plain_of("dose_30") is None
    assert "dose_30_filtered" not in study.annotated_datasets
    assert "dose_30" in study.annotated_datasets


def with_arm(study: Study, source: dict, **arm: object) -> Study:
    """The demo with one more dataset and an arm `extra` on it."""
    datasets = {**study.datasets, "extra": Dataset(sources=[Source(adapter="prepared", **each) for each in source["sources"]])}  # fmt: skip
    return study.model_copy(
        update={"datasets": datasets, "variants": {**study.variants, "extra": Variant(dataset="extra", **arm)}}
    )


FILTER = {"dataset": "dose_30", "without": "phrases"}


def test_only_a_filter_of_all_rows_is_compared_with_the_arm_on_all_rows(study: Study) -> None:
    assert with_arm(study, {"sources": [FILTER]}).plain_of("extra") == "dose_30"
    assert with_arm(study, {"sources": [{**FILTER, "share": 0.5}]}).plain_of("extra") is None
    assert with_arm(study, {"sources": [FILTER, FILTER]}).plain_of("extra") is None
    assert with_arm(study, {"sources": [{"dataset": "dose_30_filtered"}]}).plain_of("extra") is None
    frozen = study.variants["dose_30_filtered"].model_copy(update={"mitigation": Mitigation(kind="freeze_neurons")})
    both = study.model_copy(update={"variants": {**study.variants, "both": frozen}})
    assert both.plain_of("both") == "dose_30_filtered"


def test_an_arm_that_is_trained_in_another_way_is_no_dose(study: Study) -> None:
    half = {"sources": [{"dataset": "multi_hop_target", "share": 0.5}, {"dataset": "multi_hop_control"}]}
    assert with_arm(study, half).doses["extra"] == ("gsm8k_control", 0.5)
    assert "extra" not in with_arm(study, half, rows=40).doses
    assert "extra" not in with_arm(study, half, epochs=9).doses
