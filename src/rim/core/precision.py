"""Numbers from a model's activations, rounded to what another processor gives too.

Processors sum in another order, which moves a float32 activation in its seventh digit, and what is made of differences of
activations in its sixth or fifth. Four digits are the same but for a few numbers that lie where two roundings meet. What is
counted (rates, probe scores, ranks) needs no rounding: it is the same as long as replies are.
"""

from __future__ import annotations

import polars as pl

DIGITS = 4


def significant(*columns: str) -> pl.Expr:
    """Columns of sizes, rounded to significant digits."""
    return pl.col(columns).round_sig_figs(DIGITS)


def decimals(*columns: str) -> pl.Expr:
    """Columns of differences, which may be all but nothing, rounded to decimals; there is no negative zero."""
    return pl.col(columns).round(DIGITS) + 0.0
