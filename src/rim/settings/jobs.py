"""What a job is given: one frozen object with its settings, its inputs and its outputs, read whole or not at all.

Each step in `rim.steps` has a `Job` of its own. The workflow writes the object as JSON and names its file on the command
line, so that a job can have any number of inputs and be run again by hand: `rim STEP JOB.json`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict

from rim.settings.common import AsBefore
from rim.settings.instruments import Endpoint
from rim.settings.models import UNTOLD, Prompt

Run = tuple[str, str, int]  # model, variant, seed
Lesson = tuple[str, int | None]  # a dataset that is trained on, and how many of its first rows where not all


class JobPart(BaseModel):
    """Strict, and without defaults: what the workflow does not say is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ModelReference(JobPart):
    """The model that a job works on. Where its weights lie is in the job's `checkpoints`, receipts that are checked."""

    label: str  # model/variant/seed, for progress lines
    base: str  # hub name, or folder of an organism
    revision: str | None
    dtype: Literal["float32", "bfloat16"]
    think_switch: Literal["template", "sentence"]  # how thinking is switched
    prompt: Annotated[Prompt, AsBefore(UNTOLD)]  # what its chat template is told
    seed: int
    checkpoints: list[Path]  # receipts: of the organism or of the download, then of the variant


class NamedEndpoint(JobPart):
    """A language model as an instrument, by the name under which its replies are kept."""

    name: str
    endpoint: Endpoint


class Job(JobPart):
    """Base of the jobs of all steps: the files that a job reads and writes, each of which a step may name once more."""

    inputs: list[Path]  # that other jobs made; they are checked before the step runs
    outputs: list[Path]  # their content is recorded after it
