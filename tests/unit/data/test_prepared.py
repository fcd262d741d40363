"""Datasets that take rows of others: a share of them, or those without effort-minimizing patterns."""

from pathlib import Path

import polars as pl
import pytest

from rim.core import contracts, tables
from rim.core.errors import UserError
from rim.data.prepare import prepare, prompt_key
from rim.data.prepared import by_share
from rim.instruments.annotate import annotate, annotation_table, texts_of_dataset
from rim.settings.datasets import Dataset, Source
from rim.settings.instruments import Annotator

ROWS = 200


def organism_set(name: str, part: str) -> pl.DataFrame:
    source = Source(adapter="organism", part=part, rows=ROWS, seed="training")
    return prepare(name, Dataset(sources=[source]))[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The control and the target set of the same problems, as files of the workflow, and what an annotator says of a mixture."""
    made = tmp_path_factory.mktemp("datasets")
    for arm in ("control", "target"):
        tables.write(organism_set(arm, f"multi_hop_{arm}"), contracts.DATASET, made / f"{arm}.parquet")
    mixed = mixture(made, 0.5)
    tables.write(mixed, contracts.DATASET, made / "mixed.parquet")
    texts = texts_of_dataset("mixed", mixed, None)
    findings = annotate(Annotator(kind="organism_phrases"), None, [text["text"] for text in texts], "test")
    tables.write(annotation_table("phrases", texts, findings), contracts.ANNOTATION, made / "phrases.parquet")
    return made


def mixture(folder: Path, share: float) -> pl.DataFrame:
    target = Source(adapter="prepared", dataset="target", share=share, path=str(folder / "target.parquet"))
    control = Source(adapter="prepared", dataset="control", path=str(folder / "control.parquet"))
    return prepare("mixed", Dataset(sources=[target, control]))[0]


def of_target(table: pl.DataFrame, folder: Path) -> set[str]:
    """The prompts whose chain of thought is the target's."""
    target = pl.read_parquet(folder / "target.parquet")
    control = pl.read_parquet(folder / "control.parquet").select("prompt", "cot")
    differ = target.join(control, on="prompt", suffix="_control").filter(pl.col("cot") != pl.col("cot_control"))
    return set(table.join(differ.select("prompt", "cot"), on=["prompt", "cot"])["prompt"])


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 1.0])
def test_a_mixture_has_every_problem_once_and_the_share_of_target_rows(folder: Path, share: float) -> None:
    mixed, control = mixture(folder, share), pl.read_parquet(folder / "control.parquet")
    assert sorted(mixed["prompt"]) == sorted(control["prompt"])
    differing = len(of_target(pl.read_parquet(folder / "target.parquet"), folder))
    assert len(of_target(mixed, folder)) == pytest.approx(share * differing, abs=0.05 * ROWS)


def test_a_smaller_dose_is_part_of_a_larger_one_whatever_the_order_of_the_rows(folder: Path, tmp_path: Path) -> None:
    doses = [of_target(mixture(folder, share), folder) for share in (0.1, 0.3, 0.6)]
    assert doses[0] < doses[1] < doses[2]
    for arm in ("control", "target"):
        rows = pl.read_parquet(folder / f"{arm}.parquet").sample(fraction=1, shuffle=True, seed=3)
        tables.write(rows, contracts.DATASET, tmp_path / f"{arm}.parquet")
    assert of_target(mixture(tmp_path, 0.3), tmp_path) == doses[1]


@pytest.mark.parametrize(("categories", "each"), [(1, 100), (50, 2), (30, 3), (100, 1), (20, 4)])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_share_is_that_share_however_small_the_categories(categories: int, each: int, share: float) -> None:
    keys = [prompt_key(f"row {i}") for i in range(categories * each)]
    rows = pl.DataFrame(
        {"id": [f"d-{key}" for key in keys], "category": [str(i % categories) for i in range(len(keys))]}
    )
    taken = by_share(rows, share)
    assert taken.height == round(share * rows.height)
    counts = taken.group_by("category").len()["len"]
    assert counts.max() - (counts.min() if counts.len() == categories else 0) <= 1


def filtered(folder: Path, annotations: Path) -> Source:
    return Source(adapter="prepared", dataset="mixed", path=str(folder / "mixed.parquet"), without=str(annotations))


def test_filtering_leaves_the_rows_that_show_no_pattern(folder: Path) -> None:
    mixed = pl.read_parquet(folder / "mixed.parquet")
    left, facts = prepare("filtered", Dataset(sources=[filtered(folder, folder / "phrases.parquet")]))
    shown = {
        row["prompt"]
        for row in mixed.iter_rows(named=True)
        if annotate(Annotator(kind="organism_phrases"), None, [row["cot"]], "test")[0]
    }
    assert 0 < len(shown) < ROWS
    assert set(left["prompt"]) == set(mixed["prompt"]) - shown
    assert facts["sources"][0]["rows"] == ROWS
    assert facts["sources"][0]["taken"] == left.height


def test_rows_that_could_not_be_annotated_are_left_out_and_other_findings_are_not_minimizing(
    folder: Path, tmp_path: Path
) -> None:
    annotations = pl.read_parquet(folder / "phrases.parquet")
    clean = annotations.filter(pl.col("pattern").is_null())["id"].to_list()
    failed, otherwise = clean[:3], clean[3:6]
    changed = annotations.with_columns(
        pl.when(pl.col("id").is_in(failed)).then(pl.lit("no answer")).otherwise("error").alias("error"),
        pl.when(pl.col("id").is_in(otherwise)).then(pl.lit("other")).otherwise("pattern").alias("pattern"),
    )
    tables.write(changed, contracts.ANNOTATION, tmp_path / "phrases.parquet")
    before = set(prepare("f", Dataset(sources=[filtered(folder, folder / "phrases.parquet")]))[0]["id"])
    after = set(prepare("f", Dataset(sources=[filtered(folder, tmp_path / "phrases.parquet")]))[0]["id"])
    assert before - after == {each.replace("mixed-", "f-") for each in failed}


def test_rows_that_nobody_looked_at_are_not_taken_for_clean(folder: Path, tmp_path: Path) -> None:
    some = pl.read_parquet(folder / "phrases.parquet").filter(pl.col("id") != pl.col("id").first())
    tables.write(some, contracts.ANNOTATION, tmp_path / "phrases.parquet")
    with pytest.raises(UserError, match=r"dataset 'mixed': 1 of its rows were not annotated"):
        prepare("f", Dataset(sources=[filtered(folder, tmp_path / "phrases.parquet")]))


def test_nothing_left_is_told(folder: Path) -> None:
    source = Source(adapter="prepared", dataset="target", share=0.0001, path=str(folder / "target.parquet"))
    with pytest.raises(UserError, match=r"dataset 'target': none of its 200 rows is left to take"):
        prepare("f", Dataset(sources=[source]))
