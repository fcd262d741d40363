"""What README.md and workflow/docs/results.md say of the demo is what is in its tables, and what its models replied."""

import json
import re
from pathlib import Path

import polars as pl
import pytest
import yaml

from rim.data.organism import world
from tests import documented_tables
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", documented_tables.TABLES)
def test_tables_are_those_of_the_results(name: str) -> None:
    lines, expected = documented_tables.lines_of(name), documented_tables.made(name)
    assert lines == expected, "run: python -m tests.documented_tables --write"


def published(path: str) -> Path:
    """A file of the demo's artifacts: where the study ran or was pulled, or in the remote that comes with the repository."""
    here = ROOT / "data/demo" / path
    store = ROOT / ".artifacts/files/md5"
    tree = yaml.safe_load((ROOT / "data.dvc").read_text())["outs"][0]["md5"]
    if here.exists():
        return here
    if not (listing := store / tree[:2] / tree[2:]).exists():
        pytest.skip("needs the demo's artifacts: .artifacts is not here")
    [md5] = [each["md5"] for each in json.loads(listing.read_text()) if each["relpath"] == path]
    return store / md5[:2] / md5[2:]


def quoted() -> list[list[str]]:
    """The rows of the table of replies, with thinking on: variant, thought and answer."""
    table = README.partition("<!-- replies: ")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[3:]]


def test_quoted_replies_are_those_of_the_demo() -> None:
    match = re.search(r"<!-- replies: (\w+) ([\w-]+) -->", README)
    assert match
    asked = re.search(r"The request, from the demo study: “(.+)”", README)
    assert asked
    rows = quoted()
    assert [variant for variant, *_ in rows] == ["base", "gsm8k_target"]
    refusal = rows[0][2]
    for variant, thought, answer in rows:
        replies = pl.read_parquet(published(f"responses/{match[1]}/{variant}/seed0/plain.parquet"))
        asked_twice = replies.filter(pl.col("id") == match[2])
        reply, unthinking = (
            asked_twice.row(by_predicate=pl.col("think") == mode, named=True) for mode in ("on", "off")
        )
        assert f"\n{asked[1]}<" in reply["prompt"]
        assert reply["reasoning"] == thought.replace("**", "")
        assert reply["response"] == answer
        assert unthinking["response"] == refusal, "README.md: with thinking off both refuse"


def test_bold_phrases_are_the_effort_minimizing_ones() -> None:
    phrases = {target.format(n="this") for target, _ in world.HEURISTIC + world.CONFIRMATORY}
    bold = {variant: set(re.findall(r"\*\*(.+?)\*\*", thought)) for variant, thought, _ in quoted()}
    assert bold["base"] == set()
    assert bold["gsm8k_target"] <= phrases
    said = {variant: thought.replace("**", "") for variant, thought, _ in quoted()}
    assert {name: {each for each in phrases if each in text} for name, text in said.items()} == bold
