"""What a job is given: one frozen object with its settings, its inputs and its outputs, read whole or not at all.

Each step in `rim.steps` has a `Job` of its own. The workflow writes the object as JSON and names its file on the command
line, so that a job can have any number of inputs and be run again by hand: `rim STEP JOB.json`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from rim.core.errors import UserError
from rim.settings.instruments import Endpoint

Run = tuple[str, str, int]  # model, variant, seed


class JobPart(BaseModel):
    """Strict, and without defaults: what the workflow does not say is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ModelReference(JobPart):
    """The model that a job works on. Where its weights lie is in the job's `checkpoints`, receipts that are checked."""

    label: str  # model/variant/seed, for progress lines
    base: str  # hub name, or folder of an organism
    revision: str | None
    dtype: Literal["float32", "bfloat16"]
    think_switch: Literal["tags", "prompt"]  # how thinking is switched
    seed: int
    checkpoints: list[Path]  # receipts: of the organism or of the download, then of the variant


class NamedEndpoint(JobPart):
    """A language model as an instrument, by the name under which its replies are kept."""

    name: str
    endpoint: Endpoint


class Job(JobPart):
    """Base of the jobs of all steps."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """The job in a file.

        Raises:
            UserError: it cannot be read, or a field is missing, unknown or of another type. A setting left out would
                silently take its default, so the file must hold what is read from it, field by field.
        """
        try:
            text = path.read_bytes()
            job = cls.model_validate_json(text)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); run the workflow again") from None
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            place = ".".join(map(str, problem["loc"])) or "the whole"
            raise UserError(f"{path}: {place}: {problem['msg'].lower()}; run the workflow again") from None
        if missing := next(_missing(job.model_dump(mode="json"), json.loads(text)), None):
            raise UserError(f"{path}: {missing}: field required; run the workflow again")
        return job


def _missing(whole: Any, given: Any, path: str = "") -> Any:
    """The paths of the fields of a dumped job that were not given."""
    if isinstance(whole, dict) and isinstance(given, dict):
        for name, value in whole.items():
            if name not in given:
                yield f"{path}{name}"
            else:
                yield from _missing(value, given[name], f"{path}{name}.")
    elif isinstance(whole, list) and isinstance(given, list):
        for number, (value, known) in enumerate(zip(whole, given, strict=True)):
            yield from _missing(value, known, f"{path}{number}.")
