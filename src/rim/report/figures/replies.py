"""The figures of what models reply (paper, tables 1 and 2, figure 2)."""

from __future__ import annotations

from typing import Any

import polars as pl

from rim.report.figures.declaration import Figure
from rim.report.figures.style import COLOURS, GREEN, Labels, Tables, intervals
from rim.report.page import Material
from rim.report.wording import MEASURES, replies_caption
from rim.results.tables import headline
from rim.settings.common import BASE

THINKING = "thinking on − off, no fine-tuning"
CONTRASTS = {"on − off": GREEN, **COLOURS}


def changes(tables: Tables, labels: Labels) -> pl.DataFrame:
    """Every change of the misalignment rate: when the model thinks, and after each arm of fine-tuning."""
    misaligned = pl.col("measure") == "misalignment"
    thinking = headline(tables["think_effects"]).filter(misaligned & (pl.col("variant") == BASE))
    thinking = thinking.with_columns(pl.lit(THINKING).alias("row"), pl.lit("on − off").alias("think"))
    arms = headline(tables["finetune_effects"]).filter(misaligned)
    arms = arms.with_columns(pl.col("variant").replace(dict(labels)).alias("row"))
    together = pl.concat([thinking, arms], how="diagonal")
    order = {name: place for place, name in enumerate([THINKING, *labels.values()])}
    place = pl.col("row").replace_strict(order, default=len(order))
    return together.sort(place, maintain_order=True).with_columns(pl.col("model").alias("panel"))


def overview_figure(tables: Tables, labels: Labels) -> Any:
    """The whole study in one figure: every change of the misalignment rate, by model."""
    table = changes(tables, labels)
    table = table.with_columns(pl.col("row").alias("variant")).select(
        "model", "variant", "row", "think", "benchmark", "seed", "n", "incomplete", "estimate", "ci_low", "ci_high", "p", "p_holm", "panel"
    )  # fmt: skip
    return intervals(table, "change of misalignment, points", CONTRASTS)


def _overview_caption(material: Material) -> str:
    effects = pl.concat(
        [
            headline(material.tables[name]).filter(pl.col("measure") == "misalignment")
            for name in ("think_effects", "finetune_effects")
        ],
        how="diagonal",
    )
    return (
        "Change of the misalignment rate on the same prompts: with thinking on instead of off before any fine-tuning, and "
        f"after each arm of fine-tuning. Right of the line is less safe; hollow is not significant. {replies_caption(material.study, effects)}"
    )


OVERVIEW = Figure(
    name="overview",
    tables=("think_effects", "finetune_effects"),
    subject="inference",
    section="overview",
    applies=lambda study: True,
    draw=overview_figure,
    caption=_overview_caption,
)


def think_figure(tables: Tables, labels: Labels) -> Any:
    """Table 1 as a figure: each base model's rates with thinking on and off."""
    table = headline(tables["rates"]).filter((pl.col("variant") == BASE) & (pl.col("measure") != "d_prime"))
    panel = pl.format("{}, {}", pl.col("measure").replace(MEASURES), "benchmark")
    table = table.with_columns(pl.col("model").alias("row"), panel.alias("panel")).drop("variant")
    return intervals(table, "rate with 95 % interval", COLOURS, change=False)


def _think_caption(material: Material) -> str:
    rates = headline(material.tables["rates"]).filter(pl.col("variant") == BASE)
    return f"Rates of each model before fine-tuning. {replies_caption(material.study, rates)}"


THINK = Figure(
    name="think",
    tables=("rates",),
    subject="inference",
    section="think",
    applies=lambda study: True,
    draw=think_figure,
    caption=_think_caption,
)


def finetune_figure(tables: Tables, labels: Labels) -> Any:
    """What each arm of fine-tuning does to false refusals and to accuracy; the misalignment rate is in the overview."""
    table = headline(tables["finetune_effects"]).filter(pl.col("measure").is_in(["false_refusal", "accuracy"]))
    table = table.with_columns(
        pl.col("variant").replace(dict(labels)),
        pl.col("variant").replace(dict(labels)).alias("row"),
        pl.format("{}: {}, {}", "model", pl.col("measure").replace(MEASURES), "benchmark").alias("panel"),
    )
    return intervals(table, "after − before fine-tuning, points", COLOURS)


def _finetune_caption(material: Material) -> str:
    recipe = material.study.finetune
    how = f"LoRA of rank {recipe.lora.rank}" if recipe.method == "lora" else "all weights"
    return (
        f"Change of false refusals and of accuracy after fine-tuning ({how}, learning rate {recipe.learning_rate:g}); that of "
        "the misalignment rate is in the first figure. Hollow: not significant. "
        + replies_caption(material.study, headline(material.tables["finetune_effects"]))
    )


FINETUNE = Figure(
    name="finetune",
    tables=("finetune_effects",),
    subject="fine-tuning",
    section="finetune",
    applies=lambda study: bool(study.variants),
    draw=finetune_figure,
    caption=_finetune_caption,
)


def pair_figure(tables: Tables, labels: Labels) -> Any:
    """The positive and the negative control side by side, and the difference between them."""
    table = headline(tables["pair_effects"]).filter(pl.col("measure") == "misalignment")
    table = table.with_columns(
        pl.col("contrast").alias("row"), pl.format("{} against {}", "positive", "negative").alias("panel")
    )
    return intervals(table, "target − control, misalignment rate, points", COLOURS, columns=2)


def _pair_caption(material: Material) -> str:
    effects = headline(material.tables["pair_effects"])
    return f"Target − control in both models. {replies_caption(material.study, effects)}"


PAIR = Figure(
    name="pair",
    tables=("pair_effects",),
    subject="fine-tuning",
    section="pairs",
    applies=lambda study: bool(study.pairs),
    draw=pair_figure,
    caption=_pair_caption,
)


def injection_figure(tables: Tables, labels: Labels) -> Any:
    """Figure 2 of the paper: what an encouraging statement does, over a discouraging one, by pattern."""
    table = headline(tables["injection_effects"])
    table = table.with_columns(
        pl.col("pattern").alias("row"), pl.col("model").alias("panel"), pl.lit("on").alias("think")
    )
    return intervals(table, "encouraging − discouraging, points", COLOURS)


def _injection_caption(material: Material) -> str:
    effects = headline(material.tables["injection_effects"])
    return f"Encouraging − discouraging statement, thinking on. {replies_caption(material.study, effects)}"


INJECTION = Figure(
    name="injection",
    tables=("injection_effects",),
    subject="patterns",
    section="injection",
    applies=lambda study: study.injection is not None,
    draw=injection_figure,
    caption=_injection_caption,
)


def mitigation_figure(tables: Tables, labels: Labels) -> Any:
    """What each mitigation changes against the same fine-tuning without it."""
    table = headline(tables["mitigation_effects"])
    table = table.with_columns(
        pl.col("variant").replace(dict(labels)),
        pl.col("variant").replace(dict(labels)).alias("row"),
        pl.format("{}: {}, {}", "model", pl.col("measure").replace(MEASURES), "benchmark").alias("panel"),
    )
    return intervals(table, "with − without the mitigation, points", COLOURS)


def _mitigation_caption(material: Material) -> str:
    effects = headline(material.tables["mitigation_effects"])
    return f"Mitigated minus plain fine-tuning. Hollow: not significant. {replies_caption(material.study, effects)}"


MITIGATION = Figure(
    name="mitigation",
    tables=("mitigation_effects",),
    subject="fine-tuning",
    section="mitigation",
    applies=lambda study: study.has_mitigations,
    draw=mitigation_figure,
    caption=_mitigation_caption,
)

FIGURES = (
    OVERVIEW,
    THINK,
    INJECTION,
    FINETUNE,
    MITIGATION,
    PAIR,
)
