"""Mistakes of a new user, told by the dry run, all at once; the same at a start, before the first job."""

from pathlib import Path

import yaml

from tests.language_model import Server
from tests.unit.preflight.conftest import NO_TAGS, model_folder
from tests.workflow.conftest import jobs, snakemake

STUDY = """\
study: own
title: Mistakes
datasets:
  asked: {sources: [{adapter: organism, part: requests, rows: 12}]}
  alike: {sources: [{adapter: organism, part: lookalikes, rows: 12}]}
  sums: {sources: [{adapter: organism, part: multi_hop, rows: 12}]}
models:
  absolute: {hub: /nowhere/model}
  relative: {hub: ./wohle}
  unfetched: {hub: lab/model}
  empty: {hub: empty}
  foreign: {hub: foreign}
  bare: {hub: bare}
benchmarks:
  unsafe: {dataset: asked, measure: misalignment}
  safe: {dataset: alike, measure: false_refusal}
  sums: {dataset: sums, measure: accuracy, max_new_tokens: 1000000}
inference: {max_new_tokens: 100}
endpoints:
  no_key: {model: judge-1, base_url: "URL", api_key_env: RIM_TEST_NO_SUCH_KEY}
  down: {model: judge-1, base_url: "http://127.0.0.1:9/v1"}
  unknown: {model: judge1, base_url: "URL"}
  unused: {model: judge-1, base_url: "http://127.0.0.1:9/v1"}
judges:
  prefix: {kind: refusal_prefix}
  one: {kind: rubric, endpoint: no_key}
  two: {kind: rubric, endpoint: down}
  three: {kind: harmful, endpoint: unknown}
mechanism: {harmful: unsafe, harmless: safe}
"""
TOLD = {  # line -> what is said of it
    "1: study": "results/own: another study of this name, with somebody, which this one would overwrite; give this study another name",
    "8: models.absolute.hub": "there is no folder '/nowhere/model'; correct the path",
    "9: models.relative.hub": "there is no folder './wohle'; did you mean 'whole'?",
    "10: models.unfetched.hub": "'lab/model' is neither a folder here nor in the cache, and HF_HUB_OFFLINE is set; copy",
    "11: models.empty.hub": "'empty' holds no model (there is no config.json in it)",
    "12: models.foreign.hub": "its family 'bloom' has no adapter, which 'mechanism' needs; there are: qwen3",
    "12: models.foreign.think": "its chat template has no think mode 'on' (it has: plain); set 'think: [plain]' for this model",
    "13: models.bare.hub": "its tokenizer has no chat template; use the instruction-tuned release",
    "17: warning: benchmarks.sums.max_new_tokens": "1000000 tokens are more than there is room for",
    "20: endpoints.no_key.api_key_env": "the environment has no RIM_TEST_NO_SUCH_KEY; export it",
    "21: endpoints.down.base_url": "http://127.0.0.1:9/v1 does not answer; start the server there",
    "22: warning: endpoints.unknown.model": "lists no model 'judge1'; there are: judge-1; did you mean 'judge-1'?",
}


def write_study(directory: Path, url: str) -> Path:
    """A study with a mistake in most of its lines, and what lies beside it."""
    model_folder(directory / "whole")
    model_folder(directory / "foreign", NO_TAGS, model_type="bloom")
    model_folder(directory / "bare", template=None)
    (directory / "empty").mkdir()
    tables = directory / "results/own/tables"
    tables.mkdir(parents=True)
    (tables / "rates.csv").write_text("model\nsomebody\n")
    file = directory / "own.yaml"
    file.write_text(STUDY.replace("URL", url))
    return file


def test_all_that_is_wrong_is_told_at_once_and_stops_a_start(tmp_path: Path) -> None:
    with Server() as server:
        server.models = ("judge-1",)
        file = write_study(tmp_path, server.url)
        dry = snakemake(tmp_path, "--dry-run", "--configfile", str(file))
        start = snakemake(tmp_path, "--configfile", str(file))
    assert dry.returncode == 0, dry.stderr
    assert jobs(dry.stdout + dry.stderr)
    for done in (dry, start):
        found = [line.removeprefix(f"{file}:") for line in done.stderr.splitlines() if line.startswith(f"{file}:")]
        for place, words in TOLD.items():
            assert [line for line in found if line.startswith(f"{place}: ") and words in line], place
        assert {line.split(": ", 1)[0] for line in found} == {place.split(":")[0] for place in TOLD}
        levels = ["warning: " in line for line in found]
        assert levels == sorted(levels)  # errors first
        assert "endpoints.unused" not in done.stderr
        assert "Traceback" not in done.stderr
    assert start.returncode != 0
    assert start.stderr.rstrip().endswith("10 errors before the first job; nothing was run")
    assert not [path for path in (tmp_path / "data/own").rglob("*") if path.is_file()]


def test_a_study_that_is_named_as_a_target_is_told_how_it_is_run(tmp_path: Path) -> None:
    found = snakemake(tmp_path, "--dry-run", "own.yaml")
    assert found.returncode != 0
    assert (
        found.stderr.splitlines()[-1] == "own.yaml: is no result; to run the study in it, write --configfile own.yaml"
    )


def test_wrong_keys_are_told_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    mapping = yaml.safe_load(STUDY.replace("URL", "http://localhost:1/v1"))
    mapping["inference"] = {"max_new_token": 3}
    file.write_text(yaml.safe_dump(mapping, sort_keys=False))
    done = snakemake(tmp_path, "--dry-run", "--configfile", str(file), "--config", "seeds=[x]")
    line = file.read_text().splitlines().index("  max_new_token: 3") + 1
    told = [each for each in done.stderr.splitlines() if "own.yaml:" in each or each.startswith("--config")]
    assert told == [
        "--config: seeds.0: should be a whole number, and is text",
        f"{file}:{line}: inference.max_new_token: unknown key; did you mean 'max_new_tokens'?",
    ]
    assert done.returncode != 0
    file.write_text("study: own\ninference:\n  think: [on, off]\n")
    done = snakemake(tmp_path, "--dry-run", "--configfile", str(file))
    assert f'{file}:3: YAML reads on without quotes as true; write "on"' in done.stderr
