"""Seeds of the streams of random numbers that one replicate needs, so that no two replicates share any."""

from __future__ import annotations

from numpy.random import SeedSequence


def stream_seed(seed: int, number: int) -> int:
    """The seed, of 63 bits, of a replicate's stream of that number, such as an epoch; a sum would be another replicate's."""
    return int(SeedSequence([seed, number]).generate_state(1, "uint64")[0]) >> 1
