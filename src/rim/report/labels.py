"""What the report calls each arm."""

from __future__ import annotations

from rim.config.study import Study
from rim.report.wording import Formatter
from rim.settings.common import BASE


def arm(study: Study) -> Formatter:
    return lambda row: BASE if row["variant"] == BASE else study.variants[row["variant"]].label or row["variant"]


def arm_labels(study: Study) -> dict[str, str]:
    """What the report calls each arm."""
    return {name: variant.label or name for name, variant in study.variants.items()}
