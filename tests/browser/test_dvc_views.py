"""What DVC shows of the results: a table of a screen's width, and plots that a browser draws without a network."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rim.results import tables
from tests.conftest import ROOT
from tests.workflow.conftest import run

pytestmark = pytest.mark.browser
STUDIES = ("demo", "replication")
PLOTS = {
    "misalignment_rates": "rates",
    "changes_of_the_misalignment_rate_after_fine-tuning": "finetune_effects",
    "changes_of_the_misalignment_rate_by_thinking": "think_effects",
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the published results, and a later revision in which the rates of a model were halved."""
    folder = tmp_path_factory.mktemp("dvc") / "clone"
    for name in ("results", ".dvc/plots", "envs"):
        shutil.copytree(ROOT / name, folder / name)
    for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    run(folder, "git", "init", "--quiet")
    run(folder, "git", "config", "user.email", "somebody@example.org")
    run(folder, "git", "config", "user.name", "Somebody")
    for message in ("first", "second"):
        run(folder, "git", "add", "--all")
        run(folder, "git", "commit", "--quiet", "--message", message)
        rates = folder / "results/demo/tables/rates.csv"
        rates.write_text(re.sub(r"^(null,base,on,misalignment,.*),0\.095,", r"\1,0.05,", rates.read_text(), flags=re.M))
    run(folder, "python", "envs/vega.py")
    return folder


def test_metrics_have_the_width_of_a_screen(clone: Path) -> None:
    lines = run(clone, "dvc", "metrics", "show").splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == ["Path", "base.off", "base.on", "gsm8k_control", "gsm8k_target"]
    models = {line.split()[0] for line in lines[1:]}
    assert models == {
        str(file.relative_to(ROOT)) for name in STUDIES for file in (ROOT / "results" / name / "metrics").iterdir()
    }
    for line in lines[1:]:
        path, *numbers = line.split()
        known = json.loads((ROOT / path).read_text())
        assert [float(number) for number in numbers] == pytest.approx(
            [known["base"]["off"], known["base"]["on"], known["gsm8k_control"], known["gsm8k_target"]], abs=1e-5
        )


def points(study: str, table: str) -> int:
    """How many rates or changes of misalignment a table shows: those over all seeds, where there are several."""
    rows = pl.read_csv(ROOT / f"results/{study}/tables/{table}.csv", schema_overrides={"seed": pl.String})
    return tables.headline(rows.filter(pl.col("measure") == "misalignment")).height


@pytest.mark.parametrize(("asked", "revisions"), [(("show",), 1), (("diff", "HEAD~1", "HEAD"), 2)])
def test_plots_are_drawn_without_a_network(clone: Path, browser: Any, asked: tuple[str, ...], revisions: int) -> None:
    run(clone, "dvc", "plots", *asked)
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 1200})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda problem: problems.append(str(problem)))
    page.goto(f"file://{clone}/dvc_plots/index.html")
    page.wait_for_function(
        "document.querySelectorAll('svg.marks').length === document.querySelectorAll('body > div').length"
    )
    counted = page.eval_on_selector_all(
        "body > div",
        """all => Object.fromEntries(all.map(div => [div.id, [
            div.querySelectorAll('.mark-symbol.role-mark path').length,
            [...div.querySelectorAll('.mark-rule.role-mark line')].filter(each => each.getAttribute('x2') > 0).length,
            div.querySelector('svg').textContent.includes('HEAD~1')]]))""",
    )
    expected = {
        f"results_{study}_dvc_yaml__{plot}": [revisions * points(study, table)] * 2 + [revisions == 2]
        for study in STUDIES
        for plot, table in PLOTS.items()
    }
    assert counted == expected
    assert problems == []
    context.close()
