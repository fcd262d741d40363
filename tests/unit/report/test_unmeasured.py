"""What could not be measured is said in words, with the setting to change, and never as a change or as none."""

import re
from collections import Counter
from pathlib import Path
from random import Random

import polars as pl
import pytest

from rim.config import study as config_study
from rim.config.load import load_study_file
from rim.report.first_screen import contrasts, first_screen
from rim.report.mechanism import ablation_section
from rim.report.page import Material
from rim.report.patterns import injection_section
from rim.report.replies import finetune_section, overview_section, pair_section, think_section
from rim.report.wording import conditions
from rim.results.outcomes import Outcomes
from rim.results.tables import headline
from tests import synthetic
from tests.unit.results.test_replies import planted, tabulated

CLAIMS = ("clear", "significant", "Yes", "No:")


@pytest.fixture(scope="module")
def complete(root: Path) -> tuple[config_study.Study, Outcomes]:
    study, outcomes = planted(root, [0])
    return study.model_copy(update={"mechanism": None, "forgetting": None}), outcomes


def material(study: config_study.Study, outcomes: Outcomes, **tables: pl.DataFrame) -> Material:
    return Material(study, {**tabulated(study, outcomes), **tables}, {}, pl.DataFrame())


def without(outcomes: Outcomes, cells: set[tuple]) -> Outcomes:
    """The outcomes when no reply of these cells is complete."""
    return {cell: dict.fromkeys(found) if cell in cells else found for cell, found in outcomes.items()}


def verdicts(given: Material) -> list[str]:
    """All sentences that claim something about the misalignment rate."""
    screen = first_screen(given)
    sections = [make(given) for make in (overview_section, think_section, finetune_section, pair_section)]
    findings = [section.text[0] for section in sections if section and section.text]
    return [screen.answer, *(contrast.text for contrast in contrasts(given)), *findings]


def test_when_no_reply_is_complete_the_answer_is_the_setting_to_change(
    complete: tuple[config_study.Study, Outcomes],
) -> None:
    study, outcomes = complete
    given = material(study, without(outcomes, set(outcomes)))
    rates = headline(given.tables["rates"]).filter(pl.col("measure") == "misalignment")
    n, bound = rates["incomplete"].sum(), study.inference.max_new_tokens
    answer = first_screen(given).answer
    assert answer.startswith(
        f"{n} of {n} replies to requests that should be refused were cut off at {bound} tokens or empty; raise inference.max_new_tokens"
    )
    assert contrasts(given) == []
    assert not [text for text in verdicts(given) for claim in CLAIMS if claim in text]


def test_a_bound_of_the_benchmark_is_the_one_that_is_named(complete: tuple[config_study.Study, Outcomes]) -> None:
    study, outcomes = complete
    [name] = study.measured("misalignment")
    own = study.benchmarks[name].model_copy(update={"max_new_tokens": 77})
    shorter = study.model_copy(update={"benchmarks": {**study.benchmarks, name: own}})
    answer = first_screen(material(shorter, without(outcomes, set(outcomes)))).answer
    assert f"cut off at 77 tokens or empty; raise benchmarks.{name}.max_new_tokens" in answer


def test_what_is_no_language_any_more_is_no_bound_on_tokens(complete: tuple[config_study.Study, Outcomes]) -> None:
    study, outcomes = complete
    [name] = study.measured("misalignment")
    counts = Counter({cell: len(found) for cell, found in outcomes.items() if cell[4] == name})
    tables = tabulated(study, without(outcomes, set(counts)), counts)
    answer = first_screen(Material(study, tables, {}, pl.DataFrame())).answer
    assert answer.startswith(f"{counts.total()} of {counts.total()} replies to such requests are no language any more")
    assert "max_new_tokens" not in answer


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 1.0])
def test_many_incoherent_replies_are_warned_of_beside_the_rates(
    complete: tuple[config_study.Study, Outcomes], share: float
) -> None:
    study, outcomes = complete
    [name] = study.measured("misalignment")
    cell = next(cell for cell in outcomes if cell[1] == "base" and cell[4] == name)
    asked = outcomes[cell]
    count = round(share * len(asked))
    gone = {**asked, **dict.fromkeys(list(asked)[:count])}
    given = Material(study, tabulated(study, {**outcomes, cell: gone}, Counter({cell: count})), {}, pl.DataFrame())
    for lines in (first_screen(given).reach, think_section(given).text):
        warned = [line for line in lines if line.startswith("Warning, incoherent replies")]
        assert bool(warned) == (share > 0.1)
        if warned:
            assert f"({cell[0]}, base, thinking {cell[3]}: {count} of {len(asked)})" in warned[0]


def test_what_the_judge_could_not_answer_is_no_bound_on_tokens(complete: tuple[config_study.Study, Outcomes]) -> None:
    study, outcomes = complete
    judge, settings = next(iter(study.judges.items()))
    given = material(study, without(outcomes, set(outcomes)))
    n = headline(given.tables["rates"]).filter(pl.col("measure") == "misalignment")["incomplete"].sum()
    sweep = {"judge": [judge], "text": ["response"], "threshold": [settings.threshold], "errors": [int(n)]}
    answer = first_screen(material(study, without(outcomes, set(outcomes)), threshold_sweep=pl.DataFrame(sweep))).answer
    assert answer.startswith(f"On {n} of {n} such replies the judge '{judge}' gave no answer that can be used")
    assert "max_new_tokens" not in answer


@pytest.mark.parametrize(("value", "words"), [(False, "none of the judged replies"), (True, "every judged reply")])
def test_where_all_refuse_or_none_does_no_verdict_is_given(
    complete: tuple[config_study.Study, Outcomes], value: bool, words: str
) -> None:
    study, outcomes = complete
    answer = first_screen(
        material(study, {cell: dict.fromkeys(found, value) for cell, found in outcomes.items()})
    ).answer
    assert answer.startswith(f"Whether anything changed cannot be told: {words} goes along")


@pytest.mark.parametrize("seed", range(12))
def test_no_sentence_claims_anything_of_cells_without_complete_replies(
    complete: tuple[config_study.Study, Outcomes], seed: int
) -> None:
    study, outcomes = complete
    random = Random(seed)
    gone = {cell for cell in outcomes if random.random() < (0.2, 0.5, 0.8, 0.95)[seed % 4]}
    given = material(study, without(outcomes, gone))
    effects = headline(given.tables["finetune_effects"]).filter(pl.col("measure") == "misalignment")
    measured = effects["estimate"].count()
    section = finetune_section(given)
    assert section is not None
    if claimed := re.match(
        r"Of .* rises in (\d+), significantly falls in (\d+), and .* change in (\d+)\.", section.text[0]
    ):
        assert sum(map(int, claimed.groups())) == measured
        assert (f"In {effects.height - measured} it could not be measured" in section.text[0]) == (
            measured < effects.height
        )
    else:
        assert measured == 0

    screen = first_screen(given)
    for text in verdicts(given):
        assert not re.search(r"–( \[.*?\])? \(not significant\)|– ?,? ?not significant", text), text
    base = headline(given.tables["think_effects"]).filter(
        (pl.col("variant") == "base") & (pl.col("measure") == "misalignment")
    )
    finding = think_section(given).text[0]
    for row in base.iter_rows(named=True):
        assert (f"{row['model']} not measured" in finding) == (row["estimate"] is None)
    if not contrasts(given):
        assert not [claim for claim in CLAIMS if claim in screen.answer]


@pytest.mark.parametrize(
    ("switch", "words"), [("template", "was found to ablate"), ("sentence", "no heads were looked for")]
)
def test_heads_that_were_not_looked_for_are_not_said_to_be_absent(root: Path, switch: str, words: str) -> None:
    study, _ = planted(root, [0])
    models = {name: model.model_copy(update={"think_switch": switch}) for name, model in study.models.items()}
    given = Material(
        study.model_copy(update={"models": models}), {"ablation_effects": pl.DataFrame()}, {}, pl.DataFrame()
    )
    section = ablation_section(given)
    assert section is not None
    assert words in section.text[0]


def test_the_conditions_say_of_which_models_thinking_is_imitated(root: Path) -> None:
    study, _ = planted(root, [0])
    assert "imitated" not in conditions(study)
    name, model = next(iter(study.models.items()))
    models = {**study.models, name: model.model_copy(update={"think_switch": "sentence"})}
    given = study.model_copy(update={"models": models})
    assert f"hinking on and off (of {name} imitated by a sentence in the request);" in conditions(given)


@pytest.mark.parametrize("gone", [0, 1, 3])
def test_an_injection_says_how_much_of_it_could_not_be_measured(root: Path, gone: int) -> None:
    study = load_study_file(root / "workflow/config/demo.yaml")
    study = study.model_copy(update={"models": {"null": study.models["null"]}})
    effects = synthetic.synthetic(study, layers=2, heads=2)["injection_effects"]
    assert effects.height == 3
    numbers = [name for name, kind in effects.schema.items() if kind == pl.Float64]
    lost = pl.int_range(pl.len()) < gone
    effects = effects.with_columns(pl.when(~lost).then(name).alias(name) for name in numbers)
    [finding, *_] = injection_section(Material(study, {"injection_effects": effects}, {}, pl.DataFrame())).text
    if gone == 3:
        assert finding.startswith(
            "Not measured: no prompt has a complete reply after both statements of a pair (9 were left out)"
        )
    else:
        assert f"of {3 - gone} combinations" in finding
        assert ("In 1 it could not be measured" in finding) == (gone == 1)
