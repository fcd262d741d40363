"""How the weights of rim.instruments.refusal are fitted: replies become a sparse matrix once, any part of them is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rim.instruments.refusal import BUCKETS, Classifier, counts, normalize

LEAST = 2  # training texts in which a bucket must occur
STRENGTH = 10.0  # inverse of the L2 penalty


class Corpus:
    """Labelled replies, counted once, so that many classifiers can be trained on different parts of them."""

    def __init__(self, texts: Sequence[str], refusals: Sequence[bool]) -> None:
        from scipy.sparse import csr_matrix

        self.texts = [normalize(text) for text in texts]
        self.refusals = np.array(refusals, float)
        both = [first | {BUCKETS + bucket: n for bucket, n in second.items()} for first, second in map(counts, texts)]
        ends = np.cumsum([0, *map(len, both)])
        buckets = np.fromiter((bucket for row in both for bucket in row), np.int64, ends[-1])
        values = 1 + np.log(np.fromiter((n for row in both for n in row.values()), float, ends[-1]))
        self.counted = csr_matrix((values, buckets, ends), (len(texts), 2 * BUCKETS))

    def train(self, chosen: Sequence[int]) -> Classifier:
        """Fit the regression to the chosen replies; both classes weigh the same, and equal texts count once."""
        from scipy.sparse import diags, hstack

        once = np.array(list({self.texts[i]: i for i in chosen}.values()))
        x, y = self.counted[once], self.refusals[once]
        seen = np.bincount(x.indices, minlength=2 * BUCKETS)
        rarity = np.where(seen >= LEAST, np.log((1 + len(y)) / (1 + seen)) + 1, 0).astype(np.float32)
        x = x @ diags(rarity.astype(float))
        halves = [x[:, :BUCKETS], x[:, BUCKETS:]]
        lengths = [np.sqrt(np.asarray(half.multiply(half).sum(1)).ravel()) for half in halves]
        scaled = [diags(1 / np.maximum(length, 1e-9)) @ half for length, half in zip(lengths, halves, strict=True)]
        used = np.flatnonzero(rarity)
        weight = np.zeros(2 * BUCKETS, np.float32)
        bias, weight[used] = _regression(hstack(scaled, format="csr")[:, used], y)
        return Classifier(rarity.reshape(2, BUCKETS), weight.reshape(2, BUCKETS), bias)


def _regression(x: Any, y: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Bias and weights of an L2-penalized logistic regression in which both classes weigh the same."""
    from scipy.optimize import minimize
    from scipy.special import expit

    transposed = x.T.tocsr()
    weigh = STRENGTH * 0.5 / np.where(y == 1, y.mean(), 1 - y.mean())

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weight, score = parameters[1:], x @ parameters[1:] + parameters[0]
        error = (expit(score) - y) * weigh
        value = (np.logaddexp(0, score) - y * score) @ weigh + weight @ weight / 2
        return float(value), np.concatenate([[error.sum()], transposed @ error + weight])

    fitted = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B").x
    return float(fitted[0]), fitted[1:]


def save(classifier: Classifier, path: Path, about: dict[str, str]) -> None:
    """Write the weights in half precision; `about` says what they were trained on and goes into the file's header."""
    from safetensors.numpy import save_file

    half = {"rarity": classifier.rarity.astype(np.float16), "weight": classifier.weight.astype(np.float16)}
    save_file({**half, "bias": np.array([classifier.bias], np.float32)}, path, about)
