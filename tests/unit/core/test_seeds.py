from itertools import product

from rim.core.seeds import stream_seed


def test_streams_of_all_replicates_are_apart() -> None:
    replicates = [*range(50), 1 << 20, 2**31 - 1]
    seeds = [stream_seed(seed, number) for seed, number in product(replicates, range(50))]
    assert len(set(seeds) | set(replicates)) == len(seeds) + len(replicates)
    assert all(0 <= seed < 2**63 for seed in seeds)  # what torch takes
