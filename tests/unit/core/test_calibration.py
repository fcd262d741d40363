"""A coarse version of `make benchmark-statistics`: methods hold their level, and workflow/docs/statistics.md says what they do."""

import math
import re
import statistics
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.benchmark_statistics import PAGE, measure, misses
from tests.simulations import CASES, WRONG, Case

REPETITIONS, EACH = 160, 3  # of a case, and cases of a section
LEAST_COVERED, MOST_FALSE = 0.90, 0.09
KNOWN_MISSES = {  # how many cases; the page says why
    "Rates": 2,
    "Seeds that learn or do not": 14,
    "Prompts that are alike": 5,
    "Grades of methods": 4,
    "Correlation within a run, as published": 4,
    "Correlation beyond the step": 1,
}


def documented() -> dict[tuple[str, str], tuple[str, ...]]:
    """The cells of each row of the page's tables, by section and condition."""
    found, section = {}, ""
    for line in PAGE.read_text().partition("<!-- end of summary -->")[2].splitlines():
        if mark := re.fullmatch("<!-- (.*) -->", line):
            section = "" if mark[1].startswith("end of ") else mark[1]
        elif section and line.startswith("| ") and not line.startswith("| simulated"):
            simulated, *cells = (cell.strip() for cell in line.split("|")[1:-1])
            found[section, simulated] = tuple(cells)
    return found


def is_bold(cells: tuple[str, ...]) -> bool:
    return any("**" in cell for cell in cells)


def share(cell: str) -> float:
    return float(cell.strip("*")) / 100 if cell else math.nan


def sampled() -> Iterator[Case]:
    """A few cases of each section, from its first to its last."""
    for section in dict.fromkeys(case.section for case in CASES):
        cases = [case for case in CASES if case.section == section and case.coarse]
        yield from cases[:: max(1, math.ceil(len(cases) / EACH))]


def name(case: Case) -> str:
    return f"{case.section}: {case.simulated}"


def test_the_page_has_every_case_and_every_section_says_what_it_is() -> None:
    assert sorted(documented()) == sorted((case.section, case.simulated) for case in CASES)
    for section in dict.fromkeys(case.section for case in CASES):
        said = PAGE.read_text().split(f"\n## {section}\n")[1].split("<!--")[0]
        assert len(said.split()) > 15, section


def test_only_known_methods_miss_their_level() -> None:
    """Bold in the page: a new miss is either mended or said, there and here."""
    rows = documented()
    assert Counter(section for (section, _), cells in rows.items() if is_bold(cells)) == KNOWN_MISSES
    for section in {section for section, _ in rows}:
        covered = [share(cells[1]) for (of, _), cells in rows.items() if of == section and cells[1]]
        assert not covered or statistics.median(covered) <= 0.99, f"{section}: intervals that hold everything"


@pytest.mark.parametrize("case", sampled(), ids=name)
def test_a_method_holds_its_level_as_the_page_says(case: Case) -> None:
    level, said = measure(case, REPETITIONS), documented()[case.section, case.simulated]
    if not is_bold(said):
        assert not level.covered < LEAST_COVERED
        assert not case.nothing or level.false <= MOST_FALSE
    _, *cells, _, repetitions = said
    for measured, cell in zip((level.covered, level.excludes, level.rejects, level.disagree), cells, strict=True):
        expected = share(cell)
        assert math.isnan(expected) == math.isnan(measured)
        if not math.isnan(expected):
            middle = (expected + measured) / 2
            error = math.sqrt(middle * (1 - middle) * (1 / REPETITIONS + 1 / int(repetitions)))
            assert abs(measured - expected) <= 4.5 * error + 0.01


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.simulated)
def test_a_method_that_misses_its_level_is_caught(case: Case) -> None:
    level = measure(case, REPETITIONS)
    assert misses(case, level)
    assert level.covered < LEAST_COVERED or level.false > MOST_FALSE
