"""All sections of the report, in order."""

from __future__ import annotations

from collections.abc import Callable

from rim.report.calibration import calibration_section, claims_section
from rim.report.explanations import category_section, dose_section, length_section
from rim.report.forgetting import forgetting_section, intervention_section, neuron_section
from rim.report.judges import judge_section, usage_section
from rim.report.mechanism import ablation_section, head_section, probe_section
from rim.report.page import Material, Section
from rim.report.patterns import injection_section, pattern_section
from rim.report.provenance import run_section
from rim.report.published import published_section
from rim.report.replies import (
    finetune_section,
    mitigation_section,
    overview_section,
    pair_section,
    seeds_section,
    think_section,
)

SECTIONS: tuple[Callable[[Material], Section | None], ...] = (
    overview_section,
    think_section,
    pattern_section,
    injection_section,
    finetune_section,
    pair_section,
    dose_section,
    category_section,
    length_section,
    probe_section,
    head_section,
    ablation_section,
    neuron_section,
    intervention_section,
    calibration_section,
    claims_section,
    forgetting_section,
    mitigation_section,
    judge_section,
    usage_section,
    published_section,
    seeds_section,
    run_section,
)
