"""Measure the level of every interval and test of the results: `make benchmark-statistics`, under ten minutes on two cores.

Each case of tests/simulations.py draws data from a world whose truth is known and gives them to the function that makes the
number of the results. Counted are the intervals that hold the truth and the tests that reject. With `--write` the tables go
into workflow/docs/statistics.md. Bold there: coverage below 93 %, or false positives above 7 %.
"""

import argparse
import hashlib
import math
import re
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rim.core.statistics import Estimate
from tests.simulations import CASES, Case

PAGE = Path(__file__).resolve().parent.parent / "workflow/docs/statistics.md"
LEVEL, LOWEST_COVERAGE, MOST_FALSE = 0.05, 0.93, 0.07
HEADER = (
    "| simulated | truth | covered | interval excludes none | p < .05 | they disagree | no interval | repetitions |"
)


class Level(NamedTuple):
    """What came of one case, as shares; nan where the function gives no interval, or no p."""

    covered: float  # of the intervals, those that hold the truth
    excludes: float  # of all, the intervals without the value that the test denies
    rejects: float  # of all, p below .05
    disagree: float  # of all, where one of the two says so and the other not
    missing: float  # of all, without an interval
    repetitions: int

    @property
    def false(self) -> float:
        """The larger share of false positives, where the truth is that nothing is there."""
        return float(np.nanmax([0.0, self.excludes, self.rejects]))


def measure(case: Case, repetitions: int | None = None) -> Level:
    """Simulate a case. Fewer repetitions are the first of the many, and equal data is analysed once."""
    rng = np.random.default_rng(np.frombuffer(f"{case.section}: {case.simulated}".encode(), np.uint8))
    known: dict[Any, Estimate] = {}
    found = []
    for _ in range(min(repetitions or case.repetitions, case.repetitions)):
        data = case.draw(rng)
        same = key(data)
        if same not in known:
            known[same] = case.analyse(*data)
        found.append(known[same])
    return summarize(np.array(found, float), case)


def key(data: Any) -> Any:
    """What equal data has in common."""
    if isinstance(data, np.ndarray):
        return hashlib.sha256(data.tobytes()).digest()
    return tuple(map(key, data)) if isinstance(data, list | tuple) else data


def summarize(found: np.ndarray, case: Case) -> Level:
    """Count over the estimates [repetitions, (value, low, high, p)]."""
    _, low, high, p = found.T
    defined, tested = ~np.isnan(low) & ~np.isnan(high), ~np.isnan(p)
    held = (low[defined] <= case.truth + 1e-12) & (case.truth - 1e-12 <= high[defined])
    excludes, rejects = defined & ((low > case.none) | (high < case.none)), tested & (p < LEVEL)
    both = defined.any() and tested.any()
    return Level(
        float(held.mean()) if defined.any() and not math.isnan(case.truth) else math.nan,
        float(excludes.mean()) if defined.any() and not math.isnan(case.none) else math.nan,
        float(rejects.mean()) if tested.any() else math.nan,
        float((excludes != rejects).mean()) if both else math.nan,
        float(1 - defined.mean()),
        len(found),
    )


def misses(case: Case, level: Level) -> bool:
    """Whether a case covers too little or calls too much of nothing significant."""
    return level.covered < LOWEST_COVERAGE or (case.nothing and level.false > MOST_FALSE)


def line(case: Case, level: Level) -> str:
    """A case as a row of a Markdown table, in percent."""

    def cell(share: float, bad: bool = False) -> str:
        text = "" if math.isnan(share) else f"{100 * share:.1f}"
        return f"**{text}**" if bad else text

    truth = "" if math.isnan(case.truth) else f"{case.truth:.4g}"
    false = [case.nothing and share > MOST_FALSE for share in (level.excludes, level.rejects)]
    cells = [
        case.simulated,
        truth,
        cell(level.covered, level.covered < LOWEST_COVERAGE),
        cell(level.excludes, false[0]),
        cell(level.rejects, false[1]),
        cell(level.disagree),
        cell(level.missing) if level.missing else "",
        str(level.repetitions),
    ]
    return "| " + " | ".join(cells) + " |"


def table(measured: Iterable[tuple[Case, Level]]) -> str:
    return "\n".join([HEADER, "|" + "---|" * (HEADER.count("|") - 1), *(line(*each) for each in measured)])


def summary(section: str, measured: Sequence[tuple[Case, Level]]) -> str:
    """A section's line of the summary: how far coverage goes apart, the most false positives, and how many cases miss."""
    covered = sorted(level.covered for _, level in measured if not math.isnan(level.covered))
    false = [level.false for case, level in measured if case.nothing]
    missed = sum(misses(*each) for each in measured)
    shown = f"{100 * covered[0]:.1f} to {100 * covered[-1]:.1f}" if covered else ""
    most = f"{100 * max(false):.1f}" if false else ""
    return f"| {section} | {len(measured)} | {shown} | {most} | {f'**{missed}**' if missed else ''} |"


def written(page: str, measured: Sequence[tuple[Case, Level]]) -> str:
    """The page with the measured sections' tables, between their marks, and their lines of the summary."""
    for section in dict.fromkeys(case.section for case, _ in measured):
        of = [each for each in measured if each[0].section == section]
        begin, end, name = (re.escape(text) for text in (f"<!-- {section} -->", f"<!-- end of {section} -->", section))
        made = {
            rf"({begin}\n)(?s:.*)({end})": f"{table(of)}\n",
            rf"()^\| {name} \|[^\n]*$()": summary(section, of),
        }
        for pattern, text in made.items():
            page, found = re.subn(rf"(?m){pattern}", lambda match, text=text: match[1] + text + match[2], page)
            if not found:
                raise SystemExit(f"{PAGE}: '{section}' has no place for its table, or no line in the summary; add them")
    return page


def timed(number: int, repetitions: int | None) -> tuple[Level, float]:
    """The level of a case by its number, since functions within functions do not travel between processes."""
    begun = time.process_time()
    return measure(CASES[number], repetitions), time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the tables into workflow/docs/statistics.md")
    parser.add_argument("--only", default="", help="only sections whose name contains this")
    parser.add_argument("--repetitions", type=int, help="at most so many")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    numbers = [number for number, case in enumerate(CASES) if options.only in case.section]
    with ProcessPoolExecutor(options.workers) as pool:
        found = []
        for each in pool.map(timed, numbers, [options.repetitions] * len(numbers)):
            found.append(each)
            print(f"{len(found)} of {len(numbers)}", end="\r", file=sys.stderr)
    cases = [CASES[number] for number in numbers]
    measured = [(case, level) for case, (level, _) in zip(cases, found, strict=True)]
    for section in dict.fromkeys(case.section for case in cases):
        seconds = sum(took for case, (_, took) in zip(cases, found, strict=True) if case.section == section)
        print(f"\n## {section} ({seconds:.0f} s)\n\n{table(each for each in measured if each[0].section == section)}")
    if options.write:
        PAGE.write_text(written(PAGE.read_text(), measured))


if __name__ == "__main__":
    main()
