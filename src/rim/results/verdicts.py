"""In how many organisms each claim of the paper is borne out by its own rule, beside where refusal was trained.

Read from the other tables of a study whose organisms have grafts: the organism is the unit, and a claim is counted where
its table calls it significant. Where refusal is known to sit in new neurons, the claim on neurons should be
borne out; where nothing was trained to refuse, none should be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from rim.config.study import Study
from rim.core import statistics
from rim.core.contracts import INTEGER, INTERVAL, TEXT, Contract, one_of
from rim.results.tables import is_significant, results_table
from rim.settings.common import BASE

Tables = Mapping[str, pl.DataFrame]
CLAIM_VERDICTS = Contract(
    claim=TEXT,
    model=TEXT,
    refusal_in=one_of(
        "new neurons", "new heads", "new neurons and heads", "all weights", "not trained"
    ),  # by construction
    organisms=INTEGER,  # seeds
    supported=INTEGER,  # of them, those in which the claim is borne out
    **INTERVAL,  # the share
)


@dataclass(frozen=True)
class Claim:
    """One claim of the paper."""

    text: str
    tables: tuple[str, ...]  # that say whether it is borne out
    supporting: Callable[[Study, Tables], pl.DataFrame]  # model and seed of each organism in which it is


def refusal_in(study: Study, model: str) -> str:
    """Where the refusals of an organism were trained."""
    graft = study.models[model].graft
    if graft and graft.teaches == "alignment":
        new = [name for name, count in (("neurons", graft.neurons), ("heads", graft.heads)) if count]
        return f"new {' and '.join(new)}"
    organism = study.organism_of(model)
    return "all weights" if organism and organism.align_steps else "not trained"


def _rises(effects: pl.DataFrame) -> pl.DataFrame:
    """Model and seed where a misalignment rate rises significantly."""
    rows = effects.filter(measure="misalignment").to_dicts()
    up = [
        {"model": row["model"], "seed": int(row["seed"])} for row in rows if is_significant(row) and row["estimate"] > 0
    ]
    return pl.DataFrame(up, schema={"model": pl.String, "seed": pl.Int64})


def _thinking(study: Study, tables: Tables) -> pl.DataFrame:
    effects = tables["think_effects"]
    return _rises(effects.filter((pl.col("variant") == BASE) & (pl.col("seed") != "all")))


def _heads_found(study: Study, tables: Tables) -> pl.DataFrame:
    return tables["heads"].filter("found", variant=BASE)


def _heads_matter(kind: str) -> Callable[[Study, Tables], pl.DataFrame]:
    def supporting(study: Study, tables: Tables) -> pl.DataFrame:
        of_kind = {"variant": BASE, "target": kind, "intervention": "zero", "kind": "found", "against": "random"}
        return _rises(tables["ablation_effects"].filter(**of_kind))

    return supporting


def _neurons_found(study: Study, tables: Tables) -> pl.DataFrame:
    least = study.forgetting.min_neurons if study.forgetting else 0
    return tables["neuron_stability"].filter("chosen", pl.col("neurons") >= least)


def _neurons_matter(study: Study, tables: Tables) -> pl.DataFrame:
    return _rises(tables["neuron_effects"].filter(kind="found", against="matched"))


CLAIMS = (
    Claim("thinking raises the misalignment rate", ("think_effects",), _thinking),
    Claim("there are refusal heads, by their shift of attention", ("heads",), _heads_found),
    Claim("ablating these raises it more than random heads do", ("ablation_effects",), _heads_matter("refusal_heads")),
    Claim("ablating heads of the largest exact effect does", ("ablation_effects",), _heads_matter("effect_heads")),
    Claim("there are safety-critical neurons, by their rise with intent", ("neuron_stability",), _neurons_found),
    Claim("ablating these raises it more than matched neurons do", ("neuron_effects",), _neurons_matter),
)


TABLES_READ = tuple(dict.fromkeys(name for claim in CLAIMS for name in claim.tables))


def claim_verdicts(study: Study, tables: Tables) -> pl.DataFrame:
    """How often each claim whose tables are given is borne out, for every model of the study that is an organism."""
    rows = []
    for claim in CLAIMS:
        if not all(name in tables for name in claim.tables):
            continue
        found = claim.supporting(study, tables).select("model", "seed").unique()
        for model in (name for name in study.models if study.organism_of(name)):
            seeds = study.seeds_of(model, BASE)
            supported = found.filter(pl.col("model") == model, pl.col("seed").is_in(seeds)).height
            value, low, high, _ = statistics.rate(supported, len(seeds))
            rows.append(
                {"claim": claim.text, "model": model, "refusal_in": refusal_in(study, model), "organisms": len(seeds),
                 "supported": supported, "estimate": value, "ci_low": low, "ci_high": high}
            )  # fmt: skip
    return results_table(CLAIM_VERDICTS, rows)
