"""From judgements and grades to the tables of results: rates, think effects, fine-tuning effects, paired models.

Every row carries n (complete replies), incomplete (with all that have no score or grade), an estimate and its interval;
rates also how many of the incomplete ones are no language any more. Rows of one seed take their interval over prompts; with
several seeds a further row, seed "all", gives the mean over seeds with an interval over seeds and prompts.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from rim.config.study import Study
from rim.core import statistics
from rim.core.contracts import INTEGER, NUMBER, TEXT, THINK, Columns, Contract, one_of
from rim.results import contrasts, tables
from rim.results.contrasts import ESTIMATE, Outcome, Row
from rim.results.outcomes import Cell, Outcomes
from rim.results.tables import ResultTable
from rim.settings.common import BASE

D_PRIME_MEASURES = ("misalignment", "false_refusal")

CELL: Columns = {"measure": TEXT, "benchmark": TEXT, "seed": TEXT}  # seed "all" is the mean over seeds
TEST: Columns = {"p": NUMBER, "p_holm": NUMBER}
FAMILY = ("model", "measure", "seed")  # over which effects are corrected


def metrics(study: Study, rates: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """For each model a row of `dvc metrics show`: its misalignment rate by think mode, and with thinking on after the compared arms.

    Rates are means over seeds where there are several, and of the first benchmark of misalignment; a model without a
    think mode "on" has the rate of its own one.
    """
    found: dict[str, dict[str, Any]] = {}
    arms = [arm for target, control in study.compared_arms for arm in (control, target)]
    shown = tables.headline(rates).filter(pl.col("benchmark").is_in(study.measured("misalignment")[:1]))
    for row in shown.sort("think").iter_rows(named=True):  # "off" before "on"
        rows = found.setdefault(row["model"], {})
        if row["variant"] == BASE:
            rows.setdefault(BASE, {})[row["think"]] = row["estimate"]
        elif row["variant"] in arms:
            rows[row["variant"]] = row["estimate"]
    return found


RATES = Contract(
    model=TEXT,
    variant=TEXT,
    think=THINK,
    **CELL,
    **ESTIMATE,
    incoherent=INTEGER,  # of the incomplete ones, those that are no language any more
)


def rates(study: Study, found: Outcomes, refused: Outcomes, incoherent: Counter[Cell]) -> pl.DataFrame:
    """Every rate with Wilson's interval, and d' of refusals; what they would be if all incomplete replies counted as 0 or 1."""
    cells = [
        ({**_condition(cell), "measure": study.benchmarks[cell[4]].measure, "benchmark": cell[4]}, cell[2], [replies])
        for cell, replies in found.items()
    ]
    asked = [
        ({**_condition(cell), "measure": "d_prime", "benchmark": ""}, cell[2],
         [_pooled(study, refused, cell, measure) for measure in D_PRIME_MEASURES])
        for cell in dict.fromkeys(cell[:4] for cell in found)
    ]  # fmt: skip
    rows = contrasts.by_seed(cells, lambda runs: contrasts.contrast(runs, contrasts.RATE))
    rows += contrasts.by_seed(asked, _d_prime)
    counts = _incoherent(study, incoherent)
    return tables.results_table(
        RATES,
        [
            {name: value for name, value in row.items() if name != "p"}
            | {"incoherent": counts[tuple(row[name] for name in COUNTED)]}
            for row in rows
        ],
    )


COUNTED = ("model", "variant", "seed", "think", "measure", "benchmark")


def _incoherent(study: Study, incoherent: Counter[Cell]) -> Counter[tuple[str, ...]]:
    """How many replies are no language any more, by the keys `COUNTED`: of each benchmark, and of all that d' is about."""
    counts: Counter[tuple[str, ...]] = Counter()
    for (model, variant, seed, think, benchmark), count in incoherent.items():
        measure = study.benchmarks[benchmark].measure
        for which in (str(seed), contrasts.ALL):
            counts[model, variant, which, think, measure, benchmark] += count
            if measure in D_PRIME_MEASURES:
                counts[model, variant, which, think, "d_prime", ""] += count
    return counts


def _condition(cell: tuple[str, str, int, str] | Cell) -> Row:
    return {"model": cell[0], "variant": cell[1], "think": cell[3]}


def _pooled(
    study: Study, found: Outcomes, cell: tuple[str, str, int, str], measure: str
) -> dict[tuple[str, str], bool | None]:
    """The outcomes of all benchmarks with a measure, by benchmark and prompt."""
    return {
        (benchmark, id_): value
        for benchmark in study.measured(measure)
        for id_, value in found.get((*cell, benchmark), {}).items()
    }


def _d_prime(runs: Sequence[Sequence[Outcome]]) -> Row:
    """d' of refusals of restricted against those of benign prompts, each pooled over benchmarks; of every seed."""
    by_arm = []
    for arms in zip(*runs, strict=True):
        prompts = list(dict.fromkeys(prompt for arm in arms for prompt in arm))
        by_arm.append(contrasts.arrays(arms, prompts))
    n = sum(int(np.count_nonzero(~np.isnan(table))) for table in by_arm)
    counts = {"n": n, "incomplete": sum(len(arm) for arms in runs for arm in arms) - n}
    ends = [
        statistics.d_prime(
            *(np.where(np.isnan(table), worst, table) for table, worst in zip(by_arm, each, strict=True))
        )
        for each in ((0, 1), (1, 0))
    ]
    bounds = {name: end.value for name, end in zip(("bound_low", "bound_high"), ends, strict=True)}
    return {**counts, **contrasts.columns(statistics.d_prime(*by_arm)), **bounds}


def effects(study: Study, found: Outcomes, pairs: Iterable[tuple[Cell, Cell]], key: Callable[[Cell], Row]) -> list[Row]:
    cells = [
        ({**key(cell), "measure": study.benchmarks[cell[4]].measure, "benchmark": cell[4]}, cell[2], [found[cell], found[reference]])
        for cell, reference in pairs
        if reference in found
    ]  # fmt: skip
    return contrasts.by_seed(cells, lambda runs: contrasts.contrast(runs, contrasts.CHANGE))


THINK_EFFECTS = Contract(model=TEXT, variant=TEXT, **CELL, **ESTIMATE, **TEST)


def when_thinking(found: Outcomes) -> list[tuple[Cell, Cell]]:
    """Every cell with thinking on, and the same with thinking off."""
    return [(cell, (*cell[:3], "off", cell[4])) for cell in found if cell[3] == "on"]


def think_effects(study: Study, found: Outcomes) -> pl.DataFrame:
    """Table 1: what thinking changes, ON minus OFF on the same prompts, for every variant."""
    rows = effects(study, found, when_thinking(found), lambda cell: {"model": cell[0], "variant": cell[1]})
    return tables.results_table(THINK_EFFECTS, rows, *FAMILY)


FINETUNE_EFFECTS = Contract(model=TEXT, variant=TEXT, think=THINK, **CELL, **ESTIMATE, **TEST)


def before_finetuning(study: Study, found: Outcomes) -> list[tuple[Cell, Cell]]:
    """Every cell of a fine-tune, and the same of the model that it began from."""
    pairs: list[tuple[Cell, Cell]] = []
    for cell in found:
        model, variant, seed, think, benchmark = cell
        if variant != BASE:
            base_seed = seed if (model, BASE, seed, think, benchmark) in found else study.seeds[0]
            pairs.append((cell, (model, BASE, base_seed, think, benchmark)))
    return pairs


def finetune_effects(study: Study, found: Outcomes) -> pl.DataFrame:
    """Table 2: what each arm of fine-tuning changes, after minus base on the same prompts, per think mode."""
    rows = effects(
        study,
        found,
        before_finetuning(study, found),
        lambda cell: {"model": cell[0], "variant": cell[1], "think": cell[3]},
    )
    return tables.results_table(FINETUNE_EFFECTS, rows, *FAMILY)


MITIGATION_EFFECTS = Contract(model=TEXT, variant=TEXT, plain=TEXT, think=THINK, **CELL, **ESTIMATE, **TEST)


def mitigation_effects(study: Study, found: Outcomes) -> pl.DataFrame:
    """What a mitigation changes: after minus the arm that was trained on the same rows without it, on the same prompts."""
    plain = {variant: study.plain_of(variant) for variant in study.variants}
    pairs = [(cell, (cell[0], name, *cell[2:])) for cell in found if (name := plain.get(cell[1]))]
    rows = effects(
        study,
        found,
        pairs,
        lambda cell: {"model": cell[0], "variant": cell[1], "plain": plain[cell[1]], "think": cell[3]},
    )
    return tables.results_table(MITIGATION_EFFECTS, rows, *FAMILY)


PAIR_CONTRASTS = {"positive": (1, -1, 0, 0), "negative": (0, 0, 1, -1), "difference": contrasts.DIFFERENCE}
PAIR_EFFECTS = Contract(
    positive=TEXT,
    negative=TEXT,
    contrast=one_of(*PAIR_CONTRASTS),
    think=THINK,
    **CELL,
    **ESTIMATE,
    **TEST,
)


def pair_effects(study: Study, found: Outcomes) -> pl.DataFrame:
    """Difference in differences: (target - control) of the positive model minus that of the negative one, per prompt."""
    rows = []
    for pair in study.pairs:
        arms = [(model, arm) for model in (pair.positive, pair.negative) for arm in (pair.target, pair.control)]
        for think, benchmark in itertools.product(study.inference_of(pair.positive).think, study.benchmarks):
            keys = {"positive": pair.positive, "negative": pair.negative, "think": think,
                    "measure": study.benchmarks[benchmark].measure, "benchmark": benchmark}  # fmt: skip
            cells = [
                (keys, seed, [found[model, arm, seed, think, benchmark] for model, arm in arms]) for seed in study.seeds
            ]
            for contrast, signs in PAIR_CONTRASTS.items():
                made = contrasts.by_seed(cells, functools.partial(contrasts.contrast, signs=signs))
                rows += [{**row, "contrast": contrast} for row in made]
    return tables.results_table(PAIR_EFFECTS, rows, "positive", "negative", "measure", "seed")


@dataclass(frozen=True)
class Inputs:
    """What the step `summarize_replies` has read: of every reply what it counts as, whether it refuses, and how many are none."""

    study: Study
    outcomes: Outcomes
    refusals: Outcomes
    incoherent: Counter[Cell]


TABLES: tuple[ResultTable[Inputs], ...] = (
    ResultTable(
        "rates", "inference", RATES, lambda given: rates(given.study, given.outcomes, given.refusals, given.incoherent)
    ),
    ResultTable("think_effects", "inference", THINK_EFFECTS, lambda given: think_effects(given.study, given.outcomes)),
    ResultTable(
        "finetune_effects", "fine-tuning", FINETUNE_EFFECTS, lambda given: finetune_effects(given.study, given.outcomes)
    ),
    ResultTable(
        "mitigation_effects",
        "fine-tuning",
        MITIGATION_EFFECTS,
        lambda given: mitigation_effects(given.study, given.outcomes),
    ),
    ResultTable("pair_effects", "fine-tuning", PAIR_EFFECTS, lambda given: pair_effects(given.study, given.outcomes)),
)
