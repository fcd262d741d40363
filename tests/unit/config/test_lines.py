"""Where a key stands, and what is said of it."""

from pathlib import Path

import pytest
import yaml

from rim.config import load
from rim.config.lines import ConfigFiles
from rim.core.errors import UserError

FILE = """\
study: mine
title: t
models:
  small: &small
    hub: a/b
    dtype: float32
  other: {<<: *small, revision: x}
  several:
    <<: [*small, {parameters: 2.0}]
finetune:
  epochs: 2
seeds:
  - 0
  - 1
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("study", 1),
        ("models.small.dtype", 6),
        ("models.other.hub", 5),  # where it was merged from
        ("models.other.revision", 7),
        ("models.several.parameters", 9),
        ("models.other.nothing", 7),  # which is not there: the last of its parents that is
        ("seeds.1", 14),
        ("seeds.7", 12),
    ],
)
def test_a_key_has_a_line(path: str, line: int, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(FILE)
    assert ConfigFiles([file]).place(path) == f"{file}:{line}"


def test_of_several_files_the_last_that_has_the_key_counts_and_the_command_line_most(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(FILE)
    second.write_text("finetune: {epochs: 3}\n")
    files = ConfigFiles([first, second], {"title": "x"})
    assert files.place("finetune.epochs") == f"{second}:1"
    assert files.place("models.small") == f"{first}:4"
    assert files.place("title") == "--config"
    assert files.place("judges") == ""
    assert ConfigFiles().place("study") == ""


WRONG = """\
study: mine
title: 3
inferense: {}
max_new_tokens: 3
finetune: {learning_rate: 1e-5, epochs: 0, method: lorra}
models:
  m: {hub: a/b, dtype: bf16, think_swich: prompt, parameters: "0.6"}
  a-b: {hub: a/b}
datasets: {own: {sources: [{adaptor: xstest}]}}
benchmarks: {}
variants: []
judges:
endpoints:
  e: {model: m, api_key_env: sk-hush, base_url: localhost}
"""


def test_every_mistake_has_its_file_its_line_and_plain_words(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(WRONG)
    with pytest.raises(UserError) as error:
        load.load_study_file(file)
    assert sorted(str(error.value).splitlines()) == sorted(
        f"{file}:{line}"
        for line in [
            "2: title: should be text, and is 3",
            "3: inferense: unknown key; did you mean 'inference'?",
            "4: max_new_tokens: unknown key here; it belongs to 'benchmarks' or 'inference'",
            "5: finetune.learning_rate: should be a number, and is text; YAML reads '1e-5' as text, write it with a point as in 1.0e-5",
            "5: finetune.epochs: should be greater than 0, and is 0",
            "5: finetune.method: should be 'lora' or 'full', and is 'lorra'; did you mean 'lora'?",
            "7: models.m.dtype: should be 'float32' or 'bfloat16', and is 'bf16'; did you mean 'bfloat16'?",
            "7: models.m.think_swich: unknown key; did you mean 'think_switch'?",
            "7: models.m.parameters: should be a number, and is text; write the number without quotes",
            "8: models.a-b: is no name; use letters, digits and '_' only, and begin with a letter or a digit",
            "9: datasets.own.sources.0.adaptor: unknown key; did you mean 'adapter'?",
            "10: benchmarks: is empty; it needs at least one entry",
            "11: variants: should be keys with values, and is a list",
            "12: judges: should be keys with values, and is empty; indent the lines that belong to it, or leave the key out",
            "14: endpoints.e.api_key_env: should be the name of an environment variable, such as OPENAI_API_KEY, and that variable holds the key",
            "14: endpoints.e.base_url: should be an address, such as http://localhost:8000/v1, without a name, a password, ? or # in it",
        ]
    )


def test_a_misspelt_key_is_told_once_and_a_missing_one_with_an_example(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    asked = "{sources: [{adapter: table, path: a.csv, kind: safety, columns: {promt: p}}]}"
    file.write_text(f"study: a\ntitel: t\ndatasets: {{asked: {asked}}}\nmodels: {{m: {{hub: a/b}}}}\n")
    with pytest.raises(UserError) as error:
        load.load_study_file(file)
    assert sorted(str(error.value).splitlines()) == [
        f"{file}: benchmarks: this key is required",
        f"{file}: judges: this key is required, for example `judges: {{classifier: {{kind: refusal_classifier}}}}`",
        f"{file}:2: titel: unknown key; did you mean 'title'?",
        f"{file}:3: datasets.asked.sources.0.columns.promt: unknown key; did you mean 'prompt'?",
    ]


def test_what_a_file_spells_never_steers_the_terminal(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text('study: a\ntitle: t\n"in\\e[2Jfer\\nence": {}\n')
    with pytest.raises(UserError) as error:
        load.load_study_file(file)
    assert rf"{file}:3: in\x1b[2Jfer\nence: unknown key; did you mean 'inference'?" in str(error.value).splitlines()
    file.write_text('"a\\eb": 1\n"a\\eb": 2\n')
    with pytest.raises(UserError, match=r"wrong\.yaml:2: the key 'a\\x1bb' stands here twice"):
        load.load_study_file(file)


def test_names_that_refer_to_nothing_have_their_line_too(root: Path, tmp_path: Path) -> None:
    mapping = yaml.safe_load((root / "workflow/config/smoke.yaml").read_text())
    mapping["variants"]["gsm8k_control"]["dataset"] = "multihop_control"
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump(mapping, sort_keys=False))
    [line] = [n for n, text in enumerate(file.read_text().splitlines(), 1) if "multihop_control" in text]
    with pytest.raises(UserError) as error:
        load.load_study_file(file)
    assert str(error.value).startswith(f"{file}:{line}: variants.gsm8k_control.dataset: no dataset is called")
    assert str(error.value).endswith("did you mean 'multi_hop_control'?")
