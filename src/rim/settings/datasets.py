"""Settings of datasets: where their rows come from, and how they are split."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from rim.settings.common import AsBefore, Positive, Settings, Share

Arm = Literal["control", "target", "literal"]  # of a rewrite
Kind = Literal["safety", "benign", "math", "instruction"]  # of a table's rows
ANSWERED = ("math", "instruction")  # kinds whose rows have answers


class Columns(Settings):
    """Which column of a table is what: a column's name, or a text with names in braces, such as "{question} {turns[0]}"."""

    prompt: str = Field(description="What is asked.")
    answer: str | None = Field(None, description="Reference answer, which math and instruction rows need.")
    cot: str | None = Field(None, description="Reference chain of thought; a row may be without.")
    category: str | None = Field(None, description="Category; all rows are of one when absent.")


class KindColumn(Settings):
    """A column of a table that tells what kind each row is of."""

    column: str = Field(description="Name of the column.")
    values: dict[str, Kind] = Field(
        min_length=1,
        description="What it says -> the kind of such rows. Rows where it says something else are left out.",
    )


class Source(Settings):
    """Where rows of a dataset come from: a hub dataset, a local file or folder, or the organisms' own world."""

    adapter: str = Field(
        description="Which reader understands this source; workflow/config/README.md says in what columns."
    )
    path: str | None = Field(None, description="Local file or folder; without it the adapter's hub dataset is loaded.")
    hub: str | None = Field(None, description="Hub dataset to load in place of the adapter's usual one.")
    subset: str | None = Field(None, description="Table only: which subset (configuration) of the hub dataset to load.")
    split: str | None = Field(None, description="Hub split to load in place of the adapter's usual one.")
    revision: str | None = Field(None, description="Hub revision (commit or tag) to pin.")
    columns: Columns | None = Field(None, description="Table only: which of its columns is what.")
    kind: Kind | None = Field(None, description="Table only: of what kind its rows are.")
    kind_by: KindColumn | None = Field(
        None, description="Table only: the column that says so, where they are of several."
    )
    part: str | None = Field(None, description="Organism only: which synthetic set to make.")
    rewrite: str | None = Field(None, description="Rewritten only: which of the study's rewrites to take rows from.")
    arm: Arm | None = Field(None, description="Rewritten only: which of its arms.")
    dataset: Annotated[str | None, AsBefore(None)] = Field(
        None, description="Prepared only: another dataset of the study, whose rows to take."
    )
    share: Annotated[Annotated[float, Field(gt=0, le=1)] | None, AsBefore(None)] = Field(
        None,
        description="Prepared only: take only this share of its rows, spread over categories; all that a smaller share takes are among those of a larger.",
    )
    without: Annotated[str | None, AsBefore(None)] = Field(
        None,
        description="Prepared only: leave out rows whose chain of thought shows an effort-minimizing pattern, as this annotator says.",
    )
    rows: Positive | None = Field(None, description="Organism only: how many rows to make.")
    seed: str = Field(
        "0", description="Organism only: seed of the synthetic rows; sets with the same seed share their problems."
    )

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of a table's rows."""
        listed = list(self.kind_by.values.values()) if self.kind_by else []
        return tuple(dict.fromkeys([self.kind, *listed] if self.kind else listed))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.path and (self.hub or self.revision or self.split or self.subset):
            raise PydanticCustomError(
                "source", "a source with 'path' cannot also name 'hub', 'subset', 'split' or 'revision'"
            )
        if self.columns and (self.kind is None) == (self.kind_by is None):
            raise PydanticCustomError(
                "source", "a table needs one of 'kind' and 'kind_by', which say what its rows are"
            )
        answered = [kind for kind in self.kinds if kind in ANSWERED]
        if self.columns and answered and self.columns.answer is None:
            raise PydanticCustomError(
                "source",
                "rows of kind '{kind}' have answers; say in 'columns' which is the 'answer'",
                {"kind": answered[0]},
            )
        return self


class Dataset(Settings):
    """A prepared dataset: its sources one after the other, without duplicates, split by category."""

    sources: list[Source] = Field(min_length=1, description="Read in this order; of equal prompts the first is kept.")
    calibration: Share = Field(
        0.6, description="Share of each category that goes to the calibration split (paper, B.1: 6:4)."
    )
