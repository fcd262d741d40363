"""What a figure declares about itself: which studies have it, where it is shown, and in what words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rim.config.study import Study
from rim.report.figures.style import Labels, Tables
from rim.report.page import Material


@dataclass(frozen=True)
class Figure:
    """A figure of the report. Rules, files and sections follow from it.

    Attributes:
        name: of its file, without the ending.
        tables: the tables of results that it is drawn from.
        subject: its category in Snakemake's own report, with a text of that name under workflow/report.
        section: anchor of the section of our report that shows it.
        applies: whether a study has it.
        draw: from tables and names of the arms to an Altair chart.
        caption: what it shows and how to read it; called only when there is something to show.
        folded: whether it stands behind the fold of its section, with the tables.
    """

    name: str
    tables: tuple[str, ...]
    subject: str
    section: str
    applies: Callable[[Study], bool]
    draw: Callable[[Tables, Labels], Any]
    caption: Callable[[Material], str]
    folded: bool = False


def has_mechanism(study: Study) -> bool:
    return study.mechanism is not None


def has_forgetting(study: Study) -> bool:
    return study.forgetting is not None
