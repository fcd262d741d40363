"""Which claims are counted as borne out, on tables with known rows."""

from pathlib import Path

import polars as pl
import pytest

from rim.config import load
from rim.config.study import Study
from rim.results.verdicts import CLAIMS, TABLES_READ, claim_verdicts
from rim.settings.models import Graft, Model, Organism

BORNE_OUT = {"estimate": 0.2, "ci_low": 0.1, "ci_high": 0.3, "p_holm": 0.01}
FALLS = {"estimate": -0.2, "ci_low": -0.3, "ci_high": -0.1, "p_holm": 0.01}
UNCLEAR = {"estimate": 0.2, "ci_low": -0.1, "ci_high": 0.3, "p_holm": 0.4}
UNTESTED = {"estimate": 0.2, "ci_low": 0.1, "ci_high": 0.3, "p_holm": None}
MODELS = {
    "pretrained": Model(organism=Organism(association=1.0, align_steps=0)),
    "aligned": Model(organism=Organism(association=1.0)),
    "in_neurons": Model(graft=Graft(onto="pretrained", neurons=2)),
    "in_heads": Model(graft=Graft(onto="pretrained", heads=1)),
    "in_both": Model(graft=Graft(onto="pretrained", heads=1, neurons=2)),
    "harmless": Model(graft=Graft(onto="aligned", neurons=2, teaches="sign_off")),
    "from_the_hub": Model(hub="lab/model"),
}
PLACES = {
    "pretrained": "not trained",
    "aligned": "all weights",
    "in_neurons": "new neurons",
    "in_heads": "new heads",
    "in_both": "new neurons and heads",
    "harmless": "all weights",
}


@pytest.fixture(scope="module")
def study(root: Path) -> Study:
    demo = load.load_study_file(root / "workflow/config/demo.yaml")
    return demo.model_copy(update={"models": MODELS, "seeds": [1, 2, 3]})


Row = tuple[str, str, dict[str, float | None]]  # model, seed, effect
WANTED = {
    "variant": "base",
    "measure": "misalignment",
    "target": "refusal_heads",
    "intervention": "zero",
    "kind": "found",
}
READ = {  # table of effects -> what it is against in the rows that a claim is about, and rows that no claim is about
    "think_effects": ("none", [{"variant": "gsm8k"}, {"measure": "false_refusal"}]),
    "ablation_effects": (
        "random",
        [{"variant": "gsm8k"}, {"measure": "refusal"}, {"target": "other"}, {"intervention": "mean"}, {"kind": "random"}, {"against": "none"}],
    ),
    "neuron_effects": ("matched", [{"measure": "refusal"}, {"kind": "random"}, {"against": "none"}, {"against": "random"}]),
}  # fmt: skip


def effects(name: str, rows: list[Row]) -> pl.DataFrame:
    """A table of effects with these rows, and with significant ones of another kind around them."""
    against, others = READ[name]
    wanted = [{**WANTED, "against": against, "model": model, "seed": seed, **effect} for model, seed, effect in rows]
    around = [{**WANTED, "against": against, "model": "aligned", "seed": "3", **BORNE_OUT, **other} for other in others]
    table = pl.DataFrame(wanted + around, infer_schema_length=None)
    return table if name == "think_effects" else table.with_columns(pl.col("seed").cast(pl.Int64))


def every_table(rows: list[Row]) -> dict[str, pl.DataFrame]:
    return {name: effects(name, rows) for name in READ}


def supported(table: pl.DataFrame, claim: str) -> dict[str, int]:
    return dict(table.filter(claim=claim).select("model", "supported").iter_rows())


def test_only_significant_rises_of_the_claimed_kind_count(study: Study) -> None:
    rows = [
        ("in_neurons", "1", BORNE_OUT),
        ("in_neurons", "1", BORNE_OUT),  # in another mode: the organism counts once
        ("in_neurons", "2", UNCLEAR),
        ("in_neurons", "3", BORNE_OUT),
        ("in_heads", "1", FALLS),
        ("in_heads", "2", UNTESTED),
    ]
    table = claim_verdicts(study, every_table(rows))
    for claim in (
        "thinking raises",
        "ablating these raises it more than random",
        "ablating these raises it more than matched",
    ):
        (text,) = [each.text for each in CLAIMS if each.text.startswith(claim)]
        assert supported(table, text) == dict.fromkeys(PLACES, 0) | {"in_neurons": 2}
    row = table.filter(model="in_neurons", supported=2).row(0, named=True)
    assert row["organisms"] == row["tested"] == 3
    assert row["estimate"] == pytest.approx(2 / 3, abs=1e-6)
    assert 0 < row["ci_low"] < 2 / 3 < row["ci_high"] < 1


def test_what_could_not_be_tested_is_told_from_what_is_not_borne_out(study: Study) -> None:
    rows = [("in_heads", "1", FALLS), ("in_heads", "2", UNTESTED), ("in_neurons", "1", UNTESTED)]
    table = claim_verdicts(study, every_table(rows))
    for (text,), own in table.group_by("claim"):
        tested = dict(own.select("model", "tested").iter_rows())
        about_others = text == "ablating heads of the largest exact effect does"  # no row is about these
        assert tested == dict.fromkeys(PLACES, 0) | {"in_heads": 0 if about_others else 1}
        untested = own.filter(pl.col("tested") == 0)
        assert untested["estimate"].is_null().all()
        assert own.filter(pl.col("tested") > 0)["estimate"].to_list() == ([] if about_others else [0.0])


def test_a_probe_must_be_above_chance_not_above_nothing(study: Study) -> None:
    above, chance = {"ci_low": 0.6, "p_holm": 0.01}, {"ci_low": 0.4, "p_holm": 0.3}
    cell = {"variant": "base", "probe": "harmful", "model": "in_heads"}
    rows = [
        {**cell, "seed": 1, "think": "on", **chance},
        {**cell, "seed": 1, "think": "off", **above},
        {**cell, "seed": 2, **chance},
        {**cell, "seed": 3, "ci_low": None, "p_holm": None},
        {**cell, "seed": 3, **above, "variant": "gsm8k"},
        {**cell, "seed": 2, **above, "probe": "refusal"},
    ]
    table = claim_verdicts(study, {"selected_probes": pl.DataFrame(rows)})
    harmful, refusal = table["claim"].unique(maintain_order=True)
    counts = {claim: table.filter(claim=claim, model="in_heads").row(0, named=True) for claim in (harmful, refusal)}
    assert [(counts[claim]["tested"], counts[claim]["supported"]) for claim in (harmful, refusal)] == [(2, 1), (1, 1)]


def test_claims_on_training_and_on_statements_are_read_from_their_own_columns(study: Study) -> None:
    injected = pl.DataFrame(
        [
            {"model": "in_heads", "seed": "1", "pattern": "heuristic", **UNCLEAR},
            {"model": "in_heads", "seed": "1", "pattern": "deviation", **BORNE_OUT},
            {"model": "in_heads", "seed": "2", "pattern": "heuristic", **FALLS},
            {"model": "in_heads", "seed": "all", "pattern": "heuristic", **BORNE_OUT},
        ]
    )
    pair = {"positive": "in_neurons", "negative": "harmless", "measure": "misalignment", "seed": "1"}
    trained = pl.DataFrame(
        [
            {**pair, "contrast": "positive", **BORNE_OUT},
            {**pair, "contrast": "negative", **UNCLEAR},
            {**pair, "contrast": "difference", "seed": "2", **BORNE_OUT},
            {**pair, "contrast": "negative", "seed": "2", **BORNE_OUT, "measure": "false_refusal"},
        ]
    )
    table = claim_verdicts(study, {"injection_effects": injected, "pair_effects": trained})
    statement, training = table["claim"].unique(maintain_order=True)
    known = table.filter(pl.col("tested") > 0).select("claim", "model", "tested", "supported")
    counts = {(claim, model): (tested, held) for claim, model, tested, held in known.iter_rows()}
    assert counts == {
        (statement, "in_heads"): (2, 1),
        (training, "in_neurons"): (1, 1),
        (training, "harmless"): (1, 0),
    }


def test_rows_over_all_seeds_are_no_organism(study: Study) -> None:
    table = claim_verdicts(study, {"think_effects": effects("think_effects", [("aligned", "all", BORNE_OUT)])})
    assert table["supported"].sum() == 0


def test_found_parts_are_counted_where_there_are_enough(study: Study) -> None:
    heads = pl.DataFrame(
        {"model": "in_heads", "variant": ["base", "base", "gsm8k"], "seed": [1, 1, 2], "found": [True, False, True]}
    )
    least = study.forgetting.min_neurons
    stability = pl.DataFrame(
        {"model": "in_neurons", "seed": [1, 2, 3], "chosen": [True, True, False], "neurons": [least, least - 1, least]}
    )
    table = claim_verdicts(study, {"heads": heads, "neuron_stability": stability})
    by_shift, by_intent = table["claim"].unique(maintain_order=True)
    assert supported(table, by_shift) == dict.fromkeys(PLACES, 0) | {"in_heads": 1}
    assert supported(table, by_intent) == dict.fromkeys(PLACES, 0) | {"in_neurons": 1}


def test_where_refusal_was_trained_is_told_of_every_organism(study: Study) -> None:
    table = claim_verdicts(study, every_table([("aligned", "1", UNCLEAR)]))
    assert dict(table.select("model", "refusal_in").unique().iter_rows()) == PLACES


def test_claims_whose_tables_a_study_lacks_are_left_out(study: Study) -> None:
    every = every_table([("aligned", "1", UNCLEAR)])
    assert set(TABLES_READ) > set(every)
    for name, table in every.items():
        judged = claim_verdicts(study, {name: table})["claim"].unique()
        assert set(judged) == {claim.text for claim in CLAIMS if claim.table == name}
