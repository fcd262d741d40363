import copy
import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
import yaml

from rim.config import load, reference
from rim.config.study import Study
from rim.core.errors import UserError
from rim.settings.common import Settings


@pytest.fixture
def demo(root: Path) -> dict:
    return yaml.safe_load((root / "workflow/config/demo.yaml").read_text())


@pytest.mark.parametrize("name", ["demo", "smoke", "paper", "replication"])
def test_shipped_configurations_are_valid(root: Path, name: str) -> None:
    study = load.load_study_file(root / f"workflow/config/{name}.yaml")
    assert study.study == name


def test_paper_has_its_ten_models_and_the_published_recipe(root: Path) -> None:
    study = load.load_study_file(root / "workflow/config/paper.yaml")
    assert len(study.models) == 10
    assert sum(study.variants_of(model) == [] for model in study.models) == 2  # prompting only
    recipe = study.finetune_of("gsm8k")
    assert (recipe.lora.rank, recipe.lora.alpha, recipe.lora.rank_stabilized) == (32, 64, True)
    assert (recipe.batch_size, recipe.learning_rate, recipe.warmup_ratio, recipe.weight_decay) == (32, 1e-5, 0.1, 0.01)
    assert (recipe.epochs, study.finetune_of("math401").epochs, study.finetune_of("math500").epochs) == (3, 7, 7)


def wrong(mapping: dict, **changes: object) -> str:
    """The message for `mapping` with the values at dotted paths (with __ for a dot) replaced."""
    mapping = copy.deepcopy(mapping)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = mapping
        for part in parents:
            place = place[part]
        place[last] = value
    with pytest.raises(UserError) as error:
        load.load_study(mapping)
    return str(error.value)


def test_mistakes_are_one_line_with_the_keys_path(demo: dict) -> None:
    lines = {
        "finetune.epoch: unknown key": wrong(demo, finetune__epoch=2),
        "seeds.0: ": wrong(demo, seeds=["zero"]),
        "finetune.epochs: ": wrong(demo, finetune__epochs="2"),
        "variants.gsm8k.dataset: no dataset is called 'nowhere'": wrong(demo, variants__gsm8k__dataset="nowhere"),
        "variants.gsm8k.dataset: this key is required": wrong(demo, variants__gsm8k={}),
        "models.associated: a model needs exactly one of 'hub', 'organism' and 'graft'": wrong(
            demo, models__associated__hub="a/b"
        ),
        "models.null: a model needs exactly one": wrong(demo, models__null={}),
        "variants: 'base' is the model before": wrong(demo, variants__base={"dataset": "multi_hop"}),
        "pairs.0.positive: no model is called": wrong(demo, pairs=[{"positive": "x", "negative": "null"}]),
        "write it with a point": wrong(demo, finetune__learning_rate="1e-5"),
        "datasets.literal.sources.0: adapter 'organism' needs": wrong(
            demo, datasets__literal={"sources": [{"adapter": "organism"}]}
        ),
        "study: ": wrong(demo, study="../elsewhere"),
        "study: data/raw holds local files": wrong(demo, study="raw"),
        "models.null.parameters: sizes the jobs of a hub model": wrong(demo, models__null__parameters=4),
    }
    for expected, message in lines.items():
        assert expected in message, (expected, message)
        assert "\n" not in message


def test_every_wrong_key_is_named(demo: dict) -> None:
    assert len(wrong(demo, finetune__epoch=2, seeds=[]).splitlines()) == 2


MISTAKES: list[dict] = [  # of each sort, in sections that do not refer to each other
    {"finetune__epoch": 2},
    {"seeds": []},
    {"threads": "two"},
    {"inference__think": ["on", "of"]},
    {"judges__other": {"kind": "refusal_prefx"}},
    {"judges__asked": {"kind": "rubric", "endpoint": "nowhere"}},
    {"pairs": [{"positive": "x", "negative": "null"}]},
    {"datasets__literal": {"sources": [{"adapter": "organism"}]}},
]


def test_mistakes_of_every_sort_are_told_at_once_and_nothing_that_follows_from_them(demo: dict) -> None:
    alone = [set(wrong(demo, **mistake).splitlines()) for mistake in MISTAKES]
    assert all(len(lines) == 1 for lines in alone)
    for first, second in itertools.combinations(range(len(MISTAKES)), 2):
        together = wrong(demo, **MISTAKES[first], **MISTAKES[second]).splitlines()
        assert sorted(together) == sorted(alone[first] | alone[second])


def test_what_follows_from_a_wrong_key_is_not_told(demo: dict) -> None:
    """Neither that a name is not there which stands in a wrong entry, nor what a misspelled key would have given."""
    endpoints = {"e": {"model": "m", "tempreture": 1}}
    judges = {**demo["judges"], "asked": {"kind": "rubric", "endpoint": "e"}}
    assert len(wrong(demo, endpoints=endpoints, judges=judges).splitlines()) == 1
    assert len(wrong(demo, endpoint={"e": {"model": "m"}}, judges=judges).splitlines()) == 1
    assert len(wrong(demo, models__null={}).splitlines()) == 1


def test_unreadable_and_invalid_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.yaml: cannot be read"):
        load.load_study_file(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        load.load_study_file(tmp_path)
    for text, expected in {
        b"title: a\nstudy: [": ":2: is not valid YAML (what a bracket opens is not closed); a '}' or ']' is missing, or a comma",
        b"models: {m: {hub: a/b}\ntitle: a\n": ":1: is not valid YAML (what a bracket opens is not closed); a '}' or ']' is",
        b"seeds: [1, 2\n\n": ":1: is not valid YAML (what a bracket opens is not closed); a '}' or ']' is missing, or a comma",
        b"models:\n  m: {}\n    n: {}\n": ":3: is not valid YAML (the indentation differs from that of the lines above)",
        b"models:\n    m: {}\n  n: {}\n": ":3: is not valid YAML (the indentation differs from that of the lines above)",
        b"study: a\ntitle: My model: before and after\n": ":2: is not valid YAML (a second ': '); put text with a colon and a space",
        b"study: a\nmodels:\n\tm: {}\n": ":3: is not valid YAML (a tab); indent with spaces",
        b"study: a\ntitle: caf\xe9\n": ":2: is not UTF-8 text (byte 0xe9); save the file as UTF-8",
        b"study: a\ninference:\n  think: [on, 'off']\n": ':3: YAML reads on without quotes as true; write "on", or true if',
        b"study: a\nmodels: {}\ntitle: No\n": ':3: YAML reads No without quotes as false; write "No", or false if',
        b"benchmarks:\n  sums:\n    answer_format: #### number\n": ":3: YAML reads what begins with # as a comment, and no value",
        b"study: \x00": ": is not valid YAML (",
        b"? [a]\n: 1\n": ":1: is not valid YAML (while constructing a mapping, found unhashable key",
        b"": ": is empty; give a study's YAML file",
        b"- a\n": ": holds a list and no keys; give",
        b"only words": ": holds a str and no keys; give",
    }.items():
        file = tmp_path / "broken.yaml"
        file.write_bytes(text)
        with pytest.raises(UserError) as error:
            load.load_study_file(file)
        assert str(error.value).startswith(f"{file}{expected}")
        assert "\n" not in str(error.value)


VALUES = """\
a: &x {k: 1, on_time: "on", t: true, F: False}
b: {<<: *x, k: 2}
c: &z {<<: [*x, {l: 3}], k: 3}
d: {<<: *z, k: 4}
rate: [1e-5, 1.0e-5, 017, 09, 0x1F, 1:30, 1_000, y, n, ~, .inf, 2024-01-01]
"""


@pytest.mark.parametrize("name", ["demo", "smoke", "paper", "replication", None])
def test_values_are_those_that_snakemake_reads(root: Path, tmp_path: Path, name: str | None) -> None:
    file = root / f"workflow/config/{name}.yaml" if name else tmp_path / "values.yaml"
    if not name:
        file.write_text(VALUES)
    assert load.read_yaml(file) == yaml.safe_load(file.read_text())


def test_hub_models_have_one_base_and_organisms_one_per_seed(root: Path) -> None:
    paper = load.load_study_file(root / "workflow/config/paper.yaml")
    assert paper.seeds_of("qwen3_4b", "base") == [0]
    assert paper.seeds_of("qwen3_4b", "gsm8k") == [0, 1, 2]
    replication = load.load_study_file(root / "workflow/config/replication.yaml")
    assert replication.seeds_of("associated", "base") == replication.seeds


def test_published_schema_and_key_tables_are_in_step(root: Path) -> None:
    published = json.loads((root / "workflow/schemas/study.schema.json").read_text())
    assert published == reference.schema(), "run: rim config schema > workflow/schemas/study.schema.json"
    readme = (root / "workflow/config/README.md").read_text()
    assert reference.markdown() in readme, "paste the output of: rim config markdown"


def test_every_key_has_a_description() -> None:
    def described(schema: dict, path: str) -> None:
        for name, field in schema.get("properties", {}).items():
            assert field.get("description"), f"{path}.{name}"

    schema = reference.schema()
    described(schema, "study")
    for name, part in schema["$defs"].items():
        described(part, name)


def test_mistakes_about_language_models_are_one_line(demo: dict) -> None:
    endpoint = {"model": "m", "base_url": "http://localhost:1/v1"}
    lines = {
        "judges.rule: kind 'rubric' needs an 'endpoint'": wrong(demo, judges__rule={"kind": "rubric"}),
        "judges.rule: kind 'organism_rule' asks no language model": wrong(demo, judges__rule__endpoint="x"),
        "judges.rule.endpoint: no endpoint is called 'x'": wrong(
            demo, judges__rule={"kind": "rubric", "endpoint": "x"}
        ),
        "judges.rule.variants: the first judge judges all variants": wrong(demo, judges__rule__variants=["base"]),
        "judges.classifier.variants.0: no variant is called 'x'": wrong(demo, judges__classifier__variants=["x"]),
        "annotators.phrases: kind 'checklist' needs an 'endpoint'": wrong(
            demo, annotators__phrases={"kind": "checklist"}
        ),
        "datasets.multi_hop.sources.0.rewrite: no rewrite is called 'x'": wrong(
            demo, datasets__multi_hop={"sources": [{"adapter": "rewritten", "rewrite": "x", "arm": "target"}]}
        ),
        "sources.0: adapter 'rewritten' needs 'rewrite' and 'arm'": wrong(
            demo, datasets__multi_hop={"sources": [{"adapter": "rewritten", "rewrite": "x"}]}
        ),
        "rewrites.r.annotator: no annotator is called 'x'": wrong(
            demo, endpoints={"e": endpoint}, rewrites={"r": {"dataset": "multi_hop", "endpoint": "e", "annotator": "x"}}
        ),
    }
    for line, message in lines.items():
        assert line in message
        assert "\n" not in message


def test_combinations_that_cannot_work_are_told_before_any_job(demo: dict) -> None:
    hub = {"hub": "a/b", "parameters": 4.0}
    unfiltered = {"datasets__dose_30_filtered": {"sources": [{"adapter": "prepared", "dataset": "dose_30"}]}}
    endpoint = {
        **unfiltered,
        "endpoints": {"e": {"model": "m"}},
        "annotators": {"c": {"kind": "checklist", "endpoint": "e"}},
    }
    rewrite = {"dataset": "multi_hop", "endpoint": "e", "annotator": "c"}
    from_rewrite = {"sources": [{"adapter": "rewritten", "rewrite": "r", "arm": "target"}]}
    lines = {
        "judges.rule.kind: 'organism_rule' understands organisms only, and 'associated' is none": wrong(
            demo, models__associated=hub, annotators={}, **unfiltered
        ),
        "benchmarks.restricted.measure: asks math rows, and dataset 'restricted' has safety rows only": wrong(
            demo, benchmarks__restricted__measure="accuracy"
        ),
        "variants.literal.dataset: has no rows with answers to train on": wrong(demo, variants__literal__dataset="restricted"),
        "datasets.literal.sources.0.arm: no arm of this rewrite is called 'target'; there are: control": wrong(
            demo, **endpoint, rewrites={"r": {**rewrite, "arms": ["control"]}}, datasets__literal=from_rewrite
        ),
        "rewrites.r.dataset: 'literal' is itself rewritten": wrong(
            demo, **endpoint, rewrites={"r": {**rewrite, "dataset": "literal"}}, datasets__literal=from_rewrite
        ),
        "datasets.dose_30.sources.0.dataset: no dataset is called 'x'": wrong(
            demo, datasets__dose_30={"sources": [{"adapter": "prepared", "dataset": "x"}]}
        ),
        "datasets.dose_30_filtered.sources.0.without: no annotator is called 'x'": wrong(
            demo, datasets__dose_30_filtered={"sources": [{"adapter": "prepared", "dataset": "dose_30", "without": "x"}]}
        ),
        "datasets.dose_30.sources.0: adapter 'prepared' needs 'dataset'": wrong(
            demo, datasets__dose_30={"sources": [{"adapter": "prepared", "share": 0.5}]}
        ),
        "datasets.dose_30.sources: it takes rows from itself": wrong(
            demo, datasets__dose_30={"sources": [{"adapter": "prepared", "dataset": "dose_30"}]}
        ),
        "datasets.dose_30_filtered.sources.0.without: annotator 'phrases' reads some rows only (annotators.phrases.rows)": wrong(
            demo, annotators__phrases={"kind": "organism_phrases", "rows": 100}
        ),
        "benchmarks.multi_hop.dataset: 'dose_30_filtered' is filtered by an annotator, who reads the replies to benchmarks too": wrong(
            demo, benchmarks__multi_hop__dataset="dose_30_filtered"
        ),
        "datasets.literal.sources.0.without: 'dose_30_filtered' is filtered itself": wrong(
            demo, datasets__literal={"sources": [{"adapter": "prepared", "dataset": "dose_30_filtered", "without": "phrases"}]}
        ),
        "rewrites.r: 'min_length_ratio' is more than 'max_length_ratio'": wrong(
            demo, **endpoint, rewrites={"r": {**rewrite, "min_length_ratio": 2.0, "max_length_ratio": 0.5}}
        ),
        "datasets.literal.sources.0: adapter 'hexphi' needs a local 'path'": wrong(
            demo, datasets__literal={"sources": [{"adapter": "hexphi"}]}
        ),
        "seeds: lists '0' more than once": wrong(demo, seeds=[0, 0]),
        "seeds.0: should be greater than or equal to 0": wrong(demo, seeds=[-1]),
        "inference.think: lists 'on' more than once": wrong(demo, inference__think=["on", "on"]),
    }  # fmt: skip
    for line, message in lines.items():
        assert line in message
        assert "\n" not in message


def test_the_study_to_start_from_is_a_study(root: Path) -> None:
    text = (root / "workflow/config/README.md").read_text()
    example = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert load.load_study(example).variants_of("mine") == ["problems"]


def test_a_key_that_stands_twice_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("study: a\nmodels: {m: &x {hub: a/b}, n: {<<: *x}}\nmodels: {}\n")
    with pytest.raises(UserError, match=r"s\.yaml:3: the key 'models' stands here twice"):
        load.load_study_file(file)
    file.write_text("study: a\nmodels:\n  m: [{hub: a/b,\n    'hub': c/d}]\n")
    with pytest.raises(UserError, match=r"s\.yaml:4: the key 'hub' stands here twice"):
        load.load_study_file(file)


def test_a_key_pasted_into_the_configuration_is_refused_and_not_repeated(demo: dict) -> None:
    for endpoint in (
        {"model": "m", "api_key_env": "sk-hush-hush"},
        {"model": "m", "base_url": "https://user:sk-hush@host/v1"},
        {"model": "m", "base_url": "https://host/v1?api_key=sk-hush"},
        {"model": "m", "base_url": "https://host/v1#sk-hush"},
        {"model": "m", "api_key": "sk-hush-hush"},
    ):
        assert "hush" not in wrong(demo, endpoints={"e": endpoint})


def numbers(model: type[Settings], path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every number of some settings, with `x` for a name of the user's own."""
    for name, field in model.model_fields.items():
        yield from _numbers_of(field.annotation, (*path, name))


def _numbers_of(kind: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    origin, inner = get_origin(kind), get_args(kind)
    if kind in (int, float):
        yield path
    elif isinstance(kind, type) and issubclass(kind, Settings):
        yield from numbers(kind, path)
    elif origin in (list, dict):
        yield from _numbers_of(inner[-1], (*path, 0 if origin is list else "x"))
    elif origin is Annotated:
        yield from _numbers_of(inner[0], path)
    else:
        for each in inner if origin is not Literal else ():
            yield from _numbers_of(each, path)


def test_no_number_may_be_infinite_nan_or_too_large_for_the_libraries() -> None:
    found = sorted(set(numbers(Study)), key=str)
    assert {("finetune", "learning_rate"), ("seeds", 0), ("models", "x", "organism", "muon_rate")} <= set(found)
    assert len(found) > 60
    for path in found:
        for value in (math.inf, -math.inf, math.nan, 2**70, -(2**70), 10**400):
            mapping: Any = value
            for key in reversed(path):
                mapping = [mapping] if key == 0 else {key: mapping}
            message = wrong(mapping)
            place = f"configuration: {'.'.join(map(str, path))}".removesuffix(".0")
            [line] = [each for each in message.splitlines() if each.startswith((f"{place}: ", f"{place}.0: "))]
            assert "Error" not in line


def test_the_words_for_numbers_and_names_that_cannot_be(demo: dict) -> None:
    lines = {
        "finetune.learning_rate: should be a finite number, and neither infinite": wrong(
            demo, finetune__learning_rate=math.inf
        ),
        "seeds: should be at most 2147483647": wrong(demo, seeds=[0, 2**70]),
        "finetune.batch_size: should be at most 2147483647": wrong(demo, finetune__batch_size=2**31),
        "study: is longer than 64 characters": wrong(demo, study="a" * 300),
        "variants.gsm8k.label: has several lines": wrong(
            demo, variants__gsm8k={"dataset": "multi_hop", "label": "a\u2028b"}
        ),
        "models.": wrong(demo, models={"m" * 65: {"hub": "a/b"}}),
    }
    for line, message in lines.items():
        assert message.startswith(f"configuration: {line}")
    for name in ("", ".", "..", "a/b", "a\\b", "a b", "-a", "a\n", "a\0", "é", "a.b", "a*", "{a}", "$a", "~"):
        assert wrong(demo, study=name).startswith("configuration: study: ")
        assert "\n" not in wrong(demo, study=name)
