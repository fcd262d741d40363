"""The catalogue of all tables of results."""

from itertools import chain
from pathlib import Path

from rim.config.load import load_study_file
from rim.core import contracts
from rim.results.catalogue import TABLES, tables_of
from rim.results.tables import check_results
from rim.settings.models import Graft, Model
from tests import synthetic


def test_names_are_told_apart_and_every_subject_has_a_caption(root: Path) -> None:
    every = list(chain(*TABLES.values()))
    assert len({table.name for table in every}) == len(every)
    captions = {path.stem for path in (root / "workflow/report").glob("*.rst")}
    assert {table.subject for table in every} <= captions


def test_a_study_has_the_tables_of_the_analyses_it_asks_for(root: Path) -> None:
    study = load_study_file(root / "workflow/config/smoke.yaml")
    assert set(tables_of(study)) == set(TABLES) - {"grade_methods", "judge_claims"}
    assert "judge_claims" in tables_of(study.model_copy(update={"seeds": [1, 2, 3, 4, 5]}))
    graft = Model(graft=Graft(onto="associated", neurons=2))
    assert set(tables_of(study.model_copy(update={"models": {**study.models, "grafted": graft}}))) == set(TABLES)
    plain = study.model_copy(
        update={"mechanism": None, "forgetting": None, "annotators": {}, "rewrites": {}, "injection": None}
    )
    assert set(tables_of(plain)) == {"summarize_finetunes", "summarize_replies", "explain_replies", "compare_judges"}
    untrained = {name: model.model_copy(update={"variants": []}) for name, model in plain.models.items()}
    assert "summarize_finetunes" not in tables_of(plain.model_copy(update={"models": untrained}))
    assert "summarize_patterns" in tables_of(plain.model_copy(update={"annotators": study.annotators}))


def test_made_up_tables_keep_the_contracts_too(root: Path) -> None:
    study = load_study_file(root / "workflow/config/demo.yaml")
    made = synthetic.synthetic(study, layers=2, heads=2)
    for table in chain(*tables_of(study).values()):
        check_results(made[table.name], table.contract, Path(table.name))


def test_conditions_stand_in_every_table_of_replies_and_what_they_are_scored_as() -> None:
    for contract in (contracts.RESPONSE, contracts.JUDGEMENT, contracts.GRADE, contracts.SCORES):
        assert {name: contract.columns.get(name) for name in contracts.CONDITION} == contracts.CONDITION
