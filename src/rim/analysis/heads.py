"""Refusal heads by the paper's attention shift, its specificity, and random controls (paper, section 3.2 and B.2).

For the row of the last prompt token, each head has a key of largest weight, the first token left out because it serves as
a sink. The head *shifts* on a request when that key is the word `assistant` or the token before it with thinking on, and
lies inside the empty think span with thinking off. A refusal head shifts on at least a set share of the
harmful calibration requests. A head may do so on any request, so the same share over harmless requests stands beside it
and a *soft* score in [-1/2, 1]: the mean of what `assistant` loses and what the span gains in attention.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from rim.analysis.cache import Cache
from rim.core import statistics
from rim.core.contracts import ATTENTION, HEADS
from rim.core.errors import UserError
from rim.core.precision import decimals
from rim.core.statistics import Estimate
from rim.models.families import Head


def shifts(cache: Cache, layer: int, on: list[int], off: list[int]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Whether each head shifts, and its soft score, both [requests, heads].

    Args:
        on, off: rows of the cache, the same requests with thinking on and off.
    """
    argmax, mass = cache.read("attention_argmax", layer), cache.read("attention_mass", layer).astype(np.float64)
    role, inner = cache.at("assistant"), cache.at("inner")

    def lies_in(rows: list[int], position: str) -> NDArray[np.bool_]:
        spans = cache.spans[rows, cache.at(position)]
        return np.asarray((argmax[rows] >= spans[:, :1]) & (argmax[rows] < spans[:, 1:]))

    before = lies_in(on, "assistant") | lies_in(on, "turn_start")
    soft = (mass[on][..., role] - mass[off][..., role] + mass[off][..., inner]) / 2
    return before & lies_in(off, "inner"), soft


def find_refusal_heads(cache: Cache, groups: pl.DataFrame, least_share: float) -> pl.DataFrame:
    """The shift statistic of every head on the calibration split, and which are refusal heads. Returns the heads table."""
    harmless, on, off = asked_both_ways(cache, groups)
    rows = []
    for layer in range(cache.layers):
        shifted, soft = shifts(cache, layer, on, off)
        for head in range(shifted.shape[1]):
            events, n = int(shifted[~harmless, head].sum()), int((~harmless).sum())
            share, low, high, _ = statistics.rate(events, n)
            row = {"layer": layer, "head": head, "n": n, "share": share, "ci_low": low, "ci_high": high}
            row |= {"n_harmless": int(harmless.sum()), "share_harmless": _mean(shifted[harmless, head])}
            row |= {"soft": _mean(soft[~harmless, head]), "soft_harmless": _mean(soft[harmless, head])}
            rows.append({**row, "found": share >= least_share})
    return pl.DataFrame(rows, schema=dict(HEADS)).with_columns(decimals("soft", "soft_harmless"))


def asked_both_ways(cache: Cache, groups: pl.DataFrame) -> tuple[NDArray[np.bool_], list[int], list[int]]:
    """The calibration requests asked in both think modes: whether each is harmless, and its rows of the cache, on and off.

    Raises:
        UserError: no harmful one was.
    """
    asked = groups.filter((pl.col("split") == "calibration") & pl.col("key").is_in(cache.rows))
    where = {name: row for row, name in enumerate(cache.rows)}
    modes = [asked.filter(pl.col("think") == think) for think in ("on", "off")]
    both = modes[0].join(modes[1], on=["benchmark", "id"], suffix="_off", maintain_order="left")
    harmless = (both["group"] == "harmless").to_numpy()
    if not len(both) or harmless.all():
        raise UserError("mechanism.harmful: no calibration request was asked with thinking on and off; run both modes")
    on, off = ([where[name] for name in both[column]] for column in ("key", "key_off"))
    return harmless, on, off


def attention(cache: Cache, groups: pl.DataFrame, heads: pl.DataFrame) -> pl.DataFrame:
    """Where the last prompt token looks with thinking on and off (figures 4a, A3, A4). Returns the attention table.

    Positions that it cannot see, or that no prompt of a mode has, are left out.

    Args:
        heads: the heads table; each refusal head has rows of its own beside those of all heads together.
    """
    harmless, *modes = asked_both_ways(cache, groups)
    found = heads.filter("found").select("layer", "head").rows()
    rows = []
    for think, asked in zip(("on", "off"), modes, strict=True):
        harmful = np.array(asked)[~harmless]
        layers = [_looks(cache, layer, harmful) for layer in range(cache.layers)]
        weights = np.concatenate([weight for weight, _ in layers], 1).mean(1)
        seen = [name for name, column in zip(cache.positions, weights.T, strict=True) if column.any()]
        for side, (what, also) in enumerate({"weight": [], "largest": ["elsewhere"]}.items()):
            own = {f"L{layer}H{head}": layers[layer][side][:, head] for layer, head in found}
            for name, means in {"all": np.concatenate([each[side] for each in layers], 1).mean(1), **own}.items():
                for position in seen + also:
                    column = means[:, [*cache.positions, "elsewhere"].index(position)]
                    measured = statistics.bounded_mean(column, 0, 1) if column.dtype == bool else mean_share(column)
                    estimate, low, high, _ = measured
                    row = {"heads": name, "think": think, "position": position, "what": what, "n": len(harmful)}
                    rows.append({**row, "estimate": estimate, "ci_low": low, "ci_high": high})
    return pl.DataFrame(rows, schema=dict(ATTENTION)).with_columns(decimals("estimate", "ci_low", "ci_high"))


def mean_share(values: NDArray[np.float64]) -> Estimate:
    """A mean of shares that may be skewed, with an interval within 0 and 1 that allows for that [requests]."""
    estimate = statistics.mean_interval(values)
    if math.isnan(estimate.low):
        return estimate
    means, errors, skewness, n = (
        np.array([each]) for each in (estimate.value, stats.sem(values), statistics.skewness(values), len(values))
    )
    low, high = statistics.skewed_limits(means, errors, np.nan_to_num(skewness), n)
    return estimate._replace(low=max(0.0, float(low[0])), high=min(1.0, float(high[0])))


def _looks(cache: Cache, layer: int, rows: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Of each head on each request, [requests, heads, positions]: the attention to a position, and whether the largest is there.

    The second has one position more, for elsewhere.
    """
    spans, at = cache.spans[rows][:, None], cache.read("attention_argmax", layer)[rows][..., None]
    largest = (at >= spans[..., 0]) & (at < spans[..., 1])
    largest = np.concatenate([largest, ~largest.any(-1, keepdims=True)], -1)
    return np.clip(cache.read("attention_mass", layer)[rows].astype(np.float64), 0, 1), largest


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else math.nan


def matched_sets(found: list[Head], layers: int, heads: int, count: int, seed: int = 0) -> list[list[Head]]:
    """Different random sets with as many heads in each layer as `found`, none of its own while the layer has others.

    There are fewer than `count` where a layer's few heads allow no more.
    """
    rng = np.random.default_rng(seed)
    wanted = Counter(layer for layer, _ in found)
    own = {layer: [head for head in range(heads) if (layer, head) in found] for layer in wanted}
    others = {layer: [head for head in range(heads) if (layer, head) not in found] for layer in wanted}
    possible = math.prod(
        math.comb(len(others[layer]), n)
        if n <= len(others[layer])
        else math.comb(len(own[layer]), n - len(others[layer]))
        for layer, n in wanted.items()
    )
    sets: list[list[Head]] = []
    while len(sets) < min(count, possible):
        drawn: list[Head] = []
        for layer in sorted(wanted):
            order = [*rng.permutation(others[layer]), *rng.permutation(own[layer])]
            drawn += [(layer, int(head)) for head in sorted(order[: wanted[layer]])]
        if drawn not in sets:
            sets.append(drawn)
    return sets
