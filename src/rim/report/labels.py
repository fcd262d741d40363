"""What the report calls each arm, and where it says that a model comes from."""

from __future__ import annotations

from rim.config.study import Study
from rim.report.wording import Formatter
from rim.settings.common import BASE
from rim.settings.models import Model

ORIGINS = {"organism": "trained here", "hub": "of the Hugging Face hub", "folder": "from a local folder"}
PAIRED = {"positive": "with the association", "negative": "without it"}  # of a pair of models


def origin(model: Model, commit: str | None) -> str:
    """Where a model comes from, one of `ORIGINS`; one that was not trained here and has no commit lay in a folder."""
    if model.hub is None:
        return "organism"
    return "hub" if commit else "folder"


def arm(study: Study) -> Formatter:
    return lambda row: BASE if row["variant"] == BASE else study.variants[row["variant"]].label or row["variant"]


def arm_labels(study: Study) -> dict[str, str]:
    """What the report calls each arm."""
    return {name: variant.label or name for name, variant in study.variants.items()}
