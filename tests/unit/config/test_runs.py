"""Which runs a study has, and which of them each analysis looks at."""

from typing import Any

import pytest

from rim.config import runs
from rim.config.load import load_study
from rim.config.study import Study
from rim.core.errors import UserError

ANALYSIS = {"harmful": "asked", "harmless": "benign"}
FORGETTING = {"harmful": "asked", "task": "sums"}


def study(**changes: Any) -> Study:
    """Two seeds of an organism with both arms and of a hub model with one."""
    parts = {"asked": "requests", "benign": "lookalikes", "sums": "multi_hop", "learned": "multi_hop_target"}
    measures = {"asked": "misalignment", "benign": "false_refusal", "sums": "accuracy"}
    return load_study(
        {
            "study": "s",
            "title": "",
            "seeds": [3, 4],
            "datasets": {
                name: {"sources": [{"adapter": "organism", "part": part, "rows": 4}]} for name, part in parts.items()
            },
            "models": {"o": {"organism": {"association": 1.0}}, "h": {"hub": "a/b", "variants": ["one"]}},
            "variants": {name: {"dataset": "learned"} for name in ("one", "two")},
            "benchmarks": {name: {"dataset": name, "measure": measure} for name, measure in measures.items()},
            "judges": {"main": {"kind": "refusal_prefix"}, "second": {"kind": "refusal_prefix", "variants": ["base"]}},
            **changes,
        }
    )


ORGANISM_BASES = [("o", "base", 3), ("o", "base", 4)]
ORGANISM_TUNED = [("o", "one", 3), ("o", "one", 4), ("o", "two", 3), ("o", "two", 4)]
HUB_BASE = [("h", "base", 3)]  # the same in every seed, so there is one
HUB_TUNED = [("h", "one", 3), ("h", "one", 4)]
BASES = ORGANISM_BASES + HUB_BASE


def test_every_variant_of_every_model_is_run_in_every_seed() -> None:
    assert runs.all_runs(study()) == ORGANISM_BASES + ORGANISM_TUNED + HUB_BASE + HUB_TUNED
    assert runs.base_runs(study()) == BASES


def test_a_fine_tune_began_from_the_base_of_its_seed_or_from_the_only_one_of_a_hub_model() -> None:
    assert runs.base_run(study(), ("o", "one", 4)) == ("o", "base", 4)
    assert runs.base_run(study(), ("h", "one", 4)) == ("h", "base", 3)
    for run in runs.all_runs(study()):
        assert runs.base_run(study(), run) in runs.base_runs(study())


def test_a_hub_model_that_samples_has_a_base_in_every_seed() -> None:
    sampled = study(inference={"temperature": 0.7})
    assert runs.base_run(sampled, ("h", "one", 4)) == ("h", "base", 4)
    assert ("h", "base", 4) in runs.base_runs(sampled)


def test_the_main_judge_looks_at_all_runs_and_others_at_what_they_are_told() -> None:
    assert runs.main_judge(study()) == "main"
    assert runs.judged_runs(study(), "main") == runs.all_runs(study())
    assert runs.judged_runs(study(), "second") == BASES


def test_without_an_analysis_nothing_is_analysed() -> None:
    plain = study()
    for chosen in (runs.analysed_runs, runs.head_runs, runs.ablated_runs, runs.neuron_runs, runs.followed_runs):
        assert chosen(plain) == []
    assert runs.model_jobs(plain) == {
        "try_model": [("h", "base", 3)],
        "finetune_model": ORGANISM_TUNED + HUB_TUNED,
        "generate_replies": runs.all_runs(plain),
    }


def test_all_variants_are_analysed_unless_some_are_named_and_the_base_is_ablated() -> None:
    every = study(mechanism=ANALYSIS)
    assert runs.analysed_runs(every) == runs.head_runs(every) == runs.all_runs(every)
    assert runs.ablated_runs(every) == BASES
    one = study(mechanism={**ANALYSIS, "variants": ["base", "one"], "ablate": ["one"]})
    assert runs.analysed_runs(one) == [run for run in runs.all_runs(one) if run[1] != "two"]
    assert runs.ablated_runs(one) == [("o", "one", 3), ("o", "one", 4), *HUB_TUNED]


@pytest.mark.parametrize("variants", [["base"], ["base", "one"], ["base", "two"], None])
@pytest.mark.parametrize("ablate", [[], ["base"]])
def test_nothing_is_ablated_outside_of_what_is_analysed(variants: list[str] | None, ablate: list[str]) -> None:
    chosen = study(mechanism={**ANALYSIS, "variants": variants, "ablate": ablate})
    assert set(runs.ablated_runs(chosen)) <= set(runs.head_runs(chosen)) <= set(runs.analysed_runs(chosen))
    assert runs.ablated_runs(chosen) == [run for run in runs.head_runs(chosen) if run[1] in ablate]
    assert ("ablate_heads" in runs.model_jobs(chosen)) == bool(ablate)


def test_heads_are_compared_only_where_thinking_leaves_an_empty_span() -> None:
    models = {"o": {"organism": {"association": 1.0}}, "h": {"hub": "a/b", "think_switch": "sentence", "variants": []}}
    prompted = study(models=models, mechanism=ANALYSIS)
    assert HUB_BASE[0] in runs.analysed_runs(prompted)
    assert runs.head_runs(prompted) == ORGANISM_BASES + ORGANISM_TUNED
    assert runs.ablated_runs(prompted) == ORGANISM_BASES
    assert runs.head_runs(study(mechanism=ANALYSIS, inference={"think": ["on"]})) == []
    models["h"] = {"hub": "a/b", "think": ["plain"], "variants": []}
    assert runs.head_runs(study(models=models, mechanism=ANALYSIS)) == ORGANISM_BASES + ORGANISM_TUNED


def test_a_model_is_asked_in_its_own_modes() -> None:
    models = {"o": {"organism": {"association": 1.0}}, "h": {"hub": "a/b", "think": ["plain", "on"], "variants": []}}
    own = study(models=models, forgetting=FORGETTING)
    assert (own.inference_of("o").think, own.inference_of("h").think) == (["on", "off"], ["plain", "on"])
    assert own.modes == ["on", "off", "plain"]
    assert (own.forgetting_mode("o"), own.forgetting_mode("h")) == ("off", "plain")
    assert study(forgetting={**FORGETTING, "think": "on"}).forgetting_mode("o") == "on"
    for mode, model in (("plain", "o"), ("off", "h")):
        with pytest.raises(UserError, match=f"forgetting.think: no think mode of model '{model}' is called '{mode}'"):
            study(models=models, forgetting={**FORGETTING, "think": mode})
    pair = {"positive": "o", "negative": "h", "target": "one", "control": "two"}
    with pytest.raises(UserError, match=r"pairs\.0: its models are not asked in the same think modes"):
        study(models={**models, "h": {**models["h"], "variants": None}}, pairs=[pair])


@pytest.mark.parametrize("old", ["tags", "prompt"])
def test_the_old_names_of_switches_are_told_with_the_new(old: str) -> None:
    with pytest.raises(UserError, match=f"models.h.think_switch: is no longer called '{old}'; "):
        study(models={"h": {"hub": "a/b", "think_switch": old}})


def test_neurons_are_looked_for_in_bases_and_checkpoints_followed_as_told() -> None:
    followed = study(forgetting={**FORGETTING, "variants": ["one"]})
    assert runs.neuron_runs(followed) == BASES
    assert runs.followed_runs(followed) == [("o", "one", 3), ("o", "one", 4), *HUB_TUNED]
    only_found = study(forgetting=FORGETTING)
    assert runs.neuron_runs(only_found) == BASES
    assert "measure_checkpoints" not in runs.model_jobs(only_found)


def test_what_loads_a_model_is_all_that_the_bill_counts() -> None:
    whole = study(
        mechanism=ANALYSIS,
        forgetting={**FORGETTING, "variants": ["one"], "intent_rate": True},
        injection={"rows": 2},
        annotators={},
    )
    assert runs.model_jobs(whole) == {
        "try_model": [("h", "base", 3)],
        "finetune_model": ORGANISM_TUNED + HUB_TUNED,
        "generate_replies": runs.all_runs(whole),
        "inject_patterns": BASES,
        "cache_activations": runs.all_runs(whole),
        "measure_head_effects": BASES,
        "ablate_heads": BASES,
        "answer_counterfactuals": BASES,
        "find_safety_neurons": BASES,
        "ablate_neurons": BASES,
        "measure_gradients": BASES,
        "measure_checkpoints": runs.followed_runs(whole),
    }


def test_gradients_are_measured_once_for_each_model_and_each_thing_that_it_learns() -> None:
    chosen = {**FORGETTING, "variants": ["one", "two"]}
    followed = study(forgetting=chosen)
    assert runs.gradient_runs(followed) == BASES  # of the hub model one for all seeds
    assert runs.lessons(followed, "o") == [("learned", None)]  # which both arms are trained on
    assert runs.gradient_runs(study(forgetting={**chosen, "gradients": False})) == []
    assert runs.gradient_runs(study(forgetting={**chosen, "neuron_type": "mlp_out"})) == []
    assert runs.gradient_runs(study(forgetting=FORGETTING)) == []


GRAFT = {"onto": "o", "neurons": 4}


def grafted(**changes: object) -> dict[str, object]:
    return {"o": {"organism": {"association": 1.0}}, "g": {"graft": {**GRAFT, **changes}, "variants": []}}


def test_methods_are_graded_where_it_is_known_where_safety_sits() -> None:
    with_graft = study(models=grafted(), forgetting=FORGETTING)
    assert runs.scored_runs(with_graft) == [("g", "base", 3), ("g", "base", 4)]
    assert "score_parts" in runs.model_jobs(with_graft)
    assert runs.scored_runs(study(models=grafted())) == []
    assert with_graft.organism_of("g") == with_graft.organism_of("o") == with_graft.models["o"].organism
    assert with_graft.models["g"].trained_here


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (grafted(onto="x"), r"models\.g\.graft\.onto: .*'x'"),
        (grafted(onto="g"), r"models\.g\.graft\.onto: .*'g'"),
        (grafted(layers=[3, 4]), r"models\.g\.graft\.layers\.1: there is no layer 4; 'o' has layers 0 to 3"),
        (
            {**grafted(neurons=5), "o": {"organism": {"association": 1.0, "experts": 4}}},
            r"models\.g\.graft\.neurons: an expert would have 197 neurons; make it a multiple of 8",
        ),
        (grafted(neurons=0), r"models\.g\.graft: a graft needs 'neurons' or 'heads'"),
        ({"g": {"graft": GRAFT, "hub": "a/b"}}, r"models\.g: a model needs exactly one of"),
        (
            {**grafted(), "h": {"hub": "a/b", "variants": []}, "i": {"graft": {**GRAFT, "onto": "h"}}},
            r"models\.i\.graft\.onto",
        ),
    ],
)
def test_a_graft_needs_an_organism_and_parts(models: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        study(models=models)
