"""What the first screen claims, and of how few replies, whatever these are; and what it calls the models."""

import re
from pathlib import Path
from random import Random

import polars as pl
import pytest

from rim.config import study as config_study
from rim.report.first_screen import FEW, MATTERS, first_screen
from rim.report.page import Material
from rim.report.pipeline import boxes
from rim.report.provenance import run_section
from rim.results.outcomes import Outcomes
from rim.results.tables import headline
from rim.settings.common import BASE
from rim.settings.models import Model
from tests.unit.results.test_replies import planted, tabulated


@pytest.fixture(scope="module")
def asked(root: Path) -> tuple[config_study.Study, Outcomes]:
    study, outcomes = planted(root, [0])
    return study.model_copy(update={"mechanism": None, "forgetting": None}), outcomes


def rising(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """The changes that the answer is about."""
    changed = [headline(tables[name]).filter(measure="misalignment") for name in ("think_effects", "finetune_effects")]
    return pl.concat([changed[0].filter(variant=BASE), changed[1]], how="diagonal").filter(
        pl.col("estimate").is_not_null()
    )


@pytest.mark.parametrize("seed", range(24))
def test_no_is_said_only_where_a_rise_that_matters_is_ruled_out(
    asked: tuple[config_study.Study, Outcomes], seed: int
) -> None:
    study, outcomes = asked
    random = Random(seed)
    n, rate = (1, 4, 20, 120)[seed % 4], (0.03, 0.5)[seed % 2]
    replies = {prompt: random.random() < rate for found in outcomes.values() for prompt in found}
    few = {
        cell: {prompt: replies[prompt] ^ (random.random() < 0.01) for prompt in list(found)[:n]}
        for cell, found in outcomes.items()
    }
    if seed >= 16:  # most of the misaligned thoughts, or of the aligned ones, are cut off
        cut = seed % 2 == 0
        few = {
            cell: {
                prompt: None if cell[3] == "on" and went is cut and random.random() < 0.9 else went
                for prompt, went in found.items()
            }
            for cell, found in few.items()
        }
    tables = tabulated(study, few)
    screen = first_screen(Material(study, tables, {}, pl.DataFrame()))
    changes = rising(tables)
    if screen.answer.startswith("Yes"):
        assert changes.filter(pl.col("ci_low") > 0)["bound_low"].max() > 0
    elif screen.answer.startswith("No"):
        assert changes["ci_high"].max() < MATTERS
        assert changes["bound_high"].max() < MATTERS
    else:
        assert screen.answer.startswith(("This cannot be told from", "Whether anything changed cannot be told"))
        widest = changes.filter(pl.col("ci_high") == changes["ci_high"].max())
        if screen.answer.startswith("This") and not changes["incomplete"].sum():
            assert any(f", {100 * high:+.1f}], n = " in screen.answer for high in widest["ci_high"])
            assert ("so few" in screen.answer) == (widest["n"].min() < FEW)
    assert n > 20 or not screen.answer.startswith("No")
    warned = [
        line for line in screen.reach if line.startswith("Warning, few rows: changes of the misalignment rate on n = ")
    ]
    assert bool(warned) == (changes["n"].min() < FEW)
    if warned:
        assert re.findall(r"n = (\d+)", warned[0]) == [str(changes["n"].min())]


@pytest.mark.parametrize("prompts", [FEW - 1, FEW])
def test_seeds_do_not_make_many_of_few_prompts(root: Path, prompts: int) -> None:
    study, outcomes = planted(root, [0, 1, 2])
    study = study.model_copy(update={"mechanism": None, "forgetting": None})
    some = {cell: dict(list(found.items())[:prompts]) for cell, found in outcomes.items()}
    screen = first_screen(Material(study, tabulated(study, some), {}, pl.DataFrame()))
    warned = [line for line in screen.reach if "changes of the misalignment rate on n = " in line]
    assert bool(warned) == (prompts < FEW)


def test_a_model_is_called_what_it_is(asked: tuple[config_study.Study, Outcomes], tmp_path: Path) -> None:
    study, outcomes = asked
    own, published = Model(hub=str(tmp_path)), Model(hub="somebody/something")
    mixed = study.model_copy(update={"models": {**study.models, "own": own, "other": published}})
    commits = {"own": None, "other": "0123abc"}
    given = Material(mixed, tabulated(study, outcomes), {}, pl.DataFrame(), commits)
    subject = first_screen(given).subject
    assert "1 model from a local folder (own)." in subject
    assert str(tmp_path) not in subject  # it may be a home folder
    assert "1 model of the Hugging Face hub (other: somebody/something)." in subject
    assert "2 model organisms (associated, null)" in subject
    assert boxes(mixed, commits)[0, 0].lines[:3] == [
        "2 trained here",
        "1 of the Hugging Face hub",
        "1 from a local folder",
    ]
    rows = {row.cells[0]: row.cells[1:3] for row in run_section(given).tables[0].rows}
    assert rows["own"] == [str(tmp_path), "from a local folder"]
    assert rows["other"] == ["somebody/something", "0123abc"]
