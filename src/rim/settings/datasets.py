"""Settings of datasets: where their rows come from, and how they are split."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from rim.settings.common import Positive, Settings, Share

Arm = Literal["control", "target", "literal"]  # of a rewrite


class Source(Settings):
    """Where rows of a dataset come from: a hub dataset, a local file or folder, or the organisms' own world."""

    adapter: str = Field(
        description="Which reader understands this source; workflow/config/README.md says in what columns."
    )
    path: str | None = Field(None, description="Local file or folder; without it the adapter's hub dataset is loaded.")
    hub: str | None = Field(None, description="Hub dataset to load in place of the adapter's usual one.")
    split: str | None = Field(None, description="Hub split to load in place of the adapter's usual one.")
    revision: str | None = Field(None, description="Hub revision (commit or tag) to pin.")
    part: str | None = Field(None, description="Organism only: which synthetic set to make.")
    rewrite: str | None = Field(None, description="Rewritten only: which of the study's rewrites to take rows from.")
    arm: Arm | None = Field(None, description="Rewritten only: which of its arms.")
    rows: Positive | None = Field(None, description="Organism only: how many rows to make.")
    seed: str = Field(
        "0", description="Organism only: seed of the synthetic rows; sets with the same seed share their problems."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.path and (self.hub or self.revision or self.split):
            raise PydanticCustomError("source", "a source with 'path' cannot also name 'hub', 'split' or 'revision'")
        return self


class Dataset(Settings):
    """A prepared dataset: its sources one after the other, without duplicates, split by category."""

    sources: list[Source] = Field(min_length=1, description="Read in this order; of equal prompts the first is kept.")
    calibration: Share = Field(
        0.6, description="Share of each category that goes to the calibration split (paper, B.1: 6:4)."
    )
