"""workflow/docs/paper.md, which says of every key of paper.yaml where the paper has it."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from rim.config import runs
from rim.config.load import load_study_file
from rim.config.study import Study
from rim.models.families import UNSERVED
from rim.report.figures.catalogue import figures_of_study
from rim.report.published import published
from rim.results.catalogue import tables_of
from rim.settings.common import BASE
from rim.workflow import costs, plan
from tests import dolls

STATES = ("as published", "departs", "open", "ours")


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every key that holds no further keys, by its whole path, with its value."""
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from leaves(part, f"{path}.{key}" if path else key)
    else:
        yield path, value


@pytest.fixture(scope="module")
def study(root: Path) -> Study:
    return load_study_file(root / "workflow/config/paper.yaml")


@pytest.fixture(scope="module")
def rows(root: Path) -> list[list[str]]:
    """The table's cells: key, value, state, place, remark."""
    lines = (root / "workflow/docs/paper.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return [[cell.strip("`") for cell in row[:2]] + row[2:] for row in cells]


def test_every_key_has_its_row(root: Path, rows: list[list[str]]) -> None:
    written = dict(leaves(yaml.safe_load((root / "workflow/config/paper.yaml").read_text())))
    assert len(written) > 100
    assert [path for path in written if not any(fnmatchcase(path, row[0]) for row in rows)] == []


def test_every_row_is_of_a_key_and_has_its_value(study: Study, rows: list[list[str]]) -> None:
    whole = dict(leaves(study.model_dump(mode="json")))
    for key, value, state, place, remark in rows:
        found = [each for path, each in whole.items() if fnmatchcase(path, key)]
        found += [each for path, each in whole.items() if fnmatchcase(path, f"{key}.*")]
        assert found, key
        assert state in STATES, key
        assert place or state in ("ours", "open"), key
        assert remark or state == "as published" or value != "–" or key.endswith("label"), key
        if value != "–":
            own = [each for path, each in whole.items() if fnmatchcase(path, key)]
            assert [each for each in own if each != yaml.safe_load(value)] == [], key
    assert len({row[0] for row in rows}) == len(rows)


def test_the_probes_have_as_many_harmless_inputs_as_harmful_ones(study: Study) -> None:
    assert study.mechanism is not None
    harmless = study.benchmarks[study.mechanism.harmless]
    split = [round(share * (harmless.rows or 0)) for share in (0.6, 0.4)]
    assert split == [180, 120] == [round(share * 300) for share in (0.6, 0.4)]  # of HEx-PHI
    assert {study.datasets[name].calibration for name in (harmless.dataset, "hexphi")} == {0.6}


def test_no_model_checks_what_it_rewrote_itself(study: Study) -> None:
    for rewrite in study.rewrites.values():
        checker = study.annotators[rewrite.annotator].endpoint
        assert study.endpoints[str(checker)].model != study.endpoints[rewrite.endpoint].model


def test_it_says_which_version_of_the_paper_it_follows(root: Path) -> None:
    text = " ".join((root / "workflow/docs/paper.md").read_text().split())
    assert re.search(r"\*\*version 2\*\*.*A version 4 .* was not read", text)


def test_vllm_serves_all_that_it_can_serve_and_ablate(study: Study) -> None:
    """It has no split models ablated, and two families not at all."""
    families = {name: dolls.PUBLISHED[str(model.hub)].family for name, model in study.models.items()}
    by_name = {name: study.inference_of(name).backend for name in study.models}
    assert {name for name, backend in by_name.items() if backend != "vllm"} == {
        name for name, family in families.items() if family in UNSERVED
    }
    engines = {
        (rule, name): costs.engine(study, rule, name, variants[0])
        for name in by_name
        for rule, variants in plan.jobs_of(study, name).items()
    }
    otherwise = [job for job, engine in engines.items() if engine not in (None, by_name[job[1]])]
    assert otherwise == [("ablate_neurons", "mixtral")]
    assert costs.gpus(study, "ablate_neurons", "mixtral", BASE) == 2


def test_everything_fits_into_the_gpus_it_asks_for(study: Study) -> None:
    assert plan.crowded(study) == {}


def test_no_job_is_expected_to_take_longer_than_twelve_hours(study: Study) -> None:
    jobs = {
        (rule, name, variant): costs.seconds(study, rule, name, variant) / 3600
        for name in plan.sized(study)
        for rule, variants in plan.jobs_of(study, name).items()
        for variant in dict.fromkeys(variants)
    }
    assert set(plan.sized(study)) == set(study.models)
    assert {job: hours for job, hours in jobs.items() if hours > 12} == {}


def test_ablated_models_are_asked_what_the_paper_asks_them(study: Study) -> None:
    numbers = published().filter(pl.col("table") == "neuron_effects")
    adapters = set(numbers["where"].str.extract(r"benchmark=(\w+)"))
    assert adapters == {"hexphi", "multiarith"}
    assert study.mechanism is not None
    assert study.forgetting is not None
    assert set(runs.ablated_benchmarks(study, study.forgetting)) == adapters
    assert set(runs.ablated_benchmarks(study, study.mechanism)) == adapters | {study.mechanism.harmless}


def test_every_figure_and_table_of_the_paper_has_a_counterpart_or_a_reason(root: Path, study: Study) -> None:
    """Each is in the list once; what it names is in the report of the paper's study, and has what its numbers are compared with."""
    lines = (
        (root / "workflow/docs/paper.md").read_text().split("## Figures and tables")[1].split("\n## ")[0].splitlines()
    )
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if re.match(r"\| (Figure|Table)", line)
    ]
    figures = ("1", "2", "3", "4a", "4b", "5", "6", "7", "8", *(f"A{number}" for number in range(1, 10)))
    numbered = ("1", "2", "3", *(f"A{number}" for number in range(1, 10)))
    assert sorted(row[0] for row in rows) == sorted([f"Figure {n}" for n in figures] + [f"Table {n}" for n in numbered])
    drawn_from = {figure.name: set(figure.tables) for figure in figures_of_study(study)}
    results = {table.name for tables in tables_of(study).values() for table in tables}
    numbers = published().filter(pl.col("table").is_not_null())
    compared = numbers.group_by("source").agg("table").rows()
    for place, ours, remark in rows:
        names = re.findall("`([a-z_]+)`", ours)
        assert set(names) <= results | set(drawn_from), place
        assert names or (ours == "–" and remark), place
        reached = set(names) & results | set().union(*(drawn_from.get(name, set()) for name in names))
        assert {name for source, found in compared if source == place for name in found} <= reached, place
    assert {place for place, ours, _ in rows if ours == "–"}.isdisjoint(published()["source"])
    for named in re.findall(r"`(src/\S+)`", "\n".join(lines)):
        assert (root / named).exists()
