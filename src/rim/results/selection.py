"""What is picked among many: the cell of a probe, and heads by their shift or effect, each with what picking it costs.

A probe's cell is selected on the calibration split, so its evaluation estimate needs no correction over cells. Heads
have one split only, so their tests are corrected over all heads of a run, and the intervals of their effects hold for all
of them together: whichever head one looks at, being the largest of many is paid for. Per run there are means, intervals and
the skewness of effects and not those of single prompts. Student's t alone would not do: a correction over many heads asks
for what lies far out in its tails, and with skewed effects some head passes it in 13 to 93 % of runs without any.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import scipy

from rim.core import statistics
from rim.core.contracts import EFFECTS, HEADS, INTEGER, INTERVAL, NUMBER, PROBES, RUN, TEXT, THINK, Contract, optional
from rim.core.statistics import CONFIDENCE
from rim.results.tables import rounded, with_holm

SIZES = ("fitted_positive", "fitted_negative", "tested_positive", "tested_negative")

SELECTED_PROBES = Contract(
    **RUN,
    probe=PROBES.columns["probe"],
    think=THINK,
    cells=INTEGER,  # positions and layers with enough prompts, of which one was selected
    position=optional(TEXT),  # empty where there is none
    layer=optional(INTEGER),
    **{name: INTEGER for name in SIZES},  # where there is no cell, the most of any
    cross_validated=NUMBER,  # the area by which it was selected, so optimistic
    accuracy=NUMBER,  # likewise
    **INTERVAL,  # area on the evaluation split
    p=NUMBER,  # share of shuffled labels that reach it in this cell
    p_holm=NUMBER,  # over think modes and variants of a model and probe
)


def selected_probes(probes: pl.DataFrame) -> pl.DataFrame:
    """The selected cell of each run, probe and think mode; a row without position where no cell has enough prompts."""
    keys = ["model", "variant", "seed", "probe", "think"]
    count = (~pl.col("few")).sum().cast(pl.Int64).alias("cells")
    sizes = probes.group_by(keys, maintain_order=True).agg(count, pl.col(*SIZES).max())
    chosen = probes.filter("selected")
    joined = sizes.join(chosen, on=keys, how="left", suffix="_chosen", maintain_order="left")
    joined = joined.with_columns(pl.coalesce(f"{name}_chosen", name).alias(name) for name in SIZES)
    corrected = with_holm(joined, "model", "seed", "probe")
    return rounded(corrected.select(list(SELECTED_PROBES)))


HEAD_TABLE = Contract(
    **RUN,
    **HEADS.columns,
    p=NUMBER,  # Fisher's exact test of the shares on harmful and harmless requests
    p_holm=NUMBER,  # over all heads of the run
)


def head_table(heads: pl.DataFrame) -> pl.DataFrame:
    """Whether each head shifts more or less often on harmful than on harmless requests."""
    counts = heads.select("share", "n", "share_harmless", "n_harmless").fill_nan(None)
    tests = {row: _fisher(*row) for row in counts.unique().iter_rows()}  # most heads never shift
    p = [tests[row] for row in counts.iter_rows()]
    return rounded(with_holm(heads.with_columns(pl.Series("p", p, pl.Float64)), "model", "variant", "seed"))


def _fisher(share: float | None, n: int, share_harmless: float | None, n_harmless: int) -> float:
    if share is None or share_harmless is None:
        return np.nan
    events = [(round(rate * of), of) for rate, of in ((share, n), (share_harmless, n_harmless))]
    return float(scipy.stats.fisher_exact([[count, of - count] for count, of in events]).pvalue)


HEAD_EFFECTS = Contract(
    **RUN,
    **EFFECTS.columns,  # the interval of one head by itself
    skewness=NUMBER,  # of the effects over prompts
    low_all=NUMBER,  # interval that holds for all heads of the run and group together (Bonferroni)
    high_all=NUMBER,
    p=NUMBER,  # over prompts, which may be skewed
    p_holm=NUMBER,  # over all heads of the run and group
)


def head_effects(effects: pl.DataFrame, skewness: pl.DataFrame) -> pl.DataFrame:
    """The effect of every head with a test and an interval that allow for there being many heads, and for skewed effects."""
    family = ["model", "variant", "seed", "group"]
    tested = effects.join(skewness, on=[*family, "layer", "head"], how="left", maintain_order="left")
    heads = tested.select(pl.len().over(family)).to_series().to_numpy()
    estimate, high, n = (tested[name].to_numpy() for name in ("estimate", "ci_high", "n"))
    skew = np.nan_to_num(tested["skewness"].fill_null(np.nan).to_numpy())
    error = (high - estimate) / scipy.stats.t.ppf((1 + CONFIDENCE) / 2, np.maximum(n - 1, 1))
    with np.errstate(divide="ignore", invalid="ignore"):  # no spread: t is infinite, or nan where the effect is 0 too
        p = statistics.skewed_p(estimate / error, skew, n)
    low, high = statistics.skewed_limits(estimate, error, skew, n)
    low_all, high_all = statistics.skewed_limits(estimate, error, skew, n, (1 - CONFIDENCE) / np.maximum(heads, 1))
    columns: dict[str, Any] = {"ci_low": low, "ci_high": high, "low_all": low_all, "high_all": high_all, "p": p}
    tested = tested.with_columns(pl.Series(name, values, pl.Float64) for name, values in columns.items())
    return rounded(with_holm(tested, *family).select(list(HEAD_EFFECTS)))
