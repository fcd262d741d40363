"""Result tables of full size with made-up numbers, for any study: what the report must be able to show."""

from itertools import chain, product
from typing import Any

import numpy as np
import polars as pl

from rim.analysis.metrics import TITLES
from rim.config.runs import scored_runs
from rim.config.study import Study
from rim.core.conditions import NOTHING_DONE
from rim.report.figures.catalogue import charts, figures_of_study, interactive
from rim.report.figures.style import as_svg
from rim.report.labels import names_of
from rim.report.page import Drawing, Material
from rim.results import tables
from rim.results.catalogue import TABLES, tables_of
from rim.results.forgetting import LOG_STEP
from rim.settings.common import BASE
from rim.settings.models import Graft, Model

Keys = list[dict[str, Any]]
CONTRACTS = {table.name: table.contract for table in chain(*TABLES.values())}
CHANGES = (
    "think_effects",
    "finetune_effects",
    "pair_effects",
    "dose_effects",
    "category_effects",
    "injection_effects",
    "ablation_effects",
    "neuron_effects",
)
COUNTS = {"n": 300, "incomplete": 3, "incoherent": 1, "errors": 1}


def combined(**choices: Any) -> Keys:
    """One mapping for every combination of values."""
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


def filled(name: str, keys: Keys, effect: float) -> pl.DataFrame:
    """A table with these keys and made-up values; changes lie around `effect`."""
    rng = np.random.default_rng(len(name))
    contract = CONTRACTS[name]
    centre, spread = (effect, 0.01) if name in CHANGES else (0.5, 0.3)
    if not keys:
        return pl.DataFrame(schema=dict(contract))
    columns: dict[str, Any] = {key: [row[key] for row in keys] for key in keys[0]}
    for column, kind in contract.items():
        if column in columns:
            continue
        if column == "estimate":
            columns[column] = rng.uniform(centre - spread, centre + spread, len(keys))
        elif kind is pl.Float64:
            columns[column] = rng.uniform(0.0, 0.9, len(keys))
        elif kind is pl.Int64:
            columns[column] = [COUNTS.get(column, 9)] * len(keys)
        elif kind is pl.Boolean:
            columns[column] = rng.random(len(keys)) < 0.1
        else:
            columns[column] = [(contract.columns[column].values or ("",))[0]] * len(keys)
    if "ci_low" in contract and "estimate" in contract:
        columns["ci_low"], columns["ci_high"] = columns["estimate"] - 0.04, columns["estimate"] + 0.04
    if "bound_low" in contract and "estimate" in contract:
        columns["bound_low"], columns["bound_high"] = columns["estimate"] - 0.01, columns["estimate"] + 0.01
    if name == "heads":  # attention shifts in few of them
        columns["share"] *= columns["found"]
    if "p_holm" in contract:
        columns["p"] = np.full(len(keys), 1e-6 if effect else 0.9)
        columns["p_holm"] = np.full(len(keys), 0.001 if effect else 0.9)
    return tables.rounded(pl.DataFrame(columns, schema_overrides=dict(contract)).select(list(contract)))


def _replies(study: Study, seeds: list[str]) -> dict[str, Keys]:
    """Keys of the tables on replies."""
    arms = [(model, variant) for model in study.models for variant in study.variants_of(model)]
    measured = [(benchmark.measure, name) for name, benchmark in study.benchmarks.items()]
    d_prime = [("d_prime", "")]
    bases = [(model, BASE) for model in study.models]

    def rows(pairs: list[tuple[str, str]], what: list[tuple[str, str]], think: list[str] | None) -> Keys:
        found = combined(pair=pairs, what=what, think=think or [""], seed=seeds)
        once = [pair for pair in pairs if len(study.seeds_of(*pair)) == 1]
        found = [row for row in found if row["pair"] not in once or row["seed"] == seeds[0]]
        return [
            {"model": row["pair"][0], "variant": row["pair"][1], **({"think": row["think"]} if think else {}),
             "measure": row["what"][0], "benchmark": row["what"][1], "seed": row["seed"]}
            for row in found
        ]  # fmt: skip

    mitigated = [(model, variant) for model, variant in arms if study.plain_of(variant)]
    modes = list(study.inference.think)
    both = len(modes) == 2
    pairs = [{"positive": pair.positive, "negative": pair.negative, **row} for pair in study.pairs
             for row in combined(contrast=["positive", "negative", "difference"], think=modes, measure=["misalignment"], benchmark=study.measured("misalignment")[:1], seed=seeds)]  # fmt: skip
    return {
        "finetunes": [{"model": model, "variant": variant, "seed": seed} for model, variant in arms for seed in study.seeds],
        "rates": rows(bases + arms, measured + d_prime, modes),
        "think_effects": rows(bases + arms, measured, None) if both else [],
        "finetune_effects": rows(arms, measured, modes),
        "mitigation_effects": [{**row, "plain": study.plain_of(row["variant"])} for row in rows(mitigated, measured, modes)],
        "pair_effects": pairs,
        "dose_effects": [{**row, "control": study.doses[row["variant"]][0], "share": study.doses[row["variant"]][1]}
                         for row in rows([arm for arm in arms if arm[1] in study.doses], measured, modes)],
        "category_effects": [{**row, "contrast": "fine-tuning", "category": category}
                             for row in rows(arms, measured[:1], modes) for category in ("first", "second", "third")],
        "thought_lengths": [{**row, "seed": seeds[0]} for row in combined(model=list(study.models), variant=list(study.variants), benchmark=study.measured("misalignment"))],
        "threshold_sweep": [{**row, "judge": next(iter(study.judges)), "text": "response", "threshold": at}
                            for row in combined(model=list(study.models), variant=[BASE, *study.variants], think=modes) for at in (2, 3, 4, 5)],
        "judge_agreement": [],
        "judge_wordings": [{**row, "judges": "a, b"} for row in combined(model=list(study.models), variant=[BASE], think=modes)],
    }  # fmt: skip


def _insides(study: Study, layers: int, heads: int) -> dict[str, Keys]:
    """Keys of the tables on activations, heads and neurons."""
    models, arms = list(study.models), [BASE, *study.variants]
    modes = list(study.inference.think)
    harmful, harmless = study.measured("misalignment")[0], study.measured("false_refusal")[0]
    cells = combined(
        model=models,
        variant=arms,
        seed=[0],
        think=modes,
        layer=range(layers),
        position=["turn_end", "assistant", "inner", "last"],
    )
    tags = [name for name, model in study.models.items() if model.think_switch == "template"]
    sets = {"target": "refusal_heads", "intervention": "zero", "heads": "L1H2"}
    ablated = [
        {"intervention": "zero", "target": "refusal_heads", "kind": kind, "draw": 0} for kind in ("found", "random")
    ]
    replies = [{"measure": "misalignment", "benchmark": harmful}, {"measure": "false_refusal", "benchmark": harmless}]
    compared = [("found", "none"), ("found", "random"), ("found", "matched"), ("random", "none"), ("matched", "none")]
    return {
        "probes": [{**cell, "probe": probe} for cell in cells for probe in ("harmful", "refusal")],
        "selected_probes": combined(model=models, variant=arms, seed=[0], probe=["harmful", "refusal"], think=modes, position=["last"], layer=[1]),
        "probe_scores": [{**cell, **NOTHING_DONE.columns, "group": group} for cell in cells for group in ("refused", "fulfilled", "harmless")]
        + [{**cell, **sets_of, "step": 0, "group": group} for cell in cells if cell["variant"] == BASE and cell["think"] == "off" and cell["model"] in tags
           for group in ("refused", "fulfilled") for sets_of in ablated],
        "heads": combined(model=tags, variant=arms, seed=[0], layer=range(layers), head=range(heads)),
        "head_attention": combined(model=tags, variant=[BASE], seed=[0], heads=["all", "L1H2"], think=["on", "off"], position=["assistant", "last"], what=["weight", "largest"]),
        "head_effects": combined(model=tags, variant=[BASE], seed=[0], layer=range(layers), head=range(heads), group=["harmful", "harmless"]),
        "ablation_effects": [{"model": model, "variant": BASE, "seed": 0, **sets, "kind": kind, "draw": 0, "against": against, "think": think, **reply}
                             for model in tags for think in modes for reply in replies for kind, against in compared if "matched" not in kind + against],
        "neuron_layers": combined(model=models, seed=[0], layer=range(layers)),
        "neuron_stability": [{**row, "chosen": row["threshold"] == 0.9} for row in combined(model=models, seed=[0], threshold=[0.5, 0.7, 0.9, 1.0])],
        "intent_rates": combined(model=models, seed=[0], think=modes, added=["nothing", "intent", "placebo"]),
        "neuron_effects": [{"model": model, "seed": 0, "kind": kind, "draw": 0, "against": against, **reply} for model in models for reply in replies for kind, against in compared],
        "neuron_effect_summary": combined(measure=["misalignment", "accuracy"], kind=["found", "random", "matched"]),
    }  # fmt: skip


def _course(study: Study) -> dict[str, Keys]:
    """Keys of the tables on forgetting over training."""
    followed = study.forgetting.variants if study.forgetting else []
    runs = [
        {"model": model, "variant": variant, "seed": seed}
        for model in study.models
        for variant in followed
        if variant in study.variants_of(model)
        for seed in study.seeds
    ]
    metrics = [{"metric": LOG_STEP, "neurons": ""}] + [
        {"metric": name, "neurons": neurons}
        for name in TITLES
        for neurons in (
            ("safety", "random", "all") if name.startswith(("ras", "arith", "geom", "min", "delta")) else ("",)
        )
    ]
    return {
        "checkpoints": [{**run, **metric, "step": step} for run in runs for metric in metrics[1:] for step in range(80, 720, 80)],
        "checkpoint_rates": [{**run, "step": step} for run in runs for step in range(0, 720, 80)],
        "arm_shifts": [{"target": target, "control": control, "neurons": neurons} for target, control in study.compared_arms for neurons in ("safety", "random", "all")],
        "correlations": [{**run, **metric} for run in runs for metric in metrics],
        "correlations_over_runs": metrics,
        "early_warnings": metrics,
        "forgetting_predictions": [{"model": model, "seed": study.seeds[0], **metric} for model in study.models for metric in metrics[1:]],
    }  # fmt: skip


def with_graft(study: Study) -> Study:
    """The same study with an organism in which it is known where safety sits."""
    graft = Model(graft=Graft(onto=next(iter(study.models)), neurons=2), variants=[])
    return study.model_copy(update={"models": {**study.models, "grafted": graft}})


def synthetic(study: Study, effect: float = 0.2, layers: int = 36, heads: int = 32) -> dict[str, pl.DataFrame]:
    """All tables that a study has; with an `effect` of 0 nothing is significant."""
    seeds = [str(seed) for seed in study.seeds] + (["all"] if len(study.seeds) > 1 else [])
    keys = _replies(study, seeds)
    if study.has_patterns:
        statement = combined(
            model=list(study.models),
            pattern=["heuristic", "confirmatory", "deviation"],
            benchmark=study.measured("misalignment")[:1],
            seed=seeds,
        )
        shares = combined(annotator=list(study.annotators), origin=list(study.models), benchmark=list(study.benchmarks), think=list(study.inference.think), source=["cot", "response"],
                          pattern=["confirmatory", "heuristic", "deviation", "any"])  # fmt: skip
        keys["checklist_items"] = [
            {**{k: v for k, v in row.items() if k != "pattern"}, "item": "copying"}
            for row in shares
            if row["pattern"] == "any"
        ]
        keys |= {"pattern_shares": shares, "annotator_agreement": [], "arm_divergence": [], "rewrite_outcomes": []}
        keys["injection_effects"] = statement if study.injection else []
    if study.mechanism or study.forgetting:
        keys |= _insides(study, layers, heads)
    if study.forgetting:
        keys |= _course(study)
    models = [model for model, *_ in scored_runs(study)]
    keys["method_grades"] = combined(
        model=models, teaches=["alignment"], part=["neuron", "head"], method=["zeroing"], measure=["area", "found"]
    )
    keys["claim_verdicts"] = combined(claim=["one", "another"], model=list(study.models), refusal_in=["not trained"])
    wanted = chain(*tables_of(study).values())
    return {table.name: filled(table.name, keys[table.name], effect) for table in wanted}


def material(study: Study, found: dict[str, pl.DataFrame]) -> Material:
    """What the report is made of, with every figure drawn."""
    drawn = {
        name: Drawing(as_svg(chart), interactive(chart))
        for name, chart in charts(figures_of_study(study), found, names_of(study)).items()
    }
    return Material(study, found, drawn, pl.DataFrame())
