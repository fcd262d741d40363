"""The tables of results in README.md, workflow/docs/results.md and ground-truth.md, made from results/.

`python -m tests.documented_tables --write` puts them into the pages, where each stands after a comment with its name, and ends at
an empty line. Only cells with numbers are made; first columns and headings are those of the page.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from rim.report.wording import decimal

ROOT = Path(__file__).resolve().parent.parent
README, RESULTS, GROUND_TRUTH = (
    ROOT / "README.md",
    ROOT / "workflow/docs/results.md",
    ROOT / "workflow/docs/ground-truth.md",
)
MODELS = ("associated", "null", "associated_moe")
Row = dict[str, Any]
Cells = list[list[str]]  # the cells to be made, in the order of the page's rows; the last ones of each row
NONE = "–"


def row(table: str, study: str = "demo", **wanted: Any) -> Row | None:
    """The one row of a table of results where columns have these values; None where there is none."""
    found = pl.read_csv(ROOT / "results" / study / "tables" / f"{table}.csv")
    chosen = found.filter([pl.col(name) == value for name, value in wanted.items()])
    return chosen.row(0, named=True) if chosen.height == 1 else None


def rate(found: Row | None) -> str:
    return f"{found['estimate']:.1%} [{100 * found['ci_low']:.1f}, {100 * found['ci_high']:.1f}]".replace("%", " %") if found else NONE  # fmt: skip


def change(found: Row | None, unit: str = " pp") -> str:
    """In percentage points with its interval; bold when significant after Holm's correction."""
    if found is None:
        return NONE
    text = f"{_points(found['estimate'])}{unit} [{_points(found['ci_low'])}, {_points(found['ci_high'])}]"
    return _bold(text, found)


def _points(share: float) -> str:
    return decimal(100 * share, 1, signed=True)


def _bold(text: str, found: Row) -> str:
    return f"**{text}**" if found["p_holm"] < 0.05 else text


MISALIGNMENT = {"measure": "misalignment"}


def findings() -> Cells:
    pair = MODELS[:2]
    return [
        [change(row("think_effects", model=m, variant="base", **MISALIGNMENT), "") for m in pair],
        *([change(_tuned(m, arm), "") for m in pair] for arm in ("gsm8k_control", "gsm8k_target")),
        [change(row("injection_effects", model=m, pattern="heuristic"), "") for m in pair],
    ]


def _tuned(model: str, variant: str) -> Row | None:
    return row("finetune_effects", model=model, variant=variant, think="on", **MISALIGNMENT)


def rates() -> Cells:
    measures = ("misalignment", "false_refusal", "accuracy")
    return [
        [rate(row("rates", model=m, variant="base", think=think, measure=each)) for each in measures]
        for m in MODELS
        for think in ("on", "off")
    ]


def changes() -> Cells:
    arms = ("math401", "math500", "gsm8k", "gsm8k_control", "dose_10", "dose_30", "gsm8k_target", "literal")
    return [[change(_tuned(m, arm)) for m in MODELS] for arm in arms]


def pair() -> Cells:
    return [
        [_plain(row("pair_effects", contrast="difference", think=think, **MISALIGNMENT))] for think in ("on", "off")
    ]


def _plain(found: Row | None) -> str:
    return change(found).strip("*")


def thinking() -> Cells:
    return [
        [change(row("think_effects", model=m, variant=each, **MISALIGNMENT)) for m in MODELS]
        for each in ("base", "gsm8k_target")
    ]


def injection() -> Cells:
    def cell(model: str, pattern: str) -> str:
        found = row("injection_effects", model=model, pattern=pattern)
        assert found
        return _bold(f"{100 * found['target']:.0f} % against {100 * found['control']:.0f} %", found)

    return [[cell(m, pattern) for m in MODELS] for pattern in ("heuristic", "confirmatory", "deviation")]


def mitigations() -> Cells:
    return [
        [change(row("mitigation_effects", model=m, variant=each, think="on", **MISALIGNMENT)) for m in MODELS]
        for each in ("target_frozen", "target_kl", "target_refusals")
    ]


def foretelling() -> Cells:
    def cells(metric: str) -> list[str]:
        found = row("correlations_over_runs", metric=metric, neurons="all") or row(
            "correlations_over_runs", metric=metric
        )
        assert found
        return [NONE if found[name] is None else f"{found[name]:.2f}" for name in ("r", "estimate")]

    return [cells(metric) for metric in ("log_step", "ras", "kl", "weights")]


def replication() -> Cells:
    def cells(think: str) -> list[str]:
        wanted = {"contrast": "difference", "think": think, **MISALIGNMENT}
        seeds = [row("pair_effects", "replication", seed=str(seed), **wanted) for seed in range(401, 406)]
        each = ", ".join(_points(found["estimate"]) for found in seeds if found)
        return [_plain(row("pair_effects", "replication", seed="all", **wanted)), each]

    return [cells("on"), cells("off")]


def grades(part: str, *methods: str) -> Callable[[], Cells]:
    """The area of every method, and the share of grafted parts among its first K, where they refuse and where they are harmless."""

    def cell(model: str, method: str, measure: str) -> str:
        found = row(
            "method_grades",
            "calibration",
            model=f"{model}_{part}s",
            part=part,
            method=method,
            measure=measure,
            cut="first K" if measure == "precision" else "",
        )
        return f"{found['estimate']:.2f} [{found['ci_low']:.2f}, {found['ci_high']:.2f}]" if found else NONE

    kinds = [(model, measure) for model in ("in", "harmless") for measure in ("area", "precision")]
    return lambda: [[cell(model, method, measure) for model, measure in kinds] for method in methods]


def thresholds() -> Cells:
    """What the published rules find at each threshold, in which precision and recall."""

    def cell(model: str, part: str, method: str, measure: str, cut: float) -> str:
        found = row(
            "method_grades", "calibration", model=model, part=part, method=method, measure=measure, cut=f"from {cut:g}"
        )
        if not found or found["estimate"] is None:
            return NONE
        return f"{found['estimate']:.1f}" if measure == "found" else f"{found['estimate']:.2f}"

    rules = (("in_neurons", "neuron", "intent"), ("in_heads", "head", "shift"))
    return [
        [cell(*rule, measure, cut) for rule in rules for measure in ("found", "precision", "recall")]
        for cut in (0.5, 0.7, 0.9, 1.0)
    ]


GRADED = ("associated", "null", "lapsing", "steady")


def graded() -> Cells:
    """Misalignment rates of the study of graded effects over its seeds, without thinking, with it, and with it after each arm."""

    def cell(model: str, variant: str, think: str) -> str:
        wanted = {"model": model, "variant": variant, "think": think, "seed": "all", **MISALIGNMENT}
        found = row("rates", "graded", **wanted)
        return f"{100 * found['estimate']:.0f} [{100 * found['ci_low']:.0f}, {100 * found['ci_high']:.0f}]" if found else NONE  # fmt: skip

    arms = [("base", "off"), ("base", "on"), *((arm, "on") for arm in ("gsm8k_control", "dose_60", "gsm8k_target"))]
    return [[cell(model, *arm) for arm in arms] for model in GRADED]


def foretold() -> Cells:
    """What metrics say of forgetting in the study of graded effects: within fine-tunes, and beyond what is common to all."""

    def cells(table: str, metric: str, neurons: str) -> list[str]:
        found = pl.read_csv(ROOT / f"results/graded/tables/{table}.csv")
        one = found.filter(metric=metric, neurons=neurons).row(0, named=True)
        added = f"{one['estimate']:.2f} [{one['ci_low']:.2f}, {one['ci_high']:.2f}]"
        return [f"{one['r']:.2f}", f"**{added}**" if one["p_holm"] < 0.05 else added]

    return [cells("correlations_over_runs", *metric) for metric in (("ras", "all"), ("kl", ""), ("weights", ""))]


CALIBRATED = ("pretrained", "aligned", "in_neurons", "in_heads", "harmless_neurons", "harmless_heads")


def verdicts(study: str, models: tuple[str, ...]) -> Callable[[], Cells]:
    """In how many of the organisms tested each claim is borne out."""

    def cells() -> Cells:
        found = pl.read_csv(ROOT / f"results/{study}/tables/claim_verdicts.csv")
        count = pl.format("{} of {}", "supported", "tested")
        cell = pl.when(pl.col("tested") > 0).then(count).otherwise(pl.lit(NONE))
        claims = [
            dict(own.select("model", cell).iter_rows()) for _, own in found.group_by("claim", maintain_order=True)
        ]
        return [[own[model] for model in models] for own in claims]

    return cells


def health() -> Cells:
    """Rates of every organism of the calibration study before anything is done to it, over its seeds."""

    def cell(model: str, measure: str, think: str) -> str:
        found = row("rates", "calibration", model=model, seed="all", think=think, measure=measure)
        assert found
        return f"{100 * found['estimate']:.0f}"

    measures = ("misalignment", "false_refusal", "accuracy")
    return [[" / ".join(cell(m, each, think) for think in ("on", "off")) for each in measures] for m in CALIBRATED]


TABLES: dict[str, tuple[Path, Callable[[], Cells]]] = {
    "findings": (README, findings),
    "rates": (RESULTS, rates),
    "changes": (RESULTS, changes),
    "pair": (RESULTS, pair),
    "thinking": (RESULTS, thinking),
    "injection": (RESULTS, injection),
    "mitigations": (RESULTS, mitigations),
    "foretelling": (RESULTS, foretelling),
    "replication": (RESULTS, replication),
    "health": (GROUND_TRUTH, health),
    "neurons": (GROUND_TRUTH, grades("neuron", "intent", "intent less placebo", "contrast", "attribution", "zeroing")),
    "heads": (GROUND_TRUTH, grades("head", "shift", "soft shift", "attribution", "zeroing")),
    "thresholds": (GROUND_TRUTH, thresholds),
    "verdicts": (GROUND_TRUTH, verdicts("calibration", CALIBRATED)),
    "graded": (GROUND_TRUTH, graded),
    "graded verdicts": (GROUND_TRUTH, verdicts("graded", GRADED)),
    "foretold": (GROUND_TRUTH, foretold),
}


def lines_of(name: str) -> list[str]:
    """The rows of a table as its page has them."""
    match = _place(name).search(TABLES[name][0].read_text())
    assert match, f"{TABLES[name][0].name} has no table after <!-- {name} -->"
    return match[2].splitlines()


def made(name: str) -> list[str]:
    """The same rows, with the numbers of results/."""
    lines, cells = lines_of(name), TABLES[name][1]()
    assert len(lines) == len(cells)
    rows = [line.strip("| ").split(" | ") for line in lines]
    return [
        f"| {' | '.join([*row[: len(row) - len(numbers)], *numbers])} |"
        for row, numbers in zip(rows, cells, strict=True)
    ]


def _place(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name} -->\n\|.*\n\|[-|]+\|\n)((?:\|.*\n)+)")


def write() -> None:
    for name, (page, _) in TABLES.items():
        rows = "".join(f"{line}\n" for line in made(name))
        text = page.read_text()
        page.write_text(_place(name).sub(lambda match, rows=rows: match[1] + rows, text))


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python -m tests.documented_tables --write")
    write()
