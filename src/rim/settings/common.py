"""What all settings have in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_]*$")]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Think = Literal["on", "off"]
BASE = "base"  # the name of the variant without fine-tuning


class Settings(BaseModel):
    """Strict: an unknown key or a value of the wrong type is an error, never a guess."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @field_validator("*")
    @classmethod
    def _once(cls, value: Any) -> Any:
        if isinstance(value, list) and all(isinstance(each, str | int) for each in value):
            for each in value:
                if value.count(each) > 1:
                    raise PydanticCustomError(
                        "twice", "lists '{each}' more than once; leave it there once", {"each": each}
                    )
        return value
