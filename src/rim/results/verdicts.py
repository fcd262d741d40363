"""In how many organisms each claim of the paper is borne out by its own rule, beside where refusal was trained.

Read from the other tables of a study over several seeds, or with grafts: the organism is the unit, and a claim is counted where
its table calls it significant. An organism in which its rule tests nothing says nothing of a claim, and is counted apart. Where
refusal is known to sit in new neurons, the claim on neurons should be borne out; where nothing was trained to refuse,
none should be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from rim.config.study import Study
from rim.core import statistics
from rim.core.contracts import INTEGER, INTERVAL, TEXT, Contract, one_of
from rim.results.tables import ResultTable, is_significant, results_table
from rim.settings.common import BASE

SEEDS = 5  # organisms of a recipe from which on claims are counted; of recipes with grafts any number
Tables = Mapping[str, pl.DataFrame]
CLAIM_VERDICTS = Contract(
    claim=TEXT,
    model=TEXT,
    refusal_in=one_of(
        "new neurons", "new heads", "new neurons and heads", "all weights", "not trained"
    ),  # by construction
    organisms=INTEGER,  # seeds
    tested=INTEGER,  # of them, those in which the claim could be tested
    supported=INTEGER,  # of these, those in which it is borne out
    **INTERVAL,  # the share of those tested
)


@dataclass(frozen=True)
class Claim:
    """One claim of the paper."""

    text: str
    table: str  # that says whether it is borne out
    tests: Callable[[Study, pl.DataFrame], pl.DataFrame]  # model, seed and whether it `holds`, for each test made of it


def refusal_in(study: Study, model: str) -> str:
    """Where the refusals of an organism were trained."""
    graft = study.models[model].graft
    if graft and graft.teaches == "alignment":
        new = [name for name, count in (("neurons", graft.neurons), ("heads", graft.heads)) if count]
        return f"new {' and '.join(new)}"
    organism = study.organism_of(model)
    return "all weights" if organism and organism.align_steps else "not trained"


def _rises(effects: pl.DataFrame) -> pl.DataFrame:
    """Whether misalignment rises significantly, in every row that tests it in one organism."""
    own = effects.filter(pl.col("seed").cast(pl.String) != "all", pl.col("p_holm").is_not_null())
    holds = [row["estimate"] > 0 and is_significant(row) for row in own.iter_rows(named=True)]
    return own.select("model", pl.col("seed").cast(pl.Int64)).with_columns(holds=pl.Series(holds, dtype=pl.Boolean))


def _thinking(study: Study, effects: pl.DataFrame) -> pl.DataFrame:
    return _rises(effects.filter(variant=BASE, measure="misalignment"))


def _injected(study: Study, effects: pl.DataFrame) -> pl.DataFrame:
    return _rises(effects)


def _trained(study: Study, effects: pl.DataFrame) -> pl.DataFrame:
    """Of either model of a pair, target against control."""
    sides = [effects.filter(contrast=side).with_columns(model=pl.col(side)) for side in ("positive", "negative")]
    return _rises(pl.concat(sides).filter(measure="misalignment"))


def _told_apart(probe: str) -> Callable[[Study, pl.DataFrame], pl.DataFrame]:
    """Whether a probe's area on the other split is above chance, in every mode in which it is tested."""
    tested = pl.col("p_holm").is_not_null()
    above = (pl.col("ci_low") > 0.5) & (pl.col("p_holm") < 0.05)
    return lambda study, cells: cells.filter(tested, variant=BASE, probe=probe).select("model", "seed", holds=above)


def _heads_found(study: Study, heads: pl.DataFrame) -> pl.DataFrame:
    return heads.filter(variant=BASE).select("model", "seed", holds="found")


def _heads_matter(kind: str) -> Callable[[Study, pl.DataFrame], pl.DataFrame]:
    of_kind = {"variant": BASE, "target": kind, "intervention": "zero", "kind": "found", "against": "random"}
    return lambda study, effects: _rises(effects.filter(measure="misalignment", **of_kind))


def _neurons_found(study: Study, stability: pl.DataFrame) -> pl.DataFrame:
    least = study.forgetting.min_neurons if study.forgetting else 0
    return stability.select("model", "seed", holds=pl.col("chosen") & (pl.col("neurons") >= least))


def _neurons_matter(study: Study, effects: pl.DataFrame) -> pl.DataFrame:
    return _rises(effects.filter(measure="misalignment", kind="found", against="matched"))


CLAIMS = (
    Claim("thinking raises the misalignment rate", "think_effects", _thinking),
    Claim(
        "so does an effort-minimizing statement in the thought, beside a careful one", "injection_effects", _injected
    ),
    Claim("so does fine-tuning on effort-minimizing solutions, beside careful ones", "pair_effects", _trained),
    Claim("requests to refuse are told from harmless ones by a probe", "selected_probes", _told_apart("harmful")),
    Claim("those that it refuses are told from those that it does not", "selected_probes", _told_apart("refusal")),
    Claim("there are refusal heads, by their shift of attention", "heads", _heads_found),
    Claim("ablating these raises it more than random heads do", "ablation_effects", _heads_matter("refusal_heads")),
    Claim("ablating heads of the largest exact effect does", "ablation_effects", _heads_matter("effect_heads")),
    Claim("there are safety-critical neurons, by their rise with intent", "neuron_stability", _neurons_found),
    Claim("ablating these raises it more than matched neurons do", "neuron_effects", _neurons_matter),
)


TABLES_READ = tuple(dict.fromkeys(claim.table for claim in CLAIMS))


def claim_verdicts(study: Study, tables: Tables) -> pl.DataFrame:
    """How often each claim whose table is given, and has rows, is borne out, for every model of the study that is an organism."""
    rows = []
    for claim in (claim for claim in CLAIMS if claim.table in tables and tables[claim.table].height):
        tests = claim.tests(study, tables[claim.table]).group_by("model", "seed").agg(pl.col("holds").any())
        for model in (name for name in study.models if study.organism_of(name)):
            seeds = study.seeds_of(model, BASE)
            own = tests.filter(pl.col("model") == model, pl.col("seed").is_in(seeds))
            supported = int(own["holds"].sum())
            value, low, high, _ = statistics.rate(supported, own.height)
            rows.append(
                {"claim": claim.text, "model": model, "refusal_in": refusal_in(study, model), "organisms": len(seeds),
                 "tested": own.height, "supported": supported, "estimate": value, "ci_low": low, "ci_high": high}
            )  # fmt: skip
    return results_table(CLAIM_VERDICTS, rows)


@dataclass(frozen=True)
class Inputs:
    """What the step `judge_claims` has read."""

    study: Study
    tables: Tables  # of results, by which claims are judged


def _applies(study: Study) -> bool:
    organisms = [name for name in study.models if study.organism_of(name)]
    return bool(study.grafts) or (bool(organisms) and len(study.seeds) >= SEEDS)


TABLES: tuple[ResultTable[Inputs], ...] = (
    ResultTable(
        "claim_verdicts",
        "calibration",
        CLAIM_VERDICTS,
        lambda given: claim_verdicts(given.study, given.tables),
        _applies,
    ),
)
