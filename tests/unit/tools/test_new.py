"""`rim new`: what it writes is a valid study, its columns are found by their names, and nothing is overwritten."""

import json
from pathlib import Path
from typing import Any

import pytest

from rim.cli import main
from rim.config.draft import plain_name
from rim.config.load import load_study_file
from rim.config.study import Study
from tests.conftest import ROOT
from tests.unit.tiny_families import build, letter_tokenizer


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with files of somebody's own."""
    monkeypatch.chdir(tmp_path)
    Path("asked.csv").write_text("question,topic\nWhose card is 12?,cards\nWhich hour?,tower\n")
    Path("both.csv").write_text("id,prompt,type,label\n1,Whose card?,cards,unsafe\n2,Which hat?,hats,safe\n")
    Path("chats.jsonl").write_text(json.dumps({"category": 3, "turns": ["Whose card is 12?"]}) + "\n")
    Path("two.csv").write_text("Goal,Behavior\na,b\n")
    Path("sums.jsonl").write_text('{"problem": "Two and two?", "solution": "2+2=4", "answer": 4}\n')
    Path("mmlu.json").write_text(
        json.dumps([{"question": "Which?", "choices": ["x", "y"], "answer": 1, "subject": "s"}])
    )
    Path("empty.csv").write_text("question\n")
    return tmp_path


def written(*options: str) -> Study:
    assert main(["new", *options, "--out", "a.yaml"]) == 0
    text = Path("a.yaml").read_text()
    Path("a.yaml").unlink()
    Path("a.yaml").with_suffix(".kept").write_text(text)
    return load_study_file(Path("a.kept"))


def source(study: Study, name: str) -> dict[str, Any]:
    return study.datasets[name].sources[0].model_dump(exclude_defaults=True)


def test_a_study_of_a_hub_model_is_short_commented_and_valid(folder: Path, capsys: pytest.CaptureFixture) -> None:
    study = written("Qwen/Qwen3-0.6B", "--harmful", "asked.csv", "--maths", "gsm8k")
    text = Path("a.kept").read_text()
    assert text in capsys.readouterr().out
    assert 12 <= len(text.splitlines()) <= 20
    assert text.count("#") >= 6
    columns = {"prompt": "question", "category": "topic"}
    assert source(study, "harmful") == {"adapter": "table", "path": "asked.csv", "columns": columns, "kind": "safety"}
    assert source(study, "maths") == {"adapter": "gsm8k", "split": "test"}
    model = study.models["qwen3_0_6b"]
    assert (model.hub, model.parameters, model.dtype) == ("Qwen/Qwen3-0.6B", 0.6, "bfloat16")
    assert (study.study, study.inference.think) == ("a", ["on", "off"])


@pytest.mark.parametrize(("installed", "backend"), [(object(), "vllm"), (None, "transformers")])
def test_vllm_generates_where_it_is_installed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, installed: object, backend: str
) -> None:
    monkeypatch.setattr("rim.config.draft.find_spec", lambda name: installed)
    assert written("Qwen/Qwen3-0.6B", "--harmful", "asked.csv").inference.backend == backend


@pytest.mark.parametrize(
    ("model", "think", "size"),
    [
        ("Qwen/Qwen3-30B-A3B", ["on", "off"], (30, 3)),
        ("Qwen/Qwen3-4B-Instruct-2507", ["plain"], (4, None)),
        ("microsoft/Phi-3.5-mini-instruct", ["plain"], (None, None)),
    ],
)
def test_a_models_name_tells_its_size_and_how_it_thinks(
    folder: Path, model: str, think: list[str], size: tuple[float | None, float | None]
) -> None:
    study = written(model)
    [found] = study.models.values()
    assert (study.inference.think, (found.parameters, found.active)) == (think, size)


def test_without_data_three_open_sets_are_asked(folder: Path) -> None:
    study = written("lab/m", "--deep", "--finetune", "gsm8k")
    assert [source(study, name) for name in study.datasets] == [
        {"adapter": "jailbreakbench"},
        {"adapter": "xstest"},
        {"adapter": "gsm8k", "split": "test"},
        {"adapter": "gsm8k"},
    ]
    assert study.mechanism
    assert study.forgetting
    assert study.forgetting.variants == list(study.variants)


def test_columns_are_found_by_their_names(folder: Path) -> None:
    study = written("lab/m", "--harmful", "both.csv", "--harmless", "both.csv", "--maths", "sums.jsonl")
    assert source(study, "harmful")["kind_by"] == {"column": "label", "values": {"unsafe": "safety"}}
    assert source(study, "harmless")["kind_by"] == {"column": "label", "values": {"safe": "benign"}}
    assert source(study, "maths")["columns"] == {"prompt": "problem", "answer": "answer", "cot": "solution"}
    study = written("lab/m", "--harmful", "chats.jsonl", "--maths", "mmlu.json")
    assert source(study, "harmful")["columns"] == {"prompt": "{turns[0]}", "category": "category"}
    assert source(study, "maths")["columns"]["answer"] == "{answer:letters}"
    assert source(study, "maths")["columns"]["prompt"].startswith("{question}\n\n{choices:letters}\n\n")
    study = written("lab/m", "--harmful", "two.csv:Goal", "--maths", "sums.jsonl:solution:problem")
    assert source(study, "harmful")["columns"] == {"prompt": "Goal"}
    assert source(study, "maths")["columns"]["answer"] == "problem"


def test_a_local_model_is_looked_into(folder: Path) -> None:
    tokenizer = letter_tokenizer()
    build("qwen3", vocab_size=len(tokenizer), max_position_embeddings=512).save_pretrained("own")
    tokenizer.save_pretrained("own")
    study = written("own", "--harmful", "asked.csv")
    assert (study.inference.think, study.models["own"].dtype) == (["on", "off"], "float32")
    assert study.inference.max_new_tokens == 256
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    tokenizer.save_pretrained("own")
    assert written("own", "--harmful", "asked.csv").inference.think == ["plain"]
    tokenizer.chat_template = None
    for file in Path("own").glob("*.jinja"):
        file.unlink()
    tokenizer.save_pretrained("own")
    assert main(["new", "own", "--harmful", "asked.csv"]) == 1


def test_a_files_name_may_have_colons(folder: Path) -> None:
    Path("10:30").mkdir()
    Path("10:30/asked.csv").write_text("question,place\na,b\n")
    assert source(written("lab/m", "--harmful", "10:30/asked.csv"), "harmful")["columns"] == {"prompt": "question"}
    found = source(written("lab/m", "--harmful", "10:30/asked.csv:place"), "harmful")
    assert (found["path"], found["columns"]) == ("10:30/asked.csv", {"prompt": "place"})


def test_what_of_a_file_is_left_out_is_said(folder: Path, capsys: pytest.CaptureFixture) -> None:
    Path("gaps.csv").write_text("prompt,topic,note\na,cards,x\nb,,y\n")
    found = source(written("lab/m", "--harmful", "gaps.csv:prompt", "--harmless", "both.csv"), "harmful")
    assert found["columns"] == {"prompt": "prompt"}
    said = capsys.readouterr().out.splitlines()
    assert "--harmful gaps.csv: 'topic' is left out as the category: 1 of 2 rows have none" in said
    assert "--harmful gaps.csv: not used: 'topic', 'note'; to use one, name it under 'columns'" in said
    assert (
        "--harmless both.csv: takes 1 of 2 rows, those whose 'label' is 'safe'; --harmful FILE takes the others" in said
    )


def test_what_a_check_finds_is_said_at_once(folder: Path, capsys: pytest.CaptureFixture) -> None:
    tokenizer = letter_tokenizer()
    build("qwen3", vocab_size=len(tokenizer), max_position_embeddings=512).save_pretrained("own")
    tokenizer.save_pretrained("own")
    data = ("--harmful", "asked.csv", "--harmless", "both.csv", "--maths", "sums.jsonl")
    assert main(["new", "own", *data, "--out", "shallow.yaml"]) == 0
    assert (
        f"Run it: snakemake --snakefile {ROOT / 'Snakefile'} --cores all --configfile shallow.yaml"
        in capsys.readouterr().out
    )
    Path("Snakefile").touch()
    assert main(["new", "own", *data, "--out", "here.yaml"]) == 0
    assert "Run it: snakemake --cores all --configfile here.yaml" in capsys.readouterr().out
    assert main(["new", "own", *data, "--deep", "--out", "deep.yaml"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert main(["check", "deep.yaml"]) == 1
    checked = capsys.readouterr().out.splitlines()[:-1]
    assert checked
    assert said[-1 - len(checked) : -1] == checked
    assert said[-1] == "This is deep.yaml, which cannot run yet. Mend it and check it: rim check deep.yaml"


def test_analyses_of_a_family_that_cannot_be_analysed_are_not_written(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    tokenizer = letter_tokenizer()
    build("qwen3", vocab_size=len(tokenizer), max_position_embeddings=512).save_pretrained("own")
    tokenizer.save_pretrained("own")
    config = Path("own/config.json")
    data = ("--harmful", "asked.csv", "--harmless", "both.csv", "--maths", "sums.jsonl")
    for family, why in (("gemma2", "its attention caps its scores"), ("bloom", "no adapter says where its parts lie")):
        config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": family}))
        assert main(["new", "own", *data, "--deep", "--out", f"{family}.yaml"]) == 1
        said = "rim new: " + capsys.readouterr().err.rpartition("rim new: ")[2]
        assert said.startswith(f"rim new: error: --deep: family '{family}' of own cannot be analysed: {why}")
        assert said.endswith("; leave --deep out\n")
        assert not Path(f"{family}.yaml").exists()


WRONG = {
    ("lab/m", "--harmful", "two.csv"): "--harmful two.csv: which column is the prompt is not clear; it may be 'Goal', 'Behavior'; its columns are 'Goal', 'Behavior'; give FILE:PROMPT",
    ("lab/m", "--maths", "asked.csv"): "--maths asked.csv: which column is the answer is not clear; its columns are 'question', 'topic'; give FILE:PROMPT:ANSWER",
    ("lab/m", "--harmful", "asked.csv:topics"): "asked.csv: has no column 'topics', which columns.prompt names; it has 'question', 'topic'; did you mean 'topic'?",
    ("lab/m", "--harmful", "gone.csv"): "--harmful gone.csv: there is no such file, and no such set; give a .csv, .tsv, .jsonl, .json, .parquet file, or one of: advbench, jailbreakbench, harmbench, strongreject, xstest",
    ("lab/m", "--harmful", "empty.csv"): "empty.csv: holds no rows; check that it is the right file and whole",
    ("lab/m", "--harmful", "advbnch"): "--harmful advbnch: there is no such file, and no such set; give a .csv, .tsv, .jsonl, .json, .parquet file, or one of: advbench, jailbreakbench, harmbench, strongreject, xstest; did you mean 'advbench'?",
    ("lab/m", "--harmful", "asked.csv", "--deep"): "--deep: compares harmful and harmless requests and maths; give --harmless and --maths too",
    ("lab/m", "--maths", "sums.jsonl", "--finetune", "sums.jsonl"): "--finetune sums.jsonl: --maths asks the same file, and would test what was trained on; give another",
    ("models/nowhere/x",): "models/nowhere/x: there is no such folder, and a name on the hub looks like Qwen/Qwen3-0.6B; correct it",
    (".",): ".: has no readable config.json; give the folder of a Hugging Face model, with its tokenizer",
}  # fmt: skip


@pytest.mark.parametrize("options", WRONG, ids=" ".join)
def test_what_is_not_clear_is_one_line(folder: Path, options: tuple[str, ...], capsys: pytest.CaptureFixture) -> None:
    assert main(["new", *options]) == 1
    assert capsys.readouterr().err == f"rim new: error: {WRONG[options]}\n"
    assert not list(folder.glob("*.yaml"))


def test_nothing_is_overwritten(folder: Path, capsys: pytest.CaptureFixture) -> None:
    Path("m.yaml").write_text("mine")
    assert main(["new", "lab/m", "--harmful", "asked.csv"]) == 1
    assert "m.yaml: is there already, and nothing is overwritten" in capsys.readouterr().err
    assert Path("m.yaml").read_text() == "mine"
    assert main(["new", "lab/m", "--harmful", "asked.csv", "--out", "none/m.yaml"]) == 1
    assert "none/m.yaml: there is no such file or folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "name"),
    [("Qwen/Qwen3-0.6B", "qwen3_0_6b"), ("on", "model_on"), ("raw", "model_raw"), ("7b", "model_7b"), ("./", "model")],
)
def test_any_model_gets_a_name_that_a_study_may_have(text: str, name: str) -> None:
    assert plain_name(text) == name
