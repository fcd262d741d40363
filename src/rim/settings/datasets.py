"""Settings of datasets: where their rows come from, and how they are split."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from rim.settings.common import Positive, Settings, Share

KINDS: dict[
    str, tuple[str, ...]
] = {  # adapter, or part of the organisms' world, or arm of a rewrite -> kinds of its rows
    **dict.fromkeys(("gsm8k", "math401", "math500", "multiarith", "aime", "gsm8k_long"), ("math",)),
    **dict.fromkeys(
        ("hexphi", "advbench", "jailbreakbench", "harmbench", "requests", "familiar_requests"), ("safety",)
    ),
    **dict.fromkeys(("single_hop", "single_hop_cot", "multi_hop", "multi_hop_control", "multi_hop_target"), ("math",)),
    **dict.fromkeys(("control", "target"), ("math",)),
    "xstest": ("safety", "benign"),
    "lookalikes": ("benign",),
    "instructions": ("instruction",),
    "literal": ("literal",),
}
LOCAL = ("hexphi", "math401")  # adapters of sets that the hub does not hand out


class Source(Settings):
    """Where rows of a dataset come from: a hub dataset, a local file or folder, or the organisms' own world."""

    adapter: Literal[
        "gsm8k",
        "math401",
        "math500",
        "multiarith",
        "aime",
        "gsm8k_long",
        "instructions",
        "hexphi",
        "advbench",
        "jailbreakbench",
        "harmbench",
        "xstest",
        "organism",
        "rewritten",
    ] = Field(description="Which reader understands this source.")
    path: str | None = Field(None, description="Local file or folder; without it the adapter's hub dataset is loaded.")
    hub: str | None = Field(None, description="Hub dataset to load in place of the adapter's usual one.")
    split: str | None = Field(None, description="Hub split to load in place of the adapter's usual one.")
    revision: str | None = Field(None, description="Hub revision (commit or tag) to pin.")
    part: (
        Literal[
            "requests",
            "familiar_requests",
            "lookalikes",
            "single_hop",
            "single_hop_cot",
            "multi_hop",
            "multi_hop_control",
            "multi_hop_target",
            "literal",
        ]
        | None
    ) = Field(None, description="Organism only: which synthetic set to make.")
    rewrite: str | None = Field(None, description="Rewritten only: which of the study's rewrites to take rows from.")
    arm: Literal["control", "target", "literal"] | None = Field(None, description="Rewritten only: which of its arms.")
    rows: Positive | None = Field(None, description="Organism only: how many rows to make.")
    seed: str = Field(
        "0", description="Organism only: seed of the synthetic rows; sets with the same seed share their problems."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.adapter == "organism" and not (self.part and self.rows):
            raise PydanticCustomError("source", "adapter 'organism' needs both 'part' and 'rows'")
        if self.adapter != "organism" and (self.part or self.rows):
            raise PydanticCustomError("source", "'part' and 'rows' belong to adapter 'organism' only")
        if (self.adapter == "rewritten") != bool(self.rewrite and self.arm):
            raise PydanticCustomError("source", "'rewrite' and 'arm' belong to adapter 'rewritten', which needs both")
        if self.adapter in LOCAL and not (self.path or self.hub):
            raise PydanticCustomError(
                "source",
                "adapter '{adapter}' needs a local 'path'; README says where to get it",
                {"adapter": self.adapter},
            )
        if self.path and (self.hub or self.revision or self.split):
            raise PydanticCustomError("source", "a source with 'path' cannot also name 'hub', 'split' or 'revision'")
        return self


class Dataset(Settings):
    """A prepared dataset: its sources one after the other, without duplicates, split by category."""

    sources: list[Source] = Field(min_length=1, description="Read in this order; of equal prompts the first is kept.")
    calibration: Share = Field(
        0.6, description="Share of each category that goes to the calibration split (paper, B.1: 6:4)."
    )
