"""Worlds with a known truth, one for each interval and test of the results, and the sizes at which they are looked at.

`make benchmark-statistics` and the coarse version of it among the tests measure every case of CASES: is the truth inside the
interval, and how often is nothing called something. Sizes are those of the shipped studies: 80 prompts (the demo's split for
ablations), 200 prompts with one seed (demo) and five (replication), 300 and 450 prompts with three (HEx-PHI and XSTest in
the paper's study).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import permutations
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from rim.analysis import checkpoints, probes, ras
from rim.analysis.heads import mean_share
from rim.config.load import load_study_file
from rim.config.study import Study
from rim.core import agreement, correlation, statistics
from rim.core.statistics import Estimate
from rim.report import claims
from rim.report.page import Material
from rim.results import explanations, forgetting, replies, selection
from rim.results.calibration import over_organisms
from rim.results.tables import is_significant
from rim.settings.common import BASE
from tests import courses

Rng = np.random.Generator
Values = NDArray[np.float64]
Draw = Callable[[Rng], tuple[Any, ...]]
REPETITIONS, SLOW, FEW = 2000, 600, 150
RATES = (0.005, 0.05, 0.3, 0.95)
SIZES = (80, 200, 300, 450)


@dataclass(frozen=True)
class Case:
    """Data drawn from a world in which the truth is known, and the function of the results that is to find it."""

    section: str  # of workflow/docs/statistics.md
    simulated: str
    truth: float  # nan where there is a test only
    draw: Draw
    analyse: Callable[..., Estimate]
    none: float = 0.0  # what the test denies; nan where nothing is tested
    nothing: bool | None = None  # whether there is nothing to be found; by default, whether the truth is `none`
    repetitions: int = REPETITIONS
    coarse: bool = True  # whether it is fast enough for the tests

    def __post_init__(self) -> None:
        if self.nothing is None:
            object.__setattr__(self, "nothing", self.truth == self.none)


def only_p(p: float) -> Estimate:
    return statistics.UNDEFINED._replace(p=p)


def percent(rate: float) -> str:
    return f"{100 * rate:.3g} %"


# Rates -----------------------------------------------------------------------------------------------------------------


def asked_once(n: int, rate: float) -> Draw:
    """The events among n prompts, and n."""
    return lambda rng: (int(rng.binomial(n, rate)), n)


def rates() -> list[Case]:
    return [
        Case("Rates", f"{n} prompts, rate {percent(rate)}", rate, asked_once(n, rate), statistics.rate, math.nan)
        for n in SIZES
        for rate in RATES
    ]


# Changes on the same prompts -------------------------------------------------------------------------------------------

SAME_PROMPT = 0.6  # correlation of what two models do on a prompt, before it is cut into yes and no
CHANGES = ((0.005, 0.005), (0.05, 0.05), (0.3, 0.3), (0.95, 0.95), (0.0, 0.01), (0.05, 0.1), (0.3, 0.4), (0.95, 0.98))


@cache
def joint(first: float, second: float) -> tuple[float, float, float, float]:
    """The shares of (yes yes, yes no, no yes, no no) when both rates are cut from correlated normal variables."""
    if min(first, second) <= 0 or max(first, second) >= 1:
        both = first * second
    else:
        cuts = stats.norm.ppf([first, second])
        both = float(stats.multivariate_normal.cdf(cuts, cov=[[1, SAME_PROMPT], [SAME_PROMPT, 1]]))
    return both, first - both, second - both, 1 - first - second + both


def paired(n: int, first: float, second: float) -> Draw:
    """What two models do on the same prompts, in the order of the four outcomes, which says nothing."""

    def draw(rng: Rng) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        counts = rng.multinomial(n, np.clip(joint(first, second), 0, 1))
        return tuple(np.repeat(np.array(outcomes, bool), counts) for outcomes in ((1, 1, 0, 0), (1, 0, 1, 0)))  # type: ignore[return-value]

    return draw


def changes() -> list[Case]:
    return [
        Case(
            "Paired changes",
            f"{n} prompts, {percent(first)} → {percent(second)}",
            second - first,
            paired(n, first, second),
            statistics.paired_rates,
        )
        for n in SIZES
        for first, second in CHANGES
    ]


# Several seeds ---------------------------------------------------------------------------------------------------------

PROMPT_SPREAD, SEED_SPREAD, OWN_SPREAD = 1.5, 0.5, 0.7  # standard deviations in log odds
STUDIES = ((5, 200), (3, 300), (3, 450))  # seeds and prompts: the replication, HEx-PHI and XSTest


def mean_rate(center: float, *spreads: float) -> float:
    """The expected rate when log odds are normal around `center`."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    return float(weights @ stats.logistic.cdf(center + math.hypot(*spreads) * nodes) / weights.sum())


@cache
def center_of(rate: float, *spreads: float) -> float:
    """The mean log odds at which the expected rate is `rate`."""
    from scipy.optimize import brentq

    return float(brentq(lambda center: mean_rate(center, *spreads) - rate, -20, 20))


def answers(rng: Rng, log_odds: Values) -> Values:
    return (rng.random(log_odds.shape) < stats.logistic.cdf(log_odds)).astype(float)


def seeded(seeds: int, prompts: int, before: float, after: float, spread: float) -> Draw:
    """What one model does on prompts, and its fine-tunes of several seeds on the same: [1, prompts], [seeds, prompts].

    Prompts differ (twice: in how easily they are answered, and in what fine-tuning does to them), and so do seeds.
    """

    def draw(rng: Rng) -> tuple[Values, Values]:
        prompt = rng.normal(0, PROMPT_SPREAD, prompts)
        seed, own = rng.normal(0, spread, (seeds, 1)), rng.normal(0, OWN_SPREAD, (seeds, prompts))
        plain = center_of(before, PROMPT_SPREAD) + prompt
        tuned = center_of(after, PROMPT_SPREAD, spread, OWN_SPREAD) + prompt + seed + own
        return answers(rng, plain[None]), answers(rng, tuned)

    return draw


def rate_over_seeds(plain: Values, tuned: Values) -> Estimate:
    return rate_of_arm(tuned)


def seeds() -> list[Case]:
    cases = []
    for count, prompts in STUDIES:
        for rate in RATES:
            drawn = seeded(count, prompts, rate, rate, SEED_SPREAD)
            text = f"{count} seeds, {prompts} prompts, rate {percent(rate)}"
            cases.append(Case("Rates over seeds", text, rate, drawn, rate_over_seeds, math.nan, repetitions=SLOW))
        for first, second in CHANGES:
            for spread in (0.0, SEED_SPREAD) if prompts < 450 and first == second else (SEED_SPREAD,):
                drawn = seeded(count, prompts, max(first, 1e-6), second, spread)
                how = "seeds differ" if spread else "seeds are alike"
                text = f"{count} seeds, {prompts} prompts, {percent(first)} → {percent(second)}, {how}"
                cases.append(
                    Case("Changes over seeds", text, second - first, drawn, statistics.paired_rates, repetitions=SLOW)
                )
    return cases


LEARNED, NOT_LEARNED = 0.9, 0.05  # rates of a fine-tune that has learned what it was to learn, and of one that has not


def learning(seeds: int, prompts: int, share: float, arms: int = 1) -> Draw:
    """Outcomes of fine-tunes on the same prompts, [seeds, prompts] for each arm; of each, a share of seeds learns."""

    def draw(rng: Rng) -> tuple[Values, ...]:
        prompt = rng.normal(0, PROMPT_SPREAD, prompts)
        centers = np.array([center_of(rate, PROMPT_SPREAD, OWN_SPREAD) for rate in (NOT_LEARNED, LEARNED)])

        def of_arm() -> Values:
            learned = (rng.random((seeds, 1)) < share).astype(int)
            return answers(rng, centers[learned] + prompt + rng.normal(0, OWN_SPREAD, (seeds, prompts)))

        return tuple(of_arm() for _ in range(arms))

    return draw


def in_groups(prompts: int, size: int, spread: float) -> Draw:
    """What two models do on the same prompts, whose changes are shared by groups of them (a spread in log odds)."""

    def draw(rng: Rng) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        prompt, center = rng.normal(0, PROMPT_SPREAD, prompts), center_of(0.3, PROMPT_SPREAD, spread)
        groups = [np.repeat(rng.normal(0, spread, prompts // size), size) for _ in range(2)]
        before, after = (answers(rng, center + prompt + group) for group in groups)
        return before > 0, after > 0

    return draw


def prompts_in_groups() -> list[Case]:
    """Prompts that are alike, which an interval over prompts takes for independent."""
    return [
        Case(
            "Prompts that are alike",
            f"200 prompts, {size} of a kind, each kind's change spread by {spread:g}",
            0.0,
            in_groups(200, size, spread),
            statistics.paired_rates,
            repetitions=SLOW,
        )
        for size, spread in ((2, 1.0), (4, 1.0), (4, 2.0), (10, 1.0), (10, 2.0))
    ]


def grades_of_organisms() -> list[Case]:
    """Areas and precisions of a method, one of each organism, normal in log odds."""

    def drawn(seeds: int, center: float, spread: float) -> Draw:
        return lambda rng: (stats.logistic.cdf(center + rng.normal(0, spread, seeds)),)

    return [
        Case(
            "Grades of methods",
            f"{seeds} organisms, mean {mean_rate(center, spread):.2f}, spread {spread:g}",
            mean_rate(center, spread),
            drawn(seeds, center, spread),
            over_organisms,
            0.5,
            repetitions=SLOW,
        )
        for seeds in (5, 10)
        for center, spread in ((0.0, 0.3), (0.0, 1.0), (2.0, 0.5), (-1.7, 0.5), (2.0, 1.0))
    ]


def arms_of_seeds(seeds: int, prompts: int, first: tuple[float, float], second: tuple[float, float]) -> Draw:
    """Differences in differences [seeds, prompts]: (target - control) of one model less that of another, trained with each seed."""

    def draw(rng: Rng) -> tuple[Values]:
        prompt = rng.normal(0, PROMPT_SPREAD, prompts)

        def of_arm(rate: float) -> Values:
            center = center_of(rate, PROMPT_SPREAD, SEED_SPREAD, OWN_SPREAD)
            seed, own = rng.normal(0, SEED_SPREAD, (seeds, 1)), rng.normal(0, OWN_SPREAD, (seeds, prompts))
            return answers(rng, center + prompt + seed + own)

        arms = [of_arm(rate) for rate in (*first, *second)]
        return ((arms[1] - arms[0]) - (arms[3] - arms[2]),)

    return draw


def differences_over_seeds() -> list[Case]:
    section, cases = "Differences in differences over seeds", []
    for count, prompts in STUDIES[:2]:
        for first, second in DIFFERENCES:
            text = f"{count} seeds, {prompts} prompts, {difference_text(first, second)}"
            truth, drawn = difference_of(first, second), arms_of_seeds(count, prompts, first, second)
            cases.append(Case(section, text, truth, drawn, difference, repetitions=SLOW))
    return cases


def seeds_that_learn() -> list[Case]:
    """Two kinds of seeds, which the standard deviation of a few hardly tells."""
    cases = []

    def add(text: str, truth: float, drawn: Draw, analyse: Callable[..., Estimate], none: float = 0.0) -> None:
        cases.append(Case("Seeds that learn or do not", text, truth, drawn, analyse, none, repetitions=SLOW))

    for count, prompts in STUDIES[:2]:
        for share in (0.1, 0.5, 0.8, 0.95):
            gain, text = share * (LEARNED - NOT_LEARNED), f"{count} seeds, {prompts} prompts, {percent(share)} learn"
            add(f"{text}: rate", NOT_LEARNED + gain, learning(count, prompts, share), rate_of_arm, math.nan)
            add(f"{text}: difference in differences", gain, one_that_learns(count, prompts, share), difference)
            both = learning(count, prompts, share, arms=2)
            add(f"{text} in either of two arms: change", 0.0, both, statistics.paired_rates)
    return cases


def one_that_learns(seeds: int, prompts: int, share: float) -> Draw:
    """Differences in differences [seeds, prompts] of a target arm of which a share of seeds learns, and three others that do not."""
    target, others = learning(seeds, prompts, share), learning(seeds, prompts, 0.0, arms=3)

    def draw(rng: Rng) -> tuple[Values]:
        control, of_other, control_of_other = others(rng)
        return ((target(rng)[0] - control) - (of_other - control_of_other),)

    return draw


def rate_of_arm(tuned: Values) -> Estimate:
    return statistics.bounded_mean(tuned, 0, 1)._replace(p=math.nan)


# Without a set, against random sets ------------------------------------------------------------------------------------


def ablated(prompts: int, sets: int, rate: float, effect: float, between: float) -> Draw:
    """Outcomes by prompt without the found set, and without each random set.

    Taking away any set moves the log odds of all prompts by as much as that set does (spread `between`), and of each prompt
    a little; the found set's move has the mean `effect` beyond that of the others.
    """

    def draw(rng: Rng) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        whole = center_of(rate, PROMPT_SPREAD) + rng.normal(0, PROMPT_SPREAD, prompts)
        moves = rng.normal(0, between, (1 + sets, 1)) + np.r_[effect, np.zeros(sets)][:, None]
        own = rng.normal(0, 0.3, (1 + sets, prompts))
        chance = rng.logistic(size=prompts)  # decides alike whatever is taken away, so replies change where odds do
        outcomes = whole + moves + own > chance
        return outcomes[0], outcomes[1:]

    return draw


def random_sets() -> list[Case]:
    return [
        Case(
            "Against random sets",
            f"{prompts} prompts, {sets} sets, rate {percent(rate)}, spread of sets {between}, effect {effect}",
            math.nan,
            ablated(prompts, sets, rate, effect, between),
            statistics.beyond_sets,
            nothing=effect == 0,
            repetitions=SLOW,
        )
        for prompts, rate in ((80, 0.1), (300, 0.3))
        for sets in (5, 19)
        for between, effect in ((0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (0.5, 2.0))
    ]


# Differences of several outcomes per prompt ----------------------------------------------------------------------------


def outcomes_at(rng: Rng, rate: float, prompt: Values) -> Values:
    """What a model with this expected rate does where prompts have these log odds, and each model some of its own."""
    return answers(rng, center_of(rate, PROMPT_SPREAD, OWN_SPREAD) + prompt + rng.normal(0, OWN_SPREAD, prompt.shape))


def four_arms(prompts: int, first: tuple[float, float], second: tuple[float, float]) -> Draw:
    """Differences in differences by prompt: (target - control) of one model less that of another."""

    def draw(rng: Rng) -> tuple[Values]:
        prompt = rng.normal(0, PROMPT_SPREAD, prompts)
        arms = [outcomes_at(rng, rate, prompt) for rate in (*first, *second)]
        return ((arms[1] - arms[0]) - (arms[3] - arms[2]),)

    return draw


def injected(prompts: int, statements: int, control: float, target: float) -> Draw:
    """Target less control by prompt, each the mean over the statements of a pattern."""

    def draw(rng: Rng) -> tuple[Values]:
        prompt = np.tile(rng.normal(0, PROMPT_SPREAD, (prompts, 1)), statements)
        arms = [outcomes_at(rng, rate, prompt).mean(1) for rate in (control, target)]
        return (arms[1] - arms[0],)

    return draw


SAME, MUCH = (0.05, 0.05), (0.1, 0.95)
DIFFERENCES = ((SAME, SAME), ((0.005, 0.005), (0.005, 0.005)), ((0.3, 0.4), (0.3, 0.4)),
               ((0.05, 0.15), SAME), ((0.005, 0.02), (0.005, 0.005)), (MUCH, (0.1, 0.1)))  # fmt: skip
difference = partial(statistics.bounded_mean, low=-2, high=2)


def difference_of(first: tuple[float, float], second: tuple[float, float]) -> float:
    return round(first[1] - first[0] - second[1] + second[0], 9)


def difference_text(first: tuple[float, float], second: tuple[float, float]) -> str:
    return " less ".join(f"{percent(a)} → {percent(b)}" for a, b in (first, second))


def differences() -> list[Case]:
    cases = []
    for n in (200, 300):
        for first, second in DIFFERENCES:
            text, drawn = f"{n} prompts, {difference_text(first, second)}", four_arms(n, first, second)
            truth = difference_of(first, second)
            cases.append(Case("Differences in differences", text, truth, drawn, difference, repetitions=SLOW))
    for n, control, target in ((100, *SAME), (100, 0.3, 0.3), (100, 0.05, 0.15), (300, *SAME), (300, 0.3, 0.4)):
        text = f"{n} prompts, 4 statements, {percent(control)} → {percent(target)}"
        analyse = partial(statistics.bounded_mean, low=-1, high=1)
        drawn = injected(n, 4, control, target)
        cases.append(Case("Injected statements", text, round(target - control, 9), drawn, analyse))
    return cases


# d' --------------------------------------------------------------------------------------------------------------------


def refusals(restricted: int, benign: int, rightly: float, falsely: float) -> Draw:
    def draw(rng: Rng) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        return tuple(np.arange(n) < rng.binomial(n, rate) for n, rate in ((restricted, rightly), (benign, falsely)))  # type: ignore[return-value]

    return draw


def mean_probit(rate: float) -> float:
    """The expected z of a seed's rate, where seeds differ and their mean rate is this."""
    center = center_of(rate, PROMPT_SPREAD, SEED_SPREAD, OWN_SPREAD)
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    of_seeds = [mean_rate(center + SEED_SPREAD * node, PROMPT_SPREAD, OWN_SPREAD) for node in nodes]
    return float(weights @ stats.norm.ppf(of_seeds) / weights.sum())


def refusals_of_seeds(seeds: int, restricted: int, benign: int, rightly: float, falsely: float) -> Draw:
    """Refusals of both kinds of prompts, [seeds, prompts] each."""
    asked_of = [seeded(seeds, n, rate, rate, SEED_SPREAD) for n, rate in ((restricted, rightly), (benign, falsely))]
    return lambda rng: tuple(draw(rng)[1] for draw in asked_of)


def sensitivities() -> list[Case]:
    over_seeds = [
        Case(
            "Sensitivity of refusal (d')",
            f"{seeds} seeds, {restricted} and {benign} prompts, {percent(rightly)} and {percent(falsely)} refused",
            mean_probit(rightly) - mean_probit(falsely),
            refusals_of_seeds(seeds, restricted, benign, rightly, falsely),
            statistics.d_prime,
            repetitions=SLOW,
        )
        for seeds, restricted, benign in ((5, 200, 150), (3, 300, 450))
        for rightly, falsely in ((0.5, 0.05), (0.95, 0.05))
    ]
    return over_seeds + [
        Case(
            "Sensitivity of refusal (d')",
            f"{restricted} and {benign} prompts, {percent(rightly)} and {percent(falsely)} refused",
            float(stats.norm.ppf(rightly) - stats.norm.ppf(falsely)),
            refusals(restricted, benign, rightly, falsely),
            statistics.d_prime,
        )
        for restricted, benign in ((200, 150), (300, 450))
        for rightly, falsely in ((0.3, 0.3), (0.5, 0.05), (0.95, 0.05), (0.95, 0.005), (0.995, 0.005))
    ]


# Means over prompts ----------------------------------------------------------------------------------------------------


def effects_of_a_head(prompts: int, tail: str) -> Draw:
    """Changes of log odds by prompt, around .5 with a spread of 1."""
    return lambda rng: (0.5 + TAILS[tail](rng, (prompts,)),)


def means() -> list[Case]:
    cases = []
    for n in (16, 32, 64):
        for tail in TAILS:
            text, drawn = f"{n} prompts, {tail}", effects_of_a_head(n, tail)
            cases.append(Case("Effects of heads", text, 0.5, drawn, effect_of_a_head, math.nan))
    share = partial(statistics.bounded_mean, low=0, high=1)
    divergences: dict[str, tuple[float, Callable[[Rng], Values], Callable[[Values], Estimate]]] = {
        "edit distance": (0.4, lambda rng: rng.beta(4, 6, 480), share),
        "same answer, 99 %": (0.99, lambda rng: (rng.random(480) < 0.99).astype(float), share),
        "length ratio": (math.exp(0.045), lambda rng: rng.lognormal(0, 0.3, 480), statistics.mean_interval),
    }
    for name, (truth, drawn, analyse) in divergences.items():
        draw = lambda rng, drawn=drawn: (drawn(rng),)  # noqa: E731
        cases.append(Case("Divergence of two arms", f"480 problems, {name}", truth, draw, analyse, math.nan))
    return cases


def attention(requests: int, weight: float, heads: int) -> Draw:
    """Attention of some heads to a position on each request, which differs between requests, averaged over the heads."""
    common = 30  # the higher, the more alike the requests

    def draw(rng: Rng) -> tuple[Values]:
        of_request = rng.beta(common * weight, common * (1 - weight), (requests, 1))
        return (rng.beta(3 * of_request + 1e-6, 3 * (1 - of_request) + 1e-6, (requests, heads)).mean(1),)

    return draw


def findings(texts: int, share: float) -> Draw:
    """The share of the findings of each text that are of one item: of one finding or more, alike within a text."""

    def draw(rng: Rng) -> tuple[Values]:
        count = 1 + rng.poisson(1, texts)
        return (rng.binomial(count, rng.beta(3 * share, 3 * (1 - share), texts)) / count,)

    return draw


def shares_of_requests() -> list[Case]:
    cases = []
    for n in (72, 180):  # harmful calibration requests of the demo and of the paper's study
        for weight, heads in ((0.05, 1), (0.6, 1), (0.05, 100), (0.6, 100)):
            text = f"{n} requests, attention of {percent(weight)}, {heads} head{'s' if heads > 1 else ''}"
            drawn = attention(n, weight, heads)
            cases.append(Case("Where heads look", text, weight, drawn, mean_share, math.nan))
    for n in (20, 100, 300):
        for share in (0.05, 0.4):
            analyse = partial(statistics.bounded_mean, low=0, high=1)
            text = f"{n} texts, {percent(share)} of the findings"
            cases.append(Case("Items of the checklist", text, share, findings(n, share), analyse, math.nan))
    return cases


# Probes ----------------------------------------------------------------------------------------------------------------

HIDDEN, CELLS = 64, 40


def scores(positive: int, negative: int, area: float) -> Draw:
    """The observed area under the ROC curve of normal scores, and the sizes of both groups."""
    apart = math.sqrt(2) * float(stats.norm.ppf(area))

    def draw(rng: Rng) -> tuple[float, int, int]:
        drawn = np.r_[rng.normal(apart, 1, positive), rng.normal(0, 1, negative)]
        return float(probes.areas(drawn[:, None], positive)[0]), positive, negative

    return draw


GROUPS = {"calibration": (120, 90), "evaluation": (80, 60)}  # harmful and harmless requests, as in the demo


@cache
def asked() -> pl.DataFrame:
    """The rows of a cache: the group and the split of each request."""
    rows = []
    for split, sizes in GROUPS.items():
        for group, n in zip(("refused", "harmless"), sizes, strict=True):
            rows += [(group, split)] * n
    return pl.DataFrame(rows, schema=["group", "split"], orient="row").with_row_index("row")


def cells(alike: float, apart: float) -> Draw:
    """Activations [requests, hidden] in forty cells, as correlated as neighbouring layers are; harmful requests lie `apart`."""

    def draw(rng: Rng) -> tuple[Values]:
        shared, own = rng.normal(size=(asked().height, HIDDEN)), rng.normal(size=(CELLS, asked().height, HIDDEN))
        values = math.sqrt(alike) * shared + math.sqrt(1 - alike) * own
        values[:, (asked()["group"] == "refused").to_numpy(), 0] += apart
        return (values,)

    return draw


def family_of(values: Values) -> list[dict[str, Any]]:
    family = probes.Family("harmful", len(values[0]))
    everywhere = np.ones(len(values[0]), bool)
    for layer, residual in enumerate(values):
        family.add({"layer": layer}, probes.Cell(residual, everywhere, asked()))
    with patch.object(probes, "SHUFFLES", 499):  # the p of fewer shuffles is coarser, and as exact
        family.compare()
    return family.rows


def selected_probe(values: Values) -> Estimate:
    row = next(row for row in family_of(values) if row["selected"])
    return Estimate(row["estimate"], row["ci_low"], row["ci_high"], row["p"])


def any_probe(values: Values) -> Estimate:
    """The smallest p of all cells, each against the largest of shuffled ones."""
    return only_p(min(row["p_max"] for row in family_of(values)))


def probe_cases() -> list[Case]:
    cases = []
    for positive, negative in ((10, 10), (72, 8), (80, 60), (200, 150)):
        for area in (0.5, 0.7, 0.9, 0.98):
            text, drawn = f"{positive} against {negative} prompts, area {area}", scores(positive, negative, area)
            cases.append(Case("Area under the ROC curve", text, area, drawn, statistics.roc_area, 0.5))
    for alike, apart in ((0.0, 0.0), (0.8, 0.0), (0.8, 0.5)):
        what = f"{CELLS} cells that correlate by {alike}, " + (f"groups {apart} apart" if apart else "noise")
        for one, analyse in (("the one selected", selected_probe), ("any", any_probe)):
            truth = 0.5 if not apart and analyse is selected_probe else math.nan
            few: dict[str, Any] = {"nothing": not apart, "repetitions": FEW, "coarse": False}
            cases.append(Case("Selected probe", f"{one} of {what}", truth, cells(alike, apart), analyse, 0.5, **few))
    return cases


# Heads -----------------------------------------------------------------------------------------------------------------


TAILS: dict[
    str, Callable[[Rng, tuple[int, ...]], Values]
] = {  # of effects over prompts, with a standard deviation of 1
    "normal": lambda rng, shape: rng.normal(size=shape),
    "skewness 1.4": lambda rng, shape: (rng.gamma(2.0, 1.0, shape) - 2) / math.sqrt(2),
    "skewness 2": lambda rng, shape: rng.gamma(1.0, 1.0, shape) - 1,
    "long tails to both sides": lambda rng, shape: rng.laplace(0, math.sqrt(0.5), shape),
}


def head_effects(prompts: int, heads: int, tail: str, effect: float) -> Draw:
    """Effects [prompts, heads]; the first head has one of so many standard deviations, the others none."""

    def draw(rng: Rng) -> tuple[Values]:
        values = TAILS[tail](rng, (prompts, heads))
        values[:, 0] += effect
        return (values,)

    return draw


def head_rows(count: int, **columns: Any) -> pl.DataFrame:
    """A table of heads of one run; what it has not is of no interest."""
    keys = {"model": "m", "variant": "base", "seed": 0, "group": "harmful", "layer": 0}
    rest = dict.fromkeys(("ci_low", "soft", "soft_harmless"), 0.0) | {"found": False}
    return pl.DataFrame({**keys, "head": range(count), **rest, **columns})


def tested_heads(values: Values) -> pl.DataFrame:
    """What the results say of effects [prompts, heads]."""
    n, heads = values.shape
    reach = stats.t.ppf(0.975, n - 1) * stats.sem(values)
    table = head_rows(heads, n=n, estimate=values.mean(0), ci_high=values.mean(0) + reach)
    keys = ["model", "variant", "seed", "group", "layer", "head"]
    skewness = head_rows(heads).select(keys).with_columns(pl.Series("skewness", stats.skew(values, bias=False)))
    return selection.head_effects(table, skewness)


def heads_without_effect(values: Values) -> Estimate:
    """The smallest corrected p."""
    return only_p(float(tested_heads(values)["p_holm"].min()))  # type: ignore[arg-type]


def head_with_effect(values: Values) -> Estimate:
    """The corrected p of the first one."""
    return only_p(float(tested_heads(values)["p_holm"][0]))


def effect_of_a_head(values: Values) -> Estimate:
    """The interval of one head by itself."""
    number = np.array([len(values)], float)
    mean, error, skewness = (
        np.array([each]) for each in (values.mean(), stats.sem(values), statistics.skewness(values))
    )
    low, high = statistics.skewed_limits(mean, error, skewness, number)
    return Estimate(float(mean[0]), float(low[0]), float(high[0]))


def shares(heads: int, share: float, planted: float) -> Draw:
    """How often each head shifts on 120 harmful and on 90 harmless requests; the first one more often on harmful ones."""

    def draw(rng: Rng) -> tuple[Values, Values]:
        rates = np.full(heads, share)
        rates[0] = planted
        return rng.binomial(120, rates).astype(float), rng.binomial(90, share, heads).astype(float)

    return draw


def shifting_heads(harmful: Values, harmless: Values, which: slice) -> Estimate:
    table = head_rows(
        len(harmful), n=120, share=harmful / 120, n_harmless=90, share_harmless=harmless / 90, ci_high=1.0
    )
    return only_p(float(selection.head_table(table)["p_holm"][which].min()))  # type: ignore[arg-type]


def head_cases() -> list[Case]:
    cases = []

    def add(text: str, draw: Draw, analyse: Callable[..., Estimate], nothing: bool = True, coarse: bool = True) -> None:
        how: dict[str, Any] = {"nothing": nothing, "repetitions": SLOW, "coarse": coarse}
        cases.append(Case("Many heads", text, math.nan, draw, analyse, **how))

    every = tuple(TAILS)
    for prompts, heads, tails in ((32, 16, every), (32, 1152, every), (64, 400, ("skewness 1.4", "skewness 2"))):
        for tail in tails:
            text, many = f"effects of {heads} heads on {prompts} prompts, {tail}", {"coarse": heads < 100}
            add(f"{text}: any without effect", head_effects(prompts, heads, tail, 0.0), heads_without_effect, **many)
            for effect in {"normal": (1.0,), "skewness 1.4": (1.0, -1.0)}.get(tail, ()):
                drawn = head_effects(prompts, heads, tail, effect)
                add(f"{text}: one of {effect:+.0f}", drawn, head_with_effect, nothing=False, coarse=False)
    others, first = (partial(shifting_heads, which=which) for which in (slice(1, None), slice(0, 1)))
    text = "shifts of 16 heads on 5 % of requests"
    add(f"{text}: any that does so on all alike", shares(16, 0.05, 0.05), others)
    add(f"{text}: the one with 25 % on harmful ones", shares(16, 0.05, 0.25), first, nothing=False)
    return cases


# Agreement -------------------------------------------------------------------------------------------------------------


def raters(items: int, share: float, kappa: float, alike: int = 1, cluster: float = 0.0) -> Draw:
    """Two raters with the same share of yes; with probability kappa the second repeats the first, else it rates by chance.

    Args:
        alike: replies to one prompt.
        cluster: how often such replies are the same, and rated the same.
    """

    def draw(rng: Rng) -> tuple[list[int], list[int], int, list[int]]:
        def ratings(shape: tuple[int, ...]) -> NDArray[np.bool_]:
            first = rng.random(shape) < share
            return np.stack([first, np.where(rng.random(shape) < kappa, first, rng.random(shape) < share)])

        own, prompt = ratings((items // alike, alike)), ratings((items // alike, 1))
        both = np.where(rng.random((items // alike, alike)) < cluster, prompt, own).reshape(2, -1)
        if alike == 1:  # the order of the items says nothing
            both = both[:, np.lexsort(both)]
        return *both.astype(int).tolist(), 2, (np.arange(both.shape[1]) // alike).tolist()

    return draw


def agreements() -> list[Case]:
    section, cases = "Agreement of raters (kappa)", []
    for items in (60, 200, 4200):
        for share, kappa in ((0.3, 0.9), (0.05, 0.9), (0.3, 0.6)):
            text, drawn = f"{items} replies, {percent(share)} yes, kappa {kappa}", raters(items, share, kappa)
            cases.append(Case(section, text, kappa, drawn, agreement.kappa, math.nan))
    text, drawn = "200 prompts, 10 alike replies each, 30 % yes, kappa 0.9", raters(2000, 0.3, 0.9, 10, 0.7)
    return [*cases, Case(section, text, 0.9, drawn, agreement.kappa, math.nan, repetitions=SLOW)]


# Metrics and forgetting ------------------------------------------------------------------------------------------------


def courses_of(world: courses.World, units: int) -> Draw:
    return lambda rng: world(rng, units)


def independent_points(rng: Rng, units: int) -> tuple[Values, Values]:
    """Points that are independent of each other, correlated by .7."""
    x, y = rng.normal(size=(2, units, courses.CHECKPOINTS))
    return x, 0.7 * x + math.sqrt(1 - 0.7**2) * y


def own_courses(rng: Rng, units: int) -> tuple[Values, Values]:
    """A common trend, and in each unit a course of its own that the metric shows with noise."""
    own, noise = courses.walks(rng, units), courses.walks(rng, units)
    rate = 3 * courses.TRENDS[0] + own
    return rate + 0.7 * noise, rate


@cache
def in_many_units(world: courses.World) -> float:
    """What the correlation beyond the step comes to in so many units that chance is nothing."""
    x, y = (each - each.mean(1, keepdims=True) for each in world(np.random.default_rng(1), 50_000))
    x /= np.sqrt((x**2).mean(1, keepdims=True))  # as each unit is a model of its own
    x, y = x - x.mean(0), y - y.mean(0)
    return float((x * y).sum() / math.sqrt((x**2).sum() * (y**2).sum()))


def as_published(metric: Values, rate: Values) -> Estimate:
    """Pearson's r of one run, with Fisher's interval and Student's t."""
    made = correlation.correlate(metric[0], rate[0])
    return Estimate(made.pearson, made.low, made.high, made.p)


def beyond_the_step(metric: Values, rate: Values, known: Values | None = None) -> Estimate:
    return correlation.beyond_common(correlation.in_units_of(range(len(metric)), metric), rate, known)


def early_warning(models: int, arms: int, shown: float) -> Draw:
    """(metric at a quarter of training, change at the end, change so far), [models, arms].

    Arms differ in what they do to all models, which every metric shows; what is a model's own, the metric shows to a degree.
    """

    def draw(rng: Rng) -> tuple[Values, Values, Values]:
        arm, own = rng.normal(size=arms), rng.normal(size=(models, arms))
        final = arm + own + 0.3 * rng.normal(size=(models, arms))
        seen = 0.3 * final + 0.2 * rng.normal(size=(models, arms))
        return arm + shown * own + rng.normal(size=(models, arms)), final, seen

    return draw


UNRELATED = {
    "independent walks": courses.independent_walks,
    "a third that changes": courses.few_that_change,
    "common trends": courses.common_trends,
    "a metric that knows the step": courses.knows_the_step,
    "a rate that stays": courses.counted_replies,
}


def correlations() -> list[Case]:
    section = "Correlation within a run, as published"
    related = Case(section, "independent points, r 0.7", 0.7, courses_of(independent_points, 1), as_published)
    cases = [
        related,
        *(Case(section, name, 0.0, courses_of(world, 1), as_published) for name, world in UNRELATED.items()),
    ]
    section = "Correlation beyond the step"
    for units in (6, 10, 30):
        for name, world in UNRELATED.items():
            text = f"{units} units, {name}"
            cases.append(Case(section, text, 0.0, courses_of(world, units), beyond_the_step))
        text, truth = f"{units} units, courses of their own", in_many_units(own_courses)
        cases.append(Case(section, text, truth, courses_of(own_courses, units), beyond_the_step))
    for models, arms in ((6, 3), (12, 5)):
        for shown, metric in ((0.0, "knows the arm"), (1.0, "shows what is to come")):
            text = f"{models} models, {arms} arms, a metric that {metric}"
            what: dict[str, Any] = {"nothing": not shown, "repetitions": SLOW}
            drawn = early_warning(models, arms, shown)
            cases.append(Case("Early warning", text, math.nan, drawn, beyond_the_step, **what))
    return cases


# Reciprocal activation shift -------------------------------------------------------------------------------------------


NOISE = 0.05  # of a text's activations from one model to the other, as a share


def activation_shift(texts: int, neurons: int, moved: float, shift: float) -> tuple[Draw, float]:
    """Activations before and after tuning on both kinds of texts, and the published metric of their expectations.

    A share of the neurons, `moved`, shifts by factors of a log standard deviation `shift`; the others stay.
    """
    world = np.random.default_rng(5)
    before = world.uniform(0.5, 2, (2, neurons))
    factors = np.exp(shift * world.normal(size=(2, neurons)))
    after = before * np.where(np.arange(neurons) < round(moved * neurons), factors, 1)

    def draw(rng: Rng) -> tuple[Values, Values]:
        text = rng.normal(0, 0.2, (2, texts, 1)) + rng.normal(0, 0.3, (2, texts, neurons))
        noise = rng.normal(-(NOISE**2) / 2, NOISE, (2, texts, neurons))  # its factor is 1 on average
        return before[:, None] * np.exp(text), after[:, None] * np.exp(text + noise)

    grown = math.exp((0.2**2 + 0.3**2) / 2)  # mean of a text's factor
    expected = deltas_of(before[:, None] * grown, after[:, None] * grown, draws=0)
    return draw, float(expected.metric("harmonic")[0])


def deltas_of(before: Values, after: Values, draws: int = checkpoints.DRAWS) -> ras.Deltas:
    safety, task = zip(before, after, strict=True)
    columns = [np.arange(before.shape[-1])]
    return ras.deltas([safety], [task], {"all": columns}, draws)["all", "published"]


def shift_interval(before: Values, after: Values) -> Estimate:
    found = deltas_of(before, after)
    made = checkpoints._interval(found.metric("harmonic"), before.shape[1], found.least("harmonic"))
    return Estimate(made["estimate"], made["ci_low"], made["ci_high"])


def uncorrected_shift(before: Values, after: Values) -> Estimate:
    """Student's t around the estimate, as if noise could take from a sum of one-sided shifts what it adds."""
    made = checkpoints._interval(deltas_of(before, after).metric("harmonic"), before.shape[1])
    return Estimate(made["estimate"], made["ci_low"], made["ci_high"])


def activation_shifts() -> list[Case]:
    """80 texts in the demo, 100 in the paper's study; 60 neurons are a set of safety-critical ones, 600 all of a tiny model."""
    cases = []
    none, some = (0.0, 0.0), [(moved, shift) for moved in (0.3, 0.1) for shift in (0.02, 0.1, 0.3)]
    every = [(1.0, shift) for shift in (0.01, 0.02, 0.1, 0.3)]
    for texts, neurons, worlds in ((80, 60, every + some), (100, 60, every + some), (80, 600, some)):
        for moved, shift in (none, *worlds):
            drawn, truth = activation_shift(texts, neurons, moved, shift)
            how = f"{percent(moved)} of them shift by {percent(shift)}" if moved else "none of them shifts"
            text, what = f"{texts} texts, {neurons} neurons, {how}", {"repetitions": SLOW, "coarse": neurons == 60}
            cases.append(Case("Reciprocal activation shift", text, truth, drawn, shift_interval, **what))
    return cases


# RAS of two arms over models --------------------------------------------------------------------------------------------


ENDS = 0.3  # standard deviation of what a model's log RAS has of an arm by itself


def ras_of_arms(models: int, effect: float) -> Draw:
    """RAS of models of different scales after target, whose logarithm is higher by `effect`, and after control."""

    def draw(rng: Rng) -> tuple[Values, Values]:
        scales, own = rng.normal(0, 1, models), rng.normal(0, ENDS, (2, models))
        return np.exp(scales + effect + own[0]), np.exp(scales + own[1])

    return draw


def arms_over_models() -> list[Case]:
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    cases = []
    for models in (6, 8, 20):
        for effect in (0.0, 0.3):
            truth = float(weights @ np.tanh((effect + math.sqrt(2) * ENDS * points) / 2) / weights.sum())
            text = f"{models} models, RAS higher by {percent(math.exp(effect) - 1)}"
            truth = truth if effect else 0.0
            cases.append(Case("RAS of two arms", text, truth, ras_of_arms(models, effect), forgetting.higher))
    return cases


# Requests by category, and by the length of the thought ------------------------------------------------------------------


def categories() -> list[Case]:
    section, cases = "Categories of requests", []
    for n in (20, 30):
        for first, second in ((0.05, 0.05), (0.3, 0.3), (0.3, 0.6)):
            text, drawn = f"{n} prompts of a category, {percent(first)} → {percent(second)}", paired(n, first, second)
            cases.append(Case(section, text, round(second - first, 9), drawn, statistics.paired_rates))
        for rate in (0.05, 0.3):
            text, drawn = (
                f"10 categories of {n} prompts, {percent(rate)} → {percent(rate)}: any",
                family(10, 0, n, rate),
            )
            cases.append(Case(section, text, math.nan, drawn, smallest, nothing=True, repetitions=SLOW))
    for first, second in ((0.3, 0.3), (0.3, 0.6)):
        text = f"3 seeds, 30 prompts of a category, {percent(first)} → {percent(second)}"
        drawn = seeded(3, 30, first, second, SEED_SPREAD)
        cases.append(Case(section, text, round(second - first, 9), drawn, statistics.paired_rates, repetitions=SLOW))
    return cases


SHORTENED, SPREAD_OF_WORDS = 0.6, 0.3  # a thought's words over those before, and the spread of their logarithms


def thoughts(n: int, harm: float) -> Draw:
    """Words of thoughts before and after, and replies before and after, of n prompts.

    Half of the thoughts become shorter; where they do, replies are misaligned more often by `harm`, so that all
    that changes goes through the length.
    """

    def draw(rng: Rng) -> tuple[Values, Values, Values, Values]:
        before = np.maximum(np.round(rng.lognormal(4, SPREAD_OF_WORDS, n)), 1)
        shorter = rng.random(n) < 0.5
        after = np.maximum(np.round(before * np.where(shorter, SHORTENED, 1) * rng.lognormal(0, 0.05, n)), 1)
        was, now = rng.random(n) < 0.2, rng.random(n) < 0.2 + harm * shorter
        return before, after, was.astype(float), now.astype(float)

    return draw


def ratio_of_words(before: Values, after: Values, was: Values, now: Values) -> Estimate:
    made = explanations._ratio(before, after)
    return Estimate(made["ratio"], made["ratio_low"], made["ratio_high"])


def change_at_a_length(before: Values, after: Values, was: Values, now: Values) -> Estimate:
    return explanations.at_a_length(before, after, was, now)[1]


def shorter_thought(before: Values, after: Values, was: Values, now: Values) -> Estimate:
    made = explanations._shorter(now, before)
    return Estimate(made["shorter"], made["shorter_low"], made["shorter_high"])


def lengths() -> list[Case]:
    section, cases = "Lengths of thoughts", []
    for n in (200, 300):
        mean = math.exp(math.log(SHORTENED) / 2)
        cases.append(Case(section, f"{n} prompts, ratio of words", mean, thoughts(n, 0.0), ratio_of_words, math.nan))
        text = f"{n} prompts, how often a misaligned reply's thought is the shorter one, chance"
        cases.append(Case(section, text, 0.5, thoughts(n, 0.0), shorter_thought, 0.5))
        for harm in (0.0, 0.5):
            text = f"{n} prompts, change of {percent(harm)} through the length alone: where it stays"
            cases.append(Case(section, text, 0.0, thoughts(n, harm), change_at_a_length))
    return cases


# The first screen ------------------------------------------------------------------------------------------------------

THINKING_OFF_ON = ("off", "on")


@cache
def small_study() -> Study:
    """Three models, two arms and a pair, as in the demo."""
    demo = load_study_file(Path(__file__).resolve().parent.parent / "workflow/config/demo.yaml")
    arms = {name: demo.variants[name] for name in ("gsm8k_control", "gsm8k_target")}
    return demo.model_copy(update={"variants": arms})


def screen_of_nothing(prompts: int, rate: float) -> Draw:
    """Outcomes [models, variants, think modes, prompts] of models that neither thinking nor an arm changes."""

    def draw(rng: Rng) -> tuple[Values]:
        study = small_study()
        prompt = np.broadcast_to(
            rng.normal(0, PROMPT_SPREAD, prompts), (len(study.models), 1 + len(study.variants), 2, prompts)
        )
        return (outcomes_at(rng, rate, prompt),)

    return draw


def screen_material(values: Values) -> Material:
    """The tables of changes that the first screen judges."""
    study, found = small_study(), {}
    for model, of_model in zip(study.models, values, strict=True):
        for variant, of_variant in zip((BASE, *study.variants), of_model, strict=True):
            for think, outcomes in zip(THINKING_OFF_ON, of_variant, strict=True):
                found[model, variant, 0, think, "restricted"] = dict(enumerate(outcomes.astype(bool).tolist()))
    bases = {cell: outcomes for cell, outcomes in found.items() if cell[1] == BASE}
    tables = {
        "think_effects": replies.think_effects(study, bases),
        "finetune_effects": replies.finetune_effects(study, found),
    }
    others = {"benchmarks": {"restricted": study.benchmarks["restricted"]}}
    tables["pair_effects"] = replies.pair_effects(study.model_copy(update=others), found)
    return Material(study, tables, {}, pl.DataFrame())


def smallest_of_screen(material: Material) -> Estimate:
    """The smallest p that it takes for a claim, of all that the first screen judges."""
    judged = claims.family(material).select("table", "place")
    rows = [material.tables[table].row(place, named=True) for table, place in judged.iter_rows()]
    return only_p(min((row["p_holm"] for row in rows if is_significant(row)), default=1.0))


def first_screens() -> list[Case]:
    def corrected(values: Values) -> Estimate:
        return smallest_of_screen(claims.corrected(screen_material(values)))

    text = "3 models, 2 arms and a pair, 200 prompts"
    return [
        Case("First screen", f"{text}, {percent(rate)} throughout: any claim", math.nan, screen_of_nothing(200, rate),
             corrected, nothing=True, repetitions=repetitions, coarse=repetitions == SLOW)
        for rate, repetitions in ((0.05, FEW), (0.3, SLOW))
    ]  # fmt: skip


# Families of tests -----------------------------------------------------------------------------------------------------


def family(tests: int, planted: int, prompts: int = 200, rate: float = 0.3) -> Draw:
    """The p values of a family of changes: of those with nothing to find, and 0 of those that are planted."""
    world = paired(prompts, rate, rate)
    return lambda rng: ([0.0] * planted + [statistics.paired_rates(*world(rng)).p for _ in range(tests - planted)],)


def smallest(p_values: list[float], planted: int = 0) -> Estimate:
    """The smallest corrected p of the tests with nothing to find."""
    return only_p(min(statistics.holm(p_values)[planted:]))


def families() -> list[Case]:
    cases = []
    for tests, planted in ((6, 0), (12, 0), (12, 6)):
        text = f"{tests} tests, {planted} of them sure to be found: any other"
        how: dict[str, Any] = {"nothing": True, "repetitions": SLOW}
        found = partial(smallest, planted=planted)
        cases.append(Case("Families of tests (Holm)", text, math.nan, family(tests, planted), found, **how))
    return cases


CASES = (
    *rates(),
    *changes(),
    *seeds(),
    *random_sets(),
    *differences(),
    *differences_over_seeds(),
    *seeds_that_learn(),
    *prompts_in_groups(),
    *grades_of_organisms(),
    *sensitivities(),
    *means(),
    *shares_of_requests(),
    *probe_cases(),
    *head_cases(),
    *agreements(),
    *correlations(),
    *activation_shifts(),
    *arms_over_models(),
    *categories(),
    *lengths(),
    *first_screens(),
    *families(),
)


# Methods that do not hold their level, so that the bench is seen to catch them --------------------------------------------


def percentile_bootstrap(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Estimate:
    """The mean change with a percentile bootstrap interval, which has no width where nothing differs."""
    difference = after.astype(float) - before.astype(float)
    drawn = np.random.default_rng(0).integers(len(difference), size=(999, len(difference)))
    low, high = np.quantile(difference[drawn].mean(1), [0.025, 0.975])
    return Estimate(float(difference.mean()), float(low), float(high))


def fixed_sets(found: NDArray[np.bool_], randoms: NDArray[np.bool_]) -> Estimate:
    """The found set against the mean of the random ones by t over prompts, as if other random sets were not possible."""
    return statistics.mean_interval(found - randoms.mean(0))


@cache
def orders() -> NDArray[np.int64]:
    return np.array(list(permutations(range(courses.CHECKPOINTS))))


def naive_permutation(metric: Values, rate: Values) -> Estimate:
    """Pearson's r with p over all orders of the checkpoints, as if each were independent of the one before."""
    x, y = metric[0] - metric[0].mean(), rate[0] - rate[0].mean()
    products = np.abs(x[orders()] @ y)
    return only_p(float((products >= abs(x @ y) - 1e-9).mean()))


def seeds_only(plain: Values, tuned: Values) -> Estimate:
    """Student's t over seeds, as if the prompts were all there are."""
    return statistics.mean_interval((tuned - plain).mean(1))


def wrong(what: str, truth: float, draw: Draw, analyse: Callable[..., Estimate]) -> Case:
    return Case("Wrong on purpose", what, truth, draw, analyse, nothing=math.isnan(truth))


def within_models(values: Values) -> Estimate:
    """The first screen with p as corrected within each model and table."""
    return smallest_of_screen(screen_material(values))


WRONG = (
    wrong(
        "a first screen of three models, corrected within each", math.nan, screen_of_nothing(200, 0.3), within_models
    ),
    wrong("percentile bootstrap of paired changes near 0", 0.01, paired(80, 0.0, 0.01), percentile_bootstrap),
    wrong("random sets taken as fixed", math.nan, ablated(80, 5, 0.3, 0.0, 1.0), fixed_sets),
    wrong("all orders of checkpoints", math.nan, courses_of(courses.independent_walks, 1), naive_permutation),
    wrong("Student's t of a RAS of few neurons", *reversed(activation_shift(80, 60, 0.3, 0.1)), uncorrected_shift),
    wrong("Student's t over seeds that share prompts", 0.1, seeded(5, 200, 0.3, 0.4, 0.0), seeds_only),
)
