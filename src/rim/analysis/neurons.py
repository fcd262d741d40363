"""Safety-critical neurons: those that rise, request after request, when a malicious intent is spelled out (section 4.1.1).

Each pair is a request and the same request with a sentence of intent at its end. A text's activations are max-pooled over
its tokens, f, and A_k, the top m of f(with intent) - f(request) within each layer, are the neurons that rise most on pair
k. The paper intersects A_k over all pairs; one odd pair empties an intersection, so the rule here is the *frequency*, the
share of pairs in whose top m a neuron is: at least 0.9 by default, and 1.0 is the paper's intersection. A sentence without
intent and of equal length, the placebo, is a third arm: what it raises too, more text raises. Bootstrap resamples of the
pairs say how stable the set is, by its Jaccard index with the sets of the resamples.

All arrays are per layer. A mixture of experts has its (expert, neuron) pairs side by side, expert after expert; NaN marks
an expert to which none of the text was routed, and what is not known on both sides of a pair never counts as a rise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rim.core.statistics import Estimate

CURVE = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # thresholds at which sizes and stability are reported
DRAWS = 200  # bootstrap resamples of the pairs
ALMOST = 1e-9  # shares are compared up to rounding
Bits = NDArray[np.bool_]
Values = NDArray[np.floating[Any]]
Columns = list[NDArray[np.int64]]  # one set of neurons: per layer, which columns


def risers(request: Values, changed: Values, count: int) -> Bits:
    """The `count` neurons that rise most on each pair, of those that rise at all; all arrays are [pairs, neurons]."""
    rise = np.nan_to_num(changed - request, nan=-np.inf)
    chosen = np.zeros(rise.shape, bool)
    np.put_along_axis(chosen, np.argpartition(rise, -count, axis=1)[:, -count:], True, axis=1)
    return chosen & (rise > 0)


@dataclass
class Layer:
    """What the pairs say about one layer, one bit per pair and neuron; filled part by part, so activations need not stay."""

    count: int  # m
    intent: list[Bits] = field(default_factory=list)
    placebo: list[Bits] = field(default_factory=list)
    request: list[Values] = field(default_factory=list)  # sums over the pairs of a part
    known: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, request: Values, intent: Values, placebo: Values) -> None:
        """Take up some pairs, [pairs, neurons] each."""
        self.intent.append(risers(request, intent, self.count))
        self.placebo.append(risers(request, placebo, self.count))
        self.request.append(np.nansum(request, axis=0, dtype=np.float64))
        self.known.append((~np.isnan(request)).sum(0))

    def frequency(self, arm: str = "intent") -> Values:
        """Share of pairs in whose top m each neuron is, [neurons]."""
        return np.asarray(np.concatenate(getattr(self, arm)).mean(0))

    def magnitude(self) -> Values:
        """Mean max-pooled activation on the requests alone, [neurons]."""
        return np.asarray(np.sum(self.request, axis=0) / np.maximum(np.sum(self.known, axis=0), 1))


def top_count(share: float, neurons: int) -> int:
    """m: a share of the neurons of a layer."""
    return max(1, round(share * neurons))


def bounded_threshold(frequencies: Sequence[Values], wanted: float, most: float) -> float:
    """The wanted frequency, or the next higher one at which at most the share `most` of all neurons are found."""
    values = np.concatenate(list(frequencies))
    room = max(1, math.floor(most * len(values)))
    if (values >= wanted - ALMOST).sum() <= room:
        return wanted
    levels = [level for level in np.unique(values[values >= wanted - ALMOST]) if (values >= level).sum() <= room]
    return float(levels[0]) if levels else math.inf  # too many are equally frequent, so no rule parts them


def columns_from(frequencies: Sequence[Values], threshold: float) -> Columns:
    """The neurons of each layer at or above a threshold."""
    return [np.flatnonzero(values >= threshold - ALMOST) for values in frequencies]


def stability(layers: Sequence[Layer], thresholds: Sequence[float], seed: int = 0) -> list[Estimate]:
    """Jaccard index of the found set with those of bootstrap resamples of the pairs, at each threshold.

    The value is the mean over resamples, the interval their 2.5th to 97.5th percentile; nan where nothing is ever found.
    """
    pairs = sum(map(len, layers[0].intent))
    drawn = np.random.default_rng(seed).multinomial(pairs, np.full(pairs, 1 / pairs), DRAWS).astype(np.float32)
    both, either = np.zeros((2, len(thresholds), DRAWS))
    for layer in layers:
        bits = np.concatenate(layer.intent)
        resampled, whole = drawn @ bits.astype(np.float32) / pairs, bits.mean(0)
        for i, threshold in enumerate(thresholds):
            again, found = resampled >= threshold - 1e-6, whole >= threshold - ALMOST
            both[i] += (again & found).sum(1)
            either[i] += (again | found).sum(1)
    found_ones = []
    for shared, all_ in zip(both, either, strict=True):
        known = shared[all_ > 0] / all_[all_ > 0]
        low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (math.nan, math.nan)
        found_ones.append(Estimate(float(known.mean()) if len(known) else math.nan, float(low), float(high)))
    return found_ones


def curve(layers: Sequence[Layer], chosen: float) -> Iterator[dict[str, Any]]:
    """How many neurons each threshold finds, how many the placebo finds, and how stable the set is."""
    thresholds = sorted({*CURVE, chosen})
    arms = {arm: [layer.frequency(arm) for layer in layers] for arm in ("intent", "placebo")}
    for threshold, index in zip(thresholds, stability(layers, thresholds), strict=True):
        intent, placebo = (np.concatenate(values) >= threshold - ALMOST for values in arms.values())
        yield {
            "pairs": sum(map(len, layers[0].intent)),
            "threshold": threshold,
            "chosen": threshold == chosen,
            "neurons": int(intent.sum()),
            "placebo": int(placebo.sum()),
            "shared": int((intent & placebo).sum()),
            "of": len(intent),
            "estimate": index.value,
            "ci_low": index.low,
            "ci_high": index.high,
        }


def random_set(found: Columns, sizes: Sequence[int], rng: np.random.Generator) -> Columns:
    """As many other neurons in each layer as were found there."""
    return [
        np.sort(rng.permutation(np.setdiff1d(np.arange(size), columns))[: len(columns)])
        for columns, size in zip(found, sizes, strict=True)
    ]


def matched_set(found: Columns, magnitudes: Sequence[Values], rng: np.random.Generator) -> Columns:
    """For each found neuron another of its layer, from the same tenth of the layer by mean max-pooled activation.

    Large activations are what max-pooling and top m favour, so neurons that are merely large must be among the controls.
    Where the tenth has no other left, the one nearest in rank is taken.
    """
    drawn = []
    for columns, magnitude in zip(found, magnitudes, strict=True):
        ranks = magnitude.argsort(kind="stable").argsort(kind="stable")
        free = list(rng.permutation(np.setdiff1d(np.arange(len(magnitude)), columns)))
        taken = []
        for column in columns:
            if not free:
                break
            tenths = ranks * 10 // len(ranks)
            alike = [other for other in free if tenths[other] == tenths[column]]
            other = alike[0] if alike else min(free, key=lambda each: abs(ranks[each] - ranks[column]))
            free.remove(other)
            taken.append(int(other))
        drawn.append(np.array(sorted(taken), np.int64))
    return drawn
