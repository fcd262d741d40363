"""The report's sections on safety-critical neurons, what zeroing them does, and forgetting over training."""

from __future__ import annotations

import polars as pl

from rim.core.correlation import MIN_UNITS
from rim.report.figures.forgetting import SET_NAMES, metric_name
from rim.report.labels import arm, measure, names_of
from rim.report.page import Material, Section, Table, TableRow
from rim.report.wording import (
    BESIDE_RANDOM,
    GREY,
    MEASURES,
    Formatter,
    ResultRow,
    column,
    either_way,
    format_range,
    interval,
    listed,
    of_run,
    p_value,
    show,
    table_from_frame,
    without_claim,
)
from rim.results.forgetting import BASELINES, LOG_STEP
from rim.results.tables import is_significant


def neuron_section(material: Material) -> Section | None:
    """How many neurons were found, where, how surely, and how many of them any added sentence raises."""
    settings, curves = material.study.forgetting, material.tables.get("neuron_stability")
    if settings is None or curves is None:
        return None
    layers = material.tables["neuron_layers"]
    at_threshold = curves.filter("chosen")
    summaries, by_seed = [], of_run(material)
    for row in at_threshold.iter_rows(named=True):
        shared = f"of which the placebo raises {row['shared']} too"
        too_few = f" (fewer than {settings.min_neurons}: not followed)" if row["neurons"] < settings.min_neurons else ""
        summaries.append(f"{row['neurons']} of {row['of']} in {by_seed(row['model'], row['seed'])}, {shared}{too_few}")
    pairs = "calibration pairs" if settings.held_out else "pairs"
    text = [
        f"Neurons that rise with an added sentence of malicious intent: {listed(summaries)}.",
        f"To rise is to be among the {settings.top_share:.0%} of a layer that rise most, on at least the chosen share of {pairs}.",
        "The placebo is a sentence of equal length that says nothing of intent. A neuron that rises with it too answers to "
        "more text, and is safety-critical in name only. The paper's rule is the intersection over all pairs, 100 %.",
    ]
    header = ["model", "seed", "share of pairs", "neurons", "with the placebo", "with both", "stability: Jaccard [95 % of resamples]", "pairs"]  # fmt: skip
    rows = [
        TableRow(
            [row["model"], str(row["seed"]), show(row["threshold"], True), str(row["neurons"]), str(row["placebo"]), str(row["shared"]),
             interval(row), str(row["pairs"])],
            row["chosen"],
        )
        for row in curves.iter_rows(named=True)
    ]  # fmt: skip
    by_layer = [
        TableRow(
            [row["model"], str(row["seed"]), str(row["layer"]), str(row["neurons"]), show(row["frequency"], True), show(row["placebo"], True),
             show(row["magnitude"], False), show(row["matched"], False)],
        )
        for row in layers.iter_rows(named=True)
    ]  # fmt: skip
    layer_header = ["model", "seed", "layer", "neurons", "rise on", "with the placebo", "activation", "of matched sets"]
    tables = [
        Table("Frequency curve: neurons that rise on at least a share of the pairs. Grey: not the share that was chosen.", header, 3, rows),
        Table("Where the neurons lie; means over them. Activation is max-pooled over a request and its reply.", layer_header, 3, by_layer),
    ]  # fmt: skip
    if settings.replies == "own":
        text.append(
            "Each request is followed by the model's own reply to it, as in the paper, so what it said differs too."
        )
    tables.append(_intent_table(material.tables["intent_rates"]))
    return Section("neurons", "Safety-critical neurons", text, [table for table in tables if table.rows], finding=True)


def _intent_table(rates: pl.DataFrame) -> Table:
    """Whether the added sentences mean what they should."""
    header = ["model", "seed", "think", "added", "misalignment [95 % interval]", "change [95 % interval]", "p", "n", "incomplete"]  # fmt: skip
    rows = []
    for row in rates.iter_rows(named=True):
        change = {"estimate": row["change"], "ci_low": row["change_low"], "ci_high": row["change_high"]}
        changed = ["–", "–"] if row["change"] is None else [interval(change, True, True), p_value(row["p"])]
        cells = [row["model"], str(row["seed"]), row["think"], row["added"], interval(row, True), *changed]
        rows.append(TableRow([*cells, str(row["n"]), str(row["incomplete"])]))
    caption = (
        "The misalignment rate with malicious intent spelled out, and with the placebo. A model that sees the intent refuses "
        "more; where its rate does not fall, what it was given does not say to it what the pairs take it to say."
    )
    return Table(caption, header, 4, rows)


def intervention_section(material: Material) -> Section | None:
    """What zeroing the neurons does, against two kinds of random sets; means and medians over models."""
    effects = material.tables.get("neuron_effects")
    if effects is None or material.study.forgetting is None:
        return None
    if effects.is_empty():
        return Section(
            "neuron-effects", "Without these neurons", ["No set of neurons was found to zero."], finding=True
        )
    found = effects.filter(pl.col("kind") == "found")
    compared = found.filter((pl.col("measure") == "misalignment") & (pl.col("against") == "matched")).to_dicts()
    clear = [
        f"{of_run(material)(row['model'], row['seed'])} {interval(row, True, True)}"
        for row in compared
        if is_significant(row)
    ]
    too_few = without_claim(compared)
    where = "on the evaluation split"
    if not material.study.forgetting.held_out:
        where = "on all requests, those included by which the neurons were chosen, which flatters the effect"
    modes = dict.fromkeys(material.study.forgetting_mode(name) for name in material.study.models)
    text = [
        "Change of the misalignment rate without the safety-critical neurons, beyond that without random neurons of like "
        f"activation, where significant: {listed(clear)}{f' ({too_few})' if too_few else ''}.",
        f"Zeroed by editing the down projections, thinking {' or '.join(modes)}, {where}. Random sets have as "
        "many neurons in each layer; matched ones are also as active. A fall of accuracy or replies that cannot be parsed "
        "say that the model is damaged. Rates are shares of all replies; an incomplete one counts as unparsable only.",
        BESIDE_RANDOM,
    ]
    against = {"none": "as it is", "random": "random neurons ({} sets)", "matched": "matched neurons ({} sets)"}
    header = [
        "model",
        "seed",
        "against",
        "measure",
        "as it is",
        "change [95 % interval]",
        "p",
        "p (Holm)",
        "neurons",
        "n",
        "incomplete",
        *either_way(found),
    ]
    measured = measure(material.study)
    rows = [
        TableRow(
            [row["model"], str(row["seed"]), against[row["against"]].format(row["sets"]), measured(row), show(row["reference"], True),
             interval(row, True, True), p_value(row["p"]), p_value(row["p_holm"]), str(row["neurons"]), str(row["n"]), str(row["incomplete"]),
             *(limits(row) for limits in either_way(found).values())],
            is_significant(row),
        )
        for row in found.iter_rows(named=True)
    ]  # fmt: skip
    summary = [
        TableRow([MEASURES[row["measure"]], row["kind"], *(show(row[name], True, True) for name in ("mean", "median", "lowest", "highest")), str(row["models"])])
        for row in material.tables["neuron_effect_summary"].iter_rows(named=True)
    ]  # fmt: skip
    tables = [
        Table(f"Without the safety-critical neurons, on the same prompts, and against random sets, set by set. {GREY}", header, 4, rows),
        Table("The change over models. The published means rest on few models, so the median and the extremes stand beside them.",
              ["measure", "neurons zeroed", "mean", "median", "lowest", "highest", "models"], 2, summary),
    ]  # fmt: skip
    return Section("neuron-effects", "Without these neurons", text, tables, finding=True)


def forgetting_section(material: Material) -> Section | None:
    """RAS and its baselines over training, what they add to the step, and what they predict elsewhere."""
    over = material.tables.get("correlations_over_runs")
    if over is None or material.study.forgetting is None or not material.study.forgetting.variants:
        return None
    early = material.tables["early_warnings"]
    text = [
        f"What goes with the misalignment rate over fine-tunes beyond the step: {_survivors(over)} "
        f"{_step_alone(over)}What foretells the change at the end, before training or a quarter of the way, beyond the arm and what is "
        f"misaligned by then: {_survivors(early)}",
        "Anything that grows with training goes with anything else that does, so a metric is judged by what it adds to the step: the "
        "correlation that is left when each fine-tune's own mean and the mean of its arm in all models at the same checkpoint (any function of the "
        "step and the arm) are taken away, tested by exchanging the metric's whole courses between models (p < 0.05 after Holm, and an interval "
        "without 0). Models are what counts, since fine-tunes of one model are not independent of each other, nor are those on the same rows. "
        "So it is not asked here whether a metric tells one arm from another: of that, arms would have to be many.",
        f"In models left out, nearer than both the mean of the others and log(step) in each: {_foretold(material)}. This is a comparison "
        "without a test.",
        *_narrow(material),
    ]
    tables = [
        _over_runs(over),
        _early(material),
        _predictions(material),
        _arm_shifts(material),
        _correlation_table(material),
        _kept(material),
    ]
    return Section("forgetting", "RAS and forgetting", text, [table for table in tables if table.rows], finding=True)


def _narrow(material: Material) -> list[str]:
    """That some checkpoints were read in a type whose rounding is no small part of what is measured."""
    study = material.study
    narrow = [name for name, model in study.models.items() if model.dtype != "float32"]
    if not narrow or study.forgetting is None or study.forgetting.dtype == "float32":
        return []
    return [
        f"Checkpoints of {', '.join(narrow)} were read in the models' own type (forgetting.dtype), whose rounding alone can move RAS "
        "by a tenth or more where little was learned."
    ]


def _name(row: ResultRow) -> str:
    return metric_name(row["metric"], row["neurons"] or "")


ADDED: dict[str, Formatter] = {
    "metric": _name,
    "r": lambda row: show(row["r"], False, True),
    "beyond [95 % interval]": lambda row: interval(row, signed=True),
    "p": lambda row: p_value(row["p"]),
    "p (Holm)": lambda row: p_value(row["p_holm"]),
}


def _survivors(table: pl.DataFrame) -> str:
    """The metrics that are significant, of how many that were tested, and how many were not for want of models."""
    metrics = table.filter(~pl.col("metric").is_in(list(BASELINES)))
    tested, few = metrics.filter(pl.col("models") >= MIN_UNITS), metrics.filter(pl.col("models") < MIN_UNITS)
    names = [
        f"{_name(row)} {interval(row, signed=True)}" for row in tested.iter_rows(named=True) if is_significant(row)
    ]
    parts = [f"{'; '.join(names) or 'none'} of {len(tested)} metrics"] if len(tested) else []
    if len(few):
        parts.append(
            f"nothing is claimed of {len(few)} with {format_range(few['models'])} models, since a claim takes {MIN_UNITS}"
        )
    return "; ".join(parts) + "."


def _step_alone(over: pl.DataFrame) -> str:
    """How far the step gets by itself."""
    alone = over.filter(pl.col("metric") == LOG_STEP)["r"]
    return f"Within fine-tunes log(step) alone reaches r = {show(alone[0], False, True)}. " if len(alone) else ""


def _foretold(material: Material) -> str:
    """The metrics that do better in every model left out than what knows no metric."""
    made = material.tables["forgetting_predictions"]
    by_metric = made.group_by("metric", "neurons", maintain_order=True).agg(
        nearer=(pl.col("error") < pl.min_horizontal("reference", "step")).all(), models=pl.len()
    )
    enough = by_metric.filter(pl.col("models") >= MIN_UNITS)
    if enough.is_empty():
        return f"no claim, which needs {MIN_UNITS} models"
    names = [f"{_name(row)} ({row['models']} models)" for row in enough.filter("nearer").iter_rows(named=True)]
    return f"{'; '.join(names) or 'none'} of {len(enough)} metrics"


def _over_runs(over: pl.DataFrame) -> Table:
    columns = {
        **ADDED,
        "models": column("models"),
        "arms": column("arms"),
        "fine-tunes": column("runs"),
        "checkpoints": column("n"),
    }
    caption = (
        "Correlation with the misalignment rate over the checkpoints of all fine-tunes: r within them, and what is left beyond the step and the arm. "
        f"Fewer than {MIN_UNITS} models are shown without interval and test. {GREY}"
    )
    return table_from_frame(caption, over, 1, columns, is_significant)


def _early(material: Material) -> Table:
    columns = {
        **ADDED,
        "models": column("models"),
        "arms": column("arms"),
        "fine-tunes": column("runs"),
    }
    caption = (
        "Early warning: each metric before training or after a quarter of it, with the change of the misalignment rate at the end: r within "
        "models, and what is left beyond the arm and the misalignment so far. The baseline is that misalignment itself. Fewer than "
        f"{MIN_UNITS} models are shown without interval and test. {GREY}"
    )
    return table_from_frame(caption, material.tables["early_warnings"], 1, columns, is_significant)


def _predictions(material: Material) -> Table:
    columns = {
        "model left out": column("model"),
        "seed": column("seed"),
        "metric": _name,
        "error": lambda row: show(row["error"], True),
        "error of the mean": lambda row: show(row["reference"], True),
        "of log(step)": lambda row: show(row["step"], True),
        "of both": lambda row: show(row["both"], True),
        "checkpoints": column("n"),
    }
    caption = (
        "Mean absolute error in predicting a model's change of the misalignment rate from the other models by a line in the metric, beside "
        "their mean, a line in log(step), and a plane in log(step) and the metric. Clusters count once. Grey: no better than both the "
        "mean and log(step); no test."
    )
    data = material.tables["forgetting_predictions"]
    return table_from_frame(caption, data, 3, columns, lambda row: row["error"] < min(row["reference"], row["step"]))


def _correlation_table(material: Material) -> Table:
    columns = {
        "model": column("model"),
        "arm": arm(material.study),
        "seed": column("seed"),
        "metric": _name,
        "r [95 % interval], as published": lambda row: interval(row, signed=True),
        "p (t), as published": lambda row: p_value(row["p"]),
        "r given log(step)": lambda row: show(row["given_step"], False, True),
        "Spearman": lambda row: show(row["spearman"], False, True),
        "Kendall": lambda row: show(row["kendall"], False, True),
        "checkpoints": column("n"),
    }
    caption = (
        "As published: correlation with the misalignment rate over the checkpoints of each fine-tune. Interval and p are those of "
        "independent points, which checkpoints are not: such a p calls walks that have nothing to do with each other significant in 20 to 25 %, "
        "and trends in nearly all cases. No claim rests on it. A dash: one of the two does not change."
    )
    return table_from_frame(caption, material.tables["correlations"], 4, columns, lambda row: False)


def _arm_shifts(material: Material) -> Table:
    """Figure 7 of the paper as a test."""
    labels = names_of(material.study).arms
    columns: dict[str, Formatter] = {
        "target": lambda row: labels[row["target"]],
        "control": lambda row: labels[row["control"]],
        "neurons": lambda row: SET_NAMES[row["neurons"]],
        "higher by [95 % interval]": lambda row: interval(row, signed=True),
        "p": lambda row: p_value(row["p"]),
        "p (Holm)": lambda row: p_value(row["p_holm"]),
        "models": column("models"),
    }
    caption = (
        "Whether RAS ends higher after fine-tuning on target than on control: (target − control) / (target + control) at the last checkpoint, over "
        f"models. Fewer than {MIN_UNITS} models are shown without interval and test. {GREY}"
    )
    return table_from_frame(caption, material.tables["arm_shifts"], 3, columns, is_significant)


def _kept(material: Material) -> Table:
    """The last checkpoint's RAS in its three forms, and the share of dimensions of which ratios could be taken."""
    keys = ["model", "variant", "seed"]
    ras = material.tables["checkpoints"].filter(pl.col("metric").str.starts_with("ras"))
    last = ras.filter(pl.col("step") == pl.col("step").max().over(keys))
    rows = [
        TableRow([row["model"], arm(material.study)(row), str(row["seed"]), metric_name(row["metric"], row["neurons"]),
                  f"{row['estimate']:.3g} [{row['ci_low']:.3g}, {row['ci_high']:.3g}]", show(row["kept"], True), str(row["n"])])
        for row in last.iter_rows(named=True)
    ]  # fmt: skip
    return Table("RAS of the last checkpoint. The published form has the unit of an activation, so its values cannot be compared between "
                 "models; dimensions with an activation that is not positive are left out of ratios.",
                 ["model", "arm", "seed", "metric", "value [95 % interval]", "dimensions kept", "texts"], 4, rows)  # fmt: skip
