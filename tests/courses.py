"""Made-up courses of a metric and of misalignment over the checkpoints of several fine-tunes, with and without a relation.

Each world gives (metric, rate), both [units, checkpoints], for as many units as are asked for. In the null worlds the two
have nothing to do with each other in a unit, whatever they share as functions of the step. `python -m tests.courses` prints
how often tests call them related, over 1,000 draws of each world.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import numpy as np
from scipy import stats

from rim.core import correlation

Values = np.ndarray
World = Callable[[np.random.Generator, int], tuple[Values, Values]]
CHECKPOINTS = 8
SHARE = np.arange(1, CHECKPOINTS + 1) / CHECKPOINTS  # of training
TRENDS = (np.log(SHARE), SHARE, np.sqrt(SHARE), 1 / (1 + np.exp(-16 * (SHARE - 0.4))), SHARE**2)


def walks(rng: np.random.Generator, units: int) -> Values:
    return rng.normal(size=(units, CHECKPOINTS)).cumsum(1)


def trend(rng: np.random.Generator, units: int) -> Values:
    """One function of the step, of another size in each unit."""
    return 3 * TRENDS[rng.integers(len(TRENDS))] * np.exp(rng.normal(0, 0.3, (units, 1)))


def independent_walks(rng: np.random.Generator, units: int) -> tuple[Values, Values]:
    return walks(rng, units), walks(rng, units)


def few_that_change(rng: np.random.Generator, units: int) -> tuple[Values, Values]:
    """Misalignment moves in every third unit only, as it does under one of several arms."""
    return walks(rng, units), walks(rng, units) * np.where(np.arange(units) % 3 == 0, 1.0, 0.05)[:, None]


def common_trends(rng: np.random.Generator, units: int) -> tuple[Values, Values]:
    noise = rng.normal(0, 0.3, (2, units, CHECKPOINTS))
    return trend(rng, units) + noise[0], trend(rng, units) + noise[1]


def knows_the_step(rng: np.random.Generator, units: int) -> tuple[Values, Values]:
    """A metric that is a function of the step, and nothing else but a little noise."""
    return trend(rng, units) + 0.01 * rng.normal(size=(units, CHECKPOINTS)), trend(rng, units) + 0.3 * walks(rng, units)


def counted_replies(rng: np.random.Generator, units: int) -> tuple[Values, Values]:
    """A rate that does not change, over 80 replies."""
    return trend(rng, units) + 0.3 * walks(rng, units), rng.binomial(80, 0.1, (units, CHECKPOINTS)) / 80


def alike_within_models(rng: np.random.Generator, units: int) -> tuple[Values, Values]:
    """Every two units are of one model, whose fine-tunes run much alike on any rows: what the test takes not to be so."""
    return tuple(np.repeat(walks(rng, units // 2), 2, 0) + 0.5 * walks(rng, units) for _ in range(2))  # type: ignore[return-value]


NULL: dict[str, World] = {
    world.__name__: world
    for world in (independent_walks, few_that_change, common_trends, knows_the_step, counted_replies)
}


def planted(rng: np.random.Generator, units: int) -> tuple[Values, Values]:
    """Beside the common trend each unit has a course of its own, which the metric shows with noise."""
    own, common = walks(rng, units), trend(rng, units)
    return common + own + 0.7 * walks(rng, units), common + own


def early(rng: np.random.Generator, models: int, arms: int) -> tuple[Values, Values, Values]:
    """(metric, final, seen), each [models, arms]: what is seen by then and the arm decide both others, which else are apart."""
    seen, own_x, own_y = rng.normal(size=(3, models, arms))
    arm = rng.normal(0, 3, arms)
    return seen + own_x + arm, seen + own_y + arm, seen


def twins(world: World, rng: np.random.Generator, units: int) -> tuple[Values, Values, Values]:
    """(metric, rate, unit) of every run, where a unit has one to four runs that are much alike."""
    courses = world(rng, units)
    unit = np.repeat(np.arange(units), rng.integers(1, 5, units))
    metric, rate = (each[unit] + 0.1 * rng.normal(size=(len(unit), CHECKPOINTS)) for each in courses)
    return metric, rate, unit


def mean_of_twins(metric: Values, rate: Values, unit: Values) -> tuple[Values, Values]:
    """The courses of the units: means over their runs."""
    metric, rate = (np.stack([each[unit == i].mean(0) for i in np.unique(unit)]) for each in (metric, rate))
    return metric, rate


def called(
    test: Callable[..., float], world: Callable[..., tuple[Values, ...]], units: int, draws: int, seed: int = 0
) -> float:
    """The share of draws in which a test's p is at most 0.05."""
    rng = np.random.default_rng(seed)
    return float(np.mean([test(*world(rng, units)) <= 0.05 for _ in range(draws)]))


def beyond_the_step(metric: Values, rate: Values) -> float:
    return correlation.beyond_common(correlation.in_units_of(range(len(metric)), metric), rate).p


def claimed(metric: Values, rate: Values) -> float:
    """As in the report's tables: p where the interval excludes 0 too, else 1."""
    made = correlation.beyond_common(correlation.in_units_of(range(len(metric)), metric), rate)
    return 1.0 if made.low <= 0 <= made.high else made.p


def beyond_the_arm(metric: Values, final: Values, seen: Values) -> float:
    return correlation.beyond_common(correlation.in_units_of(range(len(metric)), metric), final, seen).p


def student(metric: Values, rate: Values) -> float:
    """The test as published, of the first unit alone."""
    return float(stats.pearsonr(metric[0], rate[0]).pvalue)


def student_of_differences(metric: Values, rate: Values) -> float:
    return float(stats.pearsonr(np.diff(metric[0]), np.diff(rate[0])).pvalue)


def student_given_step(metric: Values, rate: Values) -> float:
    r = correlation.partial(metric[0], rate[0], np.log(SHARE))
    freedom = CHECKPOINTS - 3
    return float(2 * stats.t.sf(abs(r) * np.sqrt(freedom / (1 - r**2)), freedom))


def t_over_units(metric: Values, rate: Values) -> float:
    """Student's t over the units' partial correlations given log(step)."""
    scores = [np.arctanh(correlation.partial(x, y, np.log(SHARE))) for x, y in zip(metric, rate, strict=True)]
    return float(stats.ttest_1samp(scores, 0).pvalue)


def table(draws: int) -> Iterator[str]:
    within = {"t": student, "t of differences": student_of_differences, "t given log(step)": student_given_step}
    over = {
        "t over units given log(step)": t_over_units,
        "beyond the step": beyond_the_step,
        "beyond the step, with its interval": claimed,
    }
    for world in (*NULL.values(), alike_within_models, planted):
        for name, test in within.items():
            yield f"{world.__name__}, one run, {name}: {called(test, world, 1, draws):.1%}"
        for units in (6, 10, 30):
            for name, test in over.items():
                yield f"{world.__name__}, {units} units, {name}: {called(test, world, units, draws):.1%}"
    for models, arms in product((6, 10), (2, 3, 5)):
        share = called(beyond_the_arm, partial(early, arms=arms), models, draws)
        yield f"early, {models} models with {arms} arms, beyond the arm and what is seen: {share:.1%}"


if __name__ == "__main__":
    for line in table(1000):
        print(line, flush=True)
