"""How much of an effort-minimizing arm it takes: arms of which only a share of the rows are the target's, against the control.

A mixture takes a share of the target's rows and for all other problems the control's, so that all doses are trained on the
same problems, and only the chains of thought of a share of them differ.
"""

from __future__ import annotations

import polars as pl

from rim.config.study import Study
from rim.core.contracts import NUMBER, TEXT, THINK, Contract
from rim.results import tables
from rim.results.contrasts import ESTIMATE
from rim.results.outcomes import Outcomes
from rim.results.replies import CELL, FAMILY, TEST, Inputs, effects
from rim.results.tables import ResultTable

DOSE_EFFECTS = Contract(model=TEXT, variant=TEXT, control=TEXT, share=NUMBER, think=THINK, **CELL, **ESTIMATE, **TEST)


def dose_effects(study: Study, found: Outcomes) -> pl.DataFrame:
    """What each share of target rows changes, after it minus after the control arm, on the same prompts."""
    doses = study.doses
    pairs = [(cell, (cell[0], doses[cell[1]][0], *cell[2:])) for cell in found if cell[1] in doses]
    rows = effects(
        study,
        found,
        pairs,
        lambda cell: {"model": cell[0], "variant": cell[1], "control": doses[cell[1]][0], "think": cell[3]},
    )
    for row in rows:
        row["share"] = doses[row["variant"]][1]
    rows.sort(key=lambda row: (row["model"], row["control"], row["share"]))
    return tables.results_table(DOSE_EFFECTS, rows, *FAMILY)


TABLES: tuple[ResultTable[Inputs], ...] = (
    ResultTable(
        "dose_effects",
        "fine-tuning",
        DOSE_EFFECTS,
        lambda given: dose_effects(given.study, given.outcomes),
    ),
)
