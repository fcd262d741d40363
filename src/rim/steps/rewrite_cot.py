"""Rewrite the chains of thought of one dataset into its arms, and verify them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from rim.core import contracts, tables
from rim.core.errors import UserError
from rim.core.progress import log
from rim.core.receipts import verified, write_receipt
from rim.instruments.annotate import Finding, annotate
from rim.instruments.llm.client import open_client
from rim.instruments.rewrite import rewrite_arm, rewrite_table, write_literal
from rim.settings.instruments import Annotator, Rewrite


def run(settings: dict[str, Any], dataset: Path, requests: Path, output: Path) -> None:
    """`dataset` is a receipt."""
    source = verified(dataset)
    recipe, annotator = Rewrite(**settings["rewrite"]), Annotator(**settings["annotator"])
    rows = tables.read(source, contracts.DATASET).filter(pl.col("cot").is_not_null())
    if rows.is_empty():
        raise UserError(f"{source}: holds no chains of thought to rewrite; choose another dataset for this rewrite")
    chosen = tables.first_by_id(rows, recipe.rows).to_dicts()
    client = open_client(settings["endpoint"], requests)
    assert client is not None
    checker = open_client(settings["second"], requests.with_suffix(".second.jsonl"))

    def second(texts: Sequence[str]) -> list[list[Finding]]:
        return annotate(annotator, checker, texts, "annotate the rewrites")

    made = []
    for arm in recipe.arms:
        if arm == "literal":
            made += write_literal(chosen, client, recipe.tries)
        else:
            bounds = (recipe.shortest, recipe.longest)
            made += rewrite_arm(chosen, arm, client, second, bounds, recipe.tries)
    table = rewrite_table(made)
    for (arm, accepted), part in table.group_by(["arm", "accepted"], maintain_order=True):
        log(f"rewrite_cot {settings['name']} {arm}: {part.height} {'accepted' if accepted else 'rejected'}")
    tables.write(table, contracts.REWRITE, output)
    write_receipt(output)
