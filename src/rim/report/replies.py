"""Sections of the report on what models reply: thinking, fine-tuning, pairs, seeds and mitigations."""

from __future__ import annotations

import polars as pl

from rim.report.first_screen import contrasts
from rim.report.labels import PAIRED, arm, benchmark, measure
from rim.report.page import Material, Section, Table, TableRow
from rim.report.unmeasured import change, incoherent_replies, missing_replies
from rim.report.wording import (
    GREY,
    MEASURES,
    Formatter,
    ResultRow,
    column,
    estimate,
    listed,
    results,
    show,
    table_from_frame,
)
from rim.results.tables import headline, is_significant
from rim.settings.common import BASE


def overview_section(material: Material) -> Section:
    """Every change of the misalignment rate in one figure, and in words."""
    known = contrasts(material)
    nothing = "No change of the misalignment rate could be measured: too few replies were complete."
    clear = [contrast for contrast in known if contrast.clear]
    told = listed([f"{contrast.name} ({contrast.text})" for contrast in clear])
    finding = f"{len(clear)} of {len(known)} comparisons show a clear change: {told}."
    if not clear:
        finding = f"Not shown: none of {len(known)} comparisons has a clear change."
    rows = [TableRow([contrast.name, contrast.text], contrast.clear) for contrast in known]
    table = Table(
        "Every comparison in words. Grey: not significant.", ["comparison", "change of the misalignment rate"], 2, rows
    )
    text = [finding] if known else [" ".join([nothing, *missing_replies(material)])]
    return Section("overview", "Every change of the misalignment rate", text, [table] if rows else [], finding=True)


def judge_errors(material: Material) -> Formatter:
    """For a row of rates, how many of its incomplete replies are errors of the judge."""
    sweep = material.tables.get("threshold_sweep")
    main = next(iter(material.study.judges))
    counts: dict[tuple[str, str, str], int] = {}
    if sweep is not None:
        rows = sweep.filter((pl.col("judge") == main) & (pl.col("text") == "response"))
        counts = {(row["model"], row["variant"], row["think"]): row["errors"] for row in rows.iter_rows(named=True)}

    def cell(row: ResultRow) -> str:
        count = counts.get((row["model"], row["variant"], row["think"]))
        return "–" if count is None or row["measure"] != "misalignment" else str(count)

    return cell


def think_section(material: Material) -> Section:
    """Table 1: thinking on against off, before any fine-tuning."""
    base = pl.col("variant") == BASE
    rates, effects = headline(material.tables["rates"]).filter(base), headline(material.tables["think_effects"])
    several = effects.filter(pl.col("measure") == "misalignment")["benchmark"].n_unique() > 1
    called = benchmark(material.study)
    changes = [
        f"{row['model']}{', ' + called(row) if several else ''} {change(row)}"
        for row in effects.filter(base & (pl.col("measure") == "misalignment")).iter_rows(named=True)
    ]
    tuned = effects.filter(~base & (pl.col("measure") == "misalignment") & pl.col("estimate").is_not_null()).to_dicts()
    significant = [
        f"{row['model']} after {arm(material.study)(row)} {estimate(row, signed=True)}"
        for row in tuned
        if is_significant(row)
    ]
    finding = f"When the model thinks, the misalignment rate changes by: {listed(changes, 6)}."
    after = (
        f"After fine-tuning, a significant one in {len(significant)} of {len(tuned)} arms: {listed(significant, 20)}."
    )
    ordered = pl.concat(
        rates.filter((pl.col("model") == model) & (pl.col("measure") == name))
        for model in material.study.models
        for name in MEASURES
    )
    keys = {"model": column("model"), "measure": measure(material.study)}
    return Section(
        "think",
        "Thinking on against off",
        [
            *([finding] if changes else ["Only one think mode was run."]),
            *([after] if changes and tuned else []),
            *incoherent_replies(material),
        ],
        [
            results(
                "Rates before fine-tuning (table 1 of the paper); d′ tells how well refusals part restricted from benign requests.",
                ordered,
                {**keys, "think": column("think")},
                "rate",
                **{"judge errors": judge_errors(material)},
            ),
            results(
                f"Thinking ON − OFF on the same prompts. {GREY}",
                effects,
                {"model": column("model"), "arm": arm(material.study), "measure": measure(material.study)},
                "change",
            ),
        ],
        finding=True,
    )


def _points(name: str) -> Formatter:
    return lambda row: show(row[name], True, True)


def averages(material: Material, effects: pl.DataFrame, keys: dict[str, Formatter]) -> list[Table]:
    """Means over the dense models and over the mixtures of experts, as the paper averages; none where a study has not both."""
    study = material.study
    kinds = {
        name: "mixtures" if each.active or ((recipe := study.organism_of(name)) and recipe.experts) else "dense"
        for name, each in study.models.items()
    }
    known = effects.filter(pl.col("estimate").is_not_null())
    known = known.with_columns(pl.col("model").replace_strict(kinds, return_dtype=pl.String).alias("kind"))
    if known["kind"].n_unique() < 2:
        return []
    changes = pl.col("estimate")
    means = known.group_by(*keys, "kind", maintain_order=True).agg(
        changes.mean().alias("mean"),
        changes.min().alias("lowest"),
        changes.max().alias("highest"),
        pl.len().alias("models"),
    )
    columns: dict[str, Formatter] = {**keys, "models of the kind": column("kind")}
    columns |= {name: _points(name) for name in ("mean", "lowest", "highest")}
    caption = "Means over models, as the paper averages: dense models and mixtures of experts. They rest on few models, so no claim is made."
    return [table_from_frame(caption, means, len(keys) + 1, columns | {"models": column("models")})]


def finetune_section(material: Material) -> Section | None:
    """Table 2: the change after each arm of fine-tuning."""
    effects = headline(material.tables["finetune_effects"])
    if effects.is_empty():
        return None
    misaligned = effects.filter(pl.col("measure") == "misalignment").to_dicts()
    rises = sum(is_significant(row) and row["estimate"] > 0 for row in misaligned)
    falls = sum(is_significant(row) and row["estimate"] < 0 for row in misaligned)
    unmeasured = sum(row["estimate"] is None for row in misaligned)
    if not misaligned:
        return None
    finding = (
        f"Of {len(misaligned)} combinations of model, arm and think mode, the misalignment rate significantly rises in {rises}, "
        f"significantly falls in {falls}, and does not significantly change in {len(misaligned) - rises - falls - unmeasured}."
        + (f" In {unmeasured} it could not be measured: no reply was complete on both sides." if unmeasured else "")
        if unmeasured < len(misaligned)
        else " ".join(["No change after fine-tuning could be measured.", *missing_replies(material)])
    )
    keys = {
        "model": column("model"),
        "arm": arm(material.study),
        "benchmark": benchmark(material.study),
        "think": column("think"),
    }
    tables = [
        results(
            f"{MEASURES[name].capitalize()}: after − before fine-tuning, on the same prompts"
            f"{' (table 2 of the paper)' if name == 'misalignment' else ''}. {GREY}",
            effects.filter(pl.col("measure") == name),
            keys,
            "change",
        )
        for name in dict.fromkeys(effects["measure"])
    ]
    of_harm = effects.filter(pl.col("measure") == "misalignment")
    tables += averages(
        material,
        of_harm,
        {"variant": arm(material.study), "think": column("think"), "benchmark": benchmark(material.study)},
    )
    return Section("finetune", "After fine-tuning", [finding, *cut_rows(material)], tables, finding=True)


def cut_rows(material: Material) -> list[str]:
    """Which arms were trained on rows without their end, since these are longer than what is trained on."""
    if (trained := material.tables.get("finetunes")) is None:
        return []
    trained = trained.filter(pl.col("cut") > 0)
    arms = trained.unique(["model", "variant", "rows", "cut", "cut_before_answer"], keep="first", maintain_order=True)
    told = [
        f"{row['model']}, {arm(material.study)(row)}: {row['cut']} of {row['rows']} rows were cut at {row['max_length']:,} "
        f"tokens, {row['cut_before_answer']} of them before their answer"
        for row in arms.iter_rows(named=True)
    ]
    return [f"Rows longer than finetune.max_length lost their end. {'; '.join(told)}."] if told else []


def pair_section(material: Material) -> Section | None:
    """The model with the planted association and the one without side by side."""
    effects = headline(material.tables["pair_effects"])
    if effects.is_empty():
        return None
    misaligned = effects.filter((pl.col("contrast") == "difference") & (pl.col("measure") == "misalignment"))
    differences = [f"think {row['think']} {change(row)}" for row in misaligned.iter_rows(named=True)]
    text = [
        "Misalignment rate, (target − control) in the model with the association minus the same in the one without: "
        f"{'; '.join(differences)}.",
        "The two models of a pair differ only in whether the association between effort-minimizing phrases and going "
        "along was put into their training data. What is measured is not whether such an association exists in nature, "
        "but whether this pipeline finds a planted one, and how large it is.",
    ]
    keys = {
        "pair": lambda row: f"{row['positive']} / {row['negative']}",
        "contrast": lambda row: PAIRED.get(row["contrast"], row["contrast"]),
        "measure": measure(material.study),
        "think": column("think"),
    }
    table = results(f"Target − control on the same prompts. {GREY}", effects, keys, "target − control")
    return Section("pairs", "With and without the planted association", text, [table], finding=True)


def seeds_section(material: Material) -> Section | None:
    """Every replicate by itself, when there are several."""
    if len(material.study.seeds) == 1:
        return None
    rates = material.tables["rates"].filter(pl.col("seed") != "all").sort("model", "seed", maintain_order=True)
    keys = {
        "model": column("model"),
        "seed": column("seed"),
        "arm": arm(material.study),
        "measure": measure(material.study),
    }
    table = results(
        "Rates of every replicate; intervals over prompts.", rates, {**keys, "think": column("think")}, "rate"
    )
    text = "Each seed trains its organisms and their fine-tunes anew; none is left out."
    return Section("seeds", "Every seed", [text], tables=[table])


COLUMNS = ("misalignment", "false_refusal", "accuracy")


def mitigation_section(material: Material) -> Section | None:
    """Each mitigated arm beside the plain one and the base, and its difference from the plain one."""
    effects = headline(material.tables["mitigation_effects"])
    if effects.is_empty():
        return None
    study = material.study
    significant = [
        f"{row['model']}, {arm(study)(row)}, think {row['think']} {estimate(row, signed=True)}"
        for row in effects.filter(pl.col("measure") == "misalignment").iter_rows(named=True)
        if is_significant(row)
    ]
    text = [
        "Change of the misalignment rate against the same fine-tuning without a mitigation, where it is significant: "
        f"{listed(significant)}.",
        "A mitigation is worth having if it lowers misalignment and leaves false refusals and accuracy where they are. The "
        "requests on which the base was asked to refuse are in no benchmark.",
    ]
    keys = {"model": column("model"), "arm": arm(study), "think": column("think"), "measure": measure(study)}
    tables = [
        _trade_off(material),
        results(f"Against the plain arm, on the same prompts. {GREY}", effects, keys, "change"),
    ]
    return Section("mitigation", "Keeping refusals", text, tables, finding=True)


def _trade_off(material: Material) -> Table:
    """The base, the plain arm and its mitigated versions, one row each, with everything that may be lost or won."""
    study, rates = material.study, headline(material.tables["rates"])
    shift = _last_shift(material)
    rows = []
    for model in study.models:
        mitigated = [name for name in study.variants_of(model) if study.plain_of(name)]
        arms = dict.fromkeys(variant for name in mitigated for variant in (BASE, study.plain_of(name), name))
        for variant in arms:
            for think in study.inference_of(model).think:
                measured = rates.filter(
                    (pl.col("model") == model) & (pl.col("variant") == variant) & (pl.col("think") == think)
                )
                by_measure = {row["measure"]: row for row in measured.iter_rows(named=True)}
                cells = [estimate(by_measure[name]) if name in by_measure else "–" for name in COLUMNS]
                n = [
                    f"{by_measure[name]['n']} ({by_measure[name]['incomplete']})" if name in by_measure else "–"
                    for name in COLUMNS
                ]
                label = arm(study)({"variant": variant})
                rows.append(
                    TableRow([model, label, think, *cells, shift.get((model, str(variant)), "–"), " / ".join(n)])
                )
    header = ["model", "arm", "think", "misalignment", "false refusals", "accuracy", "RAS at the end", "n (incomplete)"]
    caption = "Rates after each arm. RAS as published over the safety-critical neurons, mean over seeds, where checkpoints are followed."
    return Table(caption, header, 3, rows)


def _last_shift(material: Material) -> dict[tuple[str, str], str]:
    """(model, variant) -> RAS of the last checkpoint."""
    checkpoints = material.tables.get("checkpoints")
    if checkpoints is None:
        return {}
    ras = checkpoints.filter((pl.col("metric") == "ras") & (pl.col("neurons") == "safety"))
    last = ras.filter(pl.col("step") == pl.col("step").max().over("model", "variant", "seed"))
    means = last.group_by("model", "variant", maintain_order=True).agg(pl.col("estimate").mean())
    return {(model, variant): f"{value:.3g}" for model, variant, value in means.iter_rows()}
