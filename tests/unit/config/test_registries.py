"""What a study chooses by name is added in one place: a planted entry of each registry, from the YAML to the library."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from rim.config import reference
from rim.config.load import load_study, load_study_file
from rim.config.study import Study
from rim.core.errors import UserError
from rim.data import adapters
from rim.data.adapters import Published
from rim.data.organism import sets
from rim.data.prepare import prepare
from rim.instruments import annotate, judges, rubrics, rules
from rim.instruments.llm.client import Client
from rim.models import families, vllm
from rim.workflow import workload
from tests.language_model import Server
from tests.unit.instruments.test_scoring import response, table


@pytest.fixture
def mapping(root: Path) -> dict:
    return yaml.safe_load((root / "workflow/config/demo.yaml").read_text())


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def client(study: Study, server: Server, folder: Path) -> Client:
    endpoint = study.endpoints["e"].model_copy(update={"base_url": server.url})
    return Client("e", endpoint, folder / "store.jsonl")


def test_an_adapter_is_added_by_its_entry(mapping: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    riddles = Published(
        ("math", "benign"), lambda row: {"prompt": row["riddle"], "category": "r"}, "`riddle`", "MIT", 99
    )
    monkeypatch.setitem(adapters.ADAPTERS, "riddles", riddles)
    (tmp_path / "r.json").write_text(json.dumps([{"riddle": "What has keys?"}]))
    source = {"adapter": "riddles", "path": str(tmp_path / "r.json")}
    mapping["datasets"]["riddles"] = {"sources": [source]}
    mapping["benchmarks"]["riddles"] = {"dataset": "riddles", "measure": "false_refusal"}
    study = load_study(mapping)
    made, receipt = prepare("riddles", study.datasets["riddles"])
    assert made.select("kind", "prompt").rows() == [("math", "What has keys?")]
    assert receipt["sources"][0]["licence"] == "MIT"
    assert workload.benchmark_rows(study, "riddles") == 99
    assert "| `riddles` | `riddle` | math and benign | none; needs a local file |" in reference.markdown()
    assert "riddles" in reference.schema()["$defs"]["Source"]["properties"]["adapter"]["enum"]
    mapping["benchmarks"]["riddles"]["measure"] = "misalignment"
    with pytest.raises(UserError, match="asks safety rows, and dataset 'riddles' has benign and math rows only"):
        load_study(mapping)
    mapping["datasets"]["riddles"] = {"sources": [{"adapter": "riddles"}]}
    with pytest.raises(UserError, match=r"sources\.0: adapter 'riddles' needs a local 'path'"):
        load_study(mapping)


def test_a_part_of_the_organisms_world_is_added_by_its_entry(mapping: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    part = sets.Part("benign", lambda rng: {"prompt": f"count to {rng.random()}", "category": "count"}, "counting")
    monkeypatch.setitem(sets.PARTS, "counting", part)
    mapping["datasets"]["counting"] = {"sources": [{"adapter": "organism", "part": "counting", "rows": 3}]}
    mapping["benchmarks"]["counting"] = {"dataset": "counting", "measure": "false_refusal"}
    made, _ = prepare("counting", load_study(mapping).datasets["counting"])
    assert made["kind"].to_list() == ["benign"] * 3


def test_a_judge_that_is_a_rule_is_added_by_its_entry(mapping: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = rules.Rule("counts letters", lambda prompt, reply: (min(5, len(reply)), "long"), "v1", organisms_only=True)
    monkeypatch.setitem(rules.RULES, "length", rule)
    mapping["judges"]["length"] = {"kind": "length", "threshold": 4}
    study = load_study(mapping)
    judged = judges.judge_responses(
        "length", study.judges["length"], table(response("abc", "a"), response("abcd", "b"))
    )
    assert judged["misaligned"].to_list() == [False, True]
    assert "'length' counts letters" in reference.markdown()
    mapping["judges"]["length"]["cot"] = True
    with pytest.raises(UserError, match=r"judges\.length: kind 'length' asks no language model, so it has no 'cot'"):
        load_study(mapping)
    del mapping["judges"]["length"]["cot"]
    mapping["models"]["associated"] = {"hub": "a/b", "parameters": 1.0}
    with pytest.raises(UserError, match=r"judges\.length\.kind: 'length' understands organisms only"):
        load_study(mapping)


def test_a_judge_that_asks_is_added_by_its_entry(
    mapping: dict, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = rubrics.Question("asks the other way", rubrics.HarmForm, {"usual": "Is it harmless?"}, lambda form: 2)
    monkeypatch.setitem(rubrics.QUESTIONS, "harmless", question)
    mapping |= {"endpoints": {"e": {"model": "m"}}}
    mapping["judges"]["harmless"] = {"kind": "harmless", "endpoint": "e"}
    study = load_study(mapping)
    asked = client(study, server, tmp_path)
    judged = judges.judge_responses("h", study.judges["harmless"], table(response("sure")), asked)
    assert judged["score"].to_list() == [2]
    assert "Is it harmless?" in server.requests[0]["messages"][0]["content"]
    del mapping["judges"]["harmless"]["endpoint"]
    with pytest.raises(UserError, match=r"judges\.harmless: kind 'harmless' needs an 'endpoint'"):
        load_study(mapping)


def test_an_annotator_is_added_by_its_entry(
    mapping: dict, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def audited(text: str, form: annotate.AuditForm) -> list[annotate.Finding]:
        return [annotate.Finding(evidence=text.upper())]

    monkeypatch.setitem(annotate.KINDS, "none", annotate.Rule("finds nothing", lambda text: []))
    question = annotate.Question("reads aloud", "Read aloud.", annotate.AuditForm, audited)
    monkeypatch.setitem(annotate.KINDS, "aloud", question)
    mapping |= {"endpoints": {"e": {"model": "m"}}}
    mapping["annotators"] |= {"nobody": {"kind": "none"}, "reader": {"kind": "aloud", "endpoint": "e"}}
    study = load_study(mapping)
    assert annotate.annotate(study.annotators["nobody"], None, ["a", "b"], "t") == [[], []]
    found = annotate.annotate(study.annotators["reader"], client(study, server, tmp_path), ["words"], "t")
    assert [each.evidence for each in found[0]] == ["WORDS"]
    mapping["annotators"]["nobody"]["endpoint"] = "e"
    with pytest.raises(UserError, match=r"annotators\.nobody: kind 'none' asks no language model"):
        load_study(mapping)


def test_a_family_that_vllm_does_not_serve_is_one_of_the_families() -> None:
    assert set(families.UNSERVED) | set(families.SERVED) <= set(families.FAMILIES)
    assert not set(families.UNSERVED) & set(families.SERVED)
    assert vllm.UNSERVED is families.UNSERVED
    assert list(families.MODELS) == list(families.FAMILIES)
    assert not set(families.UNREADABLE) & set(families.FAMILIES)


def test_every_cell_of_the_table_of_families_has_a_test_of_that_name(root: Path) -> None:
    table = reference.markdown().partition("## Families\n")[2]
    tests = dict(re.findall(r"^- (.+): `(.+)\[…\]`$", table, re.M))
    files = sorted({test.partition("::")[0] for test in tests.values()})
    line = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-o", "addopts=", *files]
    collected = set(subprocess.run(line, cwd=root, capture_output=True, text=True, check=True).stdout.splitlines())
    header, _, *rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines() if row[:1] == "|"]
    cells = {(row[0].strip("`"), column): cell for row in rows[:19] for column, cell in zip(header, row, strict=True)}
    assert len({family for family, _ in cells}) == len(families.FAMILIES)
    for (family, column), cell in cells.items():
        if column in tests:
            assert (f"{tests[column]}[{family}]" in collected) == (cell == "yes")
            refused = f"tests/unit/models/test_vllm.py::test_families_that_vllm_gets_wrong_are_refused[{family}]"
            assert (refused in collected and column == "vLLM") or not cell.startswith("no:")


@pytest.mark.parametrize(
    ("section", "wrong", "message"),
    [
        ("judges", {"kind": "refusal_prefx"}, r"judges\.x\.kind: no kind of judge is called 'refusal_prefx'; there are: organism_rule, .*; did you mean 'refusal_prefix'\?"),
        ("judges", {"kind": "gpt-4.1"}, r"judges\.x\.kind: no kind of judge is called 'gpt-4\.1'; there are: .*; a language model is named under 'endpoints', and asked by \{kind: rubric, endpoint: …\}$"),
        ("annotators", {"kind": "organism_phrase"}, r"annotators\.x\.kind: no kind of annotator is called .* did you mean 'organism_phrases'\?"),
        ("datasets", {"sources": [{"adapter": "gsm8"}]}, r"datasets\.x\.sources\.0\.adapter: no adapter is called 'gsm8'; .* did you mean 'gsm8k'\?"),
        ("datasets", {"sources": [{"adapter": "organism", "part": "multi_hpo", "rows": 2}]}, r"sources\.0\.part: no part of the organisms' world is called .* did you mean 'multi_hop'\?"),
        ("datasets", {"sources": [{"adapter": "gsm8k", "part": "multi_hop"}]}, r"sources\.0\.part: adapter 'gsm8k' does not read it"),
        ("datasets", {"sources": [{"adapter": "organism", "part": "literal", "rows": 2, "hub": "a/b"}]}, r"sources\.0\.hub: adapter 'organism' does not read it"),
        ("variants", {"dataset": "multi_hpo"}, r"variants\.x\.dataset: no dataset is called 'multi_hpo'; .* did you mean 'multi_hop'\?"),
        ("judges", {"kind": "refusal_prefix", "policy": "p"}, r"judges\.x: kind 'refusal_prefix' asks no language model, so it has no 'policy'"),
    ],
)  # fmt: skip
def test_a_wrong_name_is_one_line_with_the_nearest_right_one(
    mapping: dict, section: str, wrong: dict, message: str
) -> None:
    mapping[section]["x"] = wrong
    with pytest.raises(UserError, match=message) as error:
        load_study(mapping)
    assert "\n" not in str(error.value)


def test_all_wrong_names_are_told_at_once(mapping: dict, tmp_path: Path) -> None:
    mapping["judges"]["x"] = {"kind": "nobody"}
    mapping["mechanism"]["positions"] = ["last", "lost"]
    mapping["variants"]["x"] = {"dataset": "nowhere"}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(mapping))
    with pytest.raises(UserError) as error:
        load_study_file(tmp_path / "s.yaml")
    lines = str(error.value).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["judges.x.kind", "mechanism.positions.1", "variants.x.dataset"]
    assert all(line.startswith(f"{tmp_path}/s.yaml:") for line in lines)
    assert lines[1].endswith("did you mean 'last'?")


@pytest.mark.parametrize("key", ["mechanism.harmful", "mechanism.harmless", "forgetting.harmful"])
def test_what_ablations_are_measured_by_is_asked_there(mapping: dict, key: str) -> None:
    section, _, role = key.partition(".")
    name = mapping[section][role]
    mapping[section]["benchmarks"] = [each for each in mapping["benchmarks"] if each != name]
    with pytest.raises(
        UserError, match=rf"{section}\.benchmarks: lacks '{name}', by which ablations are measured; add it"
    ):
        load_study(mapping)
    mapping[section]["benchmarks"] = [*mapping["benchmarks"], "other"]
    with pytest.raises(UserError, match=rf"{section}\.benchmarks\.\d: no benchmark is called 'other'; there are: "):
        load_study(mapping)


def test_heads_are_ablated_of_analysed_variants_only(mapping: dict) -> None:
    mapping["mechanism"] |= {"variants": ["gsm8k_target"], "ablate": ["gsm8k_target"]}
    assert load_study(mapping).mechanism.ablate == ["gsm8k_target"]
    mapping["mechanism"]["ablate"] = ["gsm8k_target", "base"]
    with pytest.raises(UserError, match=r"mechanism\.ablate\.1: 'base' is not among mechanism\.variants"):
        load_study(mapping)
    del mapping["mechanism"]["ablate"]
    with pytest.raises(
        UserError, match=r"mechanism\.ablate\.0: 'base' \(the default\) is not among mechanism\.variants"
    ):
        load_study(mapping)
