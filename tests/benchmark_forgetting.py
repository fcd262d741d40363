"""Measure finding neurons and RAS at the size of a real model: `python tests/benchmark_forgetting.py`.

Generated activations of 36 layers x 9728 neurons and 300 pairs, made layer by layer outside the measured time; process-CPU
time of one thread, and the peak memory of the process. RAS is over five sets of neurons with 200 bootstrap resamples.
"""

import os
import resource
import time
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from rim.analysis import neurons, ras

LAYERS, WIDTH, TEXTS = 36, 9728, 300


def arms(layer: int, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(layer)
    made = [np.abs(rng.standard_normal((TEXTS, WIDTH), np.float32)) for _ in range(count)]
    made[1][:, :40] += 2  # planted
    return made


class Timer:
    """Process-CPU seconds inside `with`, summed."""

    total = 0.0

    def __enter__(self) -> None:
        self.begun = time.process_time()

    def __exit__(self, *error: object) -> None:
        self.total += time.process_time() - self.begun


def find(timer: Timer) -> tuple[neurons.Columns, list[np.ndarray]]:
    layers = []
    for number in range(LAYERS):
        values = arms(number, 3)
        with timer:
            layer = neurons.Layer(neurons.top_count(0.05, WIDTH))
            layer.add(*values)
            layers.append(layer)
    with timer:
        found = neurons.columns_from([layer.frequency() for layer in layers], 0.9)
        list(neurons.curve(layers, 0.9))
        magnitudes = [layer.magnitude() for layer in layers]
    return found, magnitudes


def shift(timer: Timer, found: neurons.Columns, magnitudes: list[np.ndarray]) -> None:
    with timer:
        sets = {f"matched{i}": neurons.matched_set(found, magnitudes, np.random.default_rng(i)) for i in range(5)}
    sets |= {"found": found, "all": [np.arange(WIDTH)] * LAYERS}

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for number in range(LAYERS):
            before, after = arms(number, 2)
            yield before.astype(np.float32), after.astype(np.float32)

    safety = list(pairs())
    with timer:
        ras.deltas(safety, safety, sets, draws=200)


def report(name: str, timer: Timer) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{name}: {timer.total:.1f} s of CPU, peak {peak:.2f} GiB")


def main() -> None:
    finding, shifting = Timer(), Timer()
    found, magnitudes = find(finding)
    report("finding neurons", finding)
    shift(shifting, found, magnitudes)
    report("RAS", shifting)


if __name__ == "__main__":
    main()
