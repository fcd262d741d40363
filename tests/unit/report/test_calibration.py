"""The report's section on ground truth says what it could not grade, and why."""

from pathlib import Path

import polars as pl
import pytest

from rim.config import load
from rim.config.study import Study
from rim.report.calibration import METHODS, calibration_section, claims_section
from rim.report.figures.calibration import FIGURES
from rim.report.page import Material
from rim.results.calibration import METHOD_GRADES
from tests import synthetic


@pytest.fixture(scope="module")
def study(root: Path) -> Study:
    return synthetic.with_graft(load.load_study_file(root / "workflow/config/demo.yaml"))


def given(study: Study, methods: tuple[str, ...], seeds: int = 5) -> Material:
    """Grades of grafted neurons by these methods."""
    keys = synthetic.combined(
        model=["grafted"], teaches=["alignment"], part=["neuron"], method=methods, measure=["area"], cut=[""]
    )
    grades = synthetic.filled("method_grades", keys, 0.5).with_columns(pl.lit(seeds, pl.Int64).alias("seeds"))
    return Material(study, {"method_grades": grades}, {}, pl.DataFrame())


def test_a_row_for_each_claim_and_a_column_for_each_model(study: Study) -> None:
    claims = ["one", "another", "a third"]
    keys = synthetic.combined(claim=claims, model=["associated", "grafted"], refusal_in=["not trained"])
    own = {"supported": [0, 3, 0, 0, 0, 0], "tested": [5, 4, 5, 0, 0, 0], "organisms": [5] * 6}
    verdicts = synthetic.filled("claim_verdicts", keys, 0.5).with_columns(
        **{name: pl.Series(values) for name, values in own.items()}
    )
    section = claims_section(Material(study, {"claim_verdicts": verdicts}, {}, pl.DataFrame()))
    (table,) = section.tables
    assert table.header == ["claim", "associated (refusal: not trained)", "grafted (refusal: not trained)"]
    cells = [["one", "0 of 5", "3 of 4"], ["another", "0 of 5", "–"], ["a third", "–", "–"]]
    assert [row.cells for row in table.rows] == cells
    assert [row.clear for row in table.rows] == [True, False, False]
    assert section.text[0].startswith("1 of 2 claims of the paper that could be tested")
    assert section.text[-1] == "Never tested: a third."
    assert claims_section(Material(study, {}, {}, pl.DataFrame())) is None


def test_each_method_is_graded_or_said_to_be_left_out(study: Study) -> None:
    for kept in range(1, len(METHODS["neuron"]) + 1):
        section = calibration_section(given(study, METHODS["neuron"][:kept]))
        missing = METHODS["neuron"][kept:]
        left = [line for line in section.text if line.startswith("Not graded: ")]
        assert bool(left) == bool(missing)
        assert sum(line.count(" on neurons of grafted") for line in left) == len(missing)
        assert all(f"{name} on neurons of grafted" in left[0] for name in missing)
        assert "on heads of" not in "".join(left)  # none were grafted


def test_the_reason_is_that_of_the_study(study: Study) -> None:
    methods = ("intent", "intent less placebo", "contrast")
    assert calibration_section(given(study, methods)).text[-1].endswith("refusals begin as other replies do.")
    grafted = study.models["grafted"].model_copy(update={"think": ["on"]})
    asked_on = study.model_copy(update={"models": {**study.models, "grafted": grafted}})
    assert calibration_section(given(asked_on, methods)).text[-1].endswith("asked with thinking off.")


def test_grafts_that_no_method_was_tried_on_are_named(study: Study) -> None:
    bare = study.model_copy(update={"forgetting": None})
    section = calibration_section(Material(bare, {}, {}, pl.DataFrame()))
    assert section.text[0].startswith("Not graded: grafted. Grades need the section 'forgetting'")
    none = Material(bare, {"method_grades": pl.DataFrame(schema=dict(METHOD_GRADES))}, {}, pl.DataFrame())
    assert calibration_section(none).text == section.text


@pytest.mark.parametrize(
    ("seeds", "words"), [(1, "There is one organism, and so no interval."), (5, "over 5 organisms.")]
)
def test_no_interval_is_claimed_over_one_organism(study: Study, seeds: int, words: str) -> None:
    assert words in FIGURES[0].caption(given(study, ("intent",), seeds))
