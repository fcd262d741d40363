"""All tables of results, by the step that writes them."""

from __future__ import annotations

from typing import Any

from rim.config.study import Study
from rim.results import (
    calibration,
    doses,
    explanations,
    finetunes,
    forgetting,
    judges,
    mechanism,
    neurons,
    patterns,
    replies,
    verdicts,
)
from rim.results.tables import ResultTable

TABLES: dict[str, tuple[ResultTable[Any], ...]] = {
    "summarize_finetunes": finetunes.TABLES,
    "summarize_replies": (*replies.TABLES, *doses.TABLES),
    "explain_replies": explanations.TABLES,
    "compare_judges": judges.TABLES,
    "summarize_patterns": patterns.TABLES,
    "summarize_mechanism": mechanism.TABLES,
    "grade_methods": calibration.TABLES,
    "summarize_forgetting": (*neurons.TABLES, *forgetting.TABLES),
    "judge_claims": verdicts.TABLES,
}


def tables_of(study: Study) -> dict[str, list[ResultTable[Any]]]:
    """The tables that a study has, by the step that writes them; a step without any is left out."""
    found = {step: [table for table in tables if table.applies(study)] for step, tables in TABLES.items()}
    return {step: tables for step, tables in found.items() if tables}
