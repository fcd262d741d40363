"""What is said of a model before a study names it."""

import re
from pathlib import Path
from typing import Any

import pytest
from transformers.integrations import sdpa_attention

from rim.cli import main
from rim.models import headers
from rim.workflow import weights_check
from tests.chat_templates import TEMPLATES
from tests.unit.tiny_families import build, letter_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models") / "own"
    tokenizer = letter_tokenizer()
    build("llama", vocab_size=len(tokenizer), max_position_embeddings=512).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def said(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["check-model", str(folder)]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", TEMPLATES)
def test_modes_and_markers_of_every_kind_of_template(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "chat_template.jinja").write_text(TEMPLATES[name].template)
    told = said(folder, capsys)
    [modes] = [line for line in told.splitlines() if line.startswith("think modes: ")]
    assert set(re.findall(r"\b(?:on|off|plain)\b", modes)) == set(TEMPLATES[name].modes)
    assert (TEMPLATES[name].opens or "no markers of one") in told
    assert ("begins inside a thought" in told) == any(TEMPLATES[name].modes.values())
    assert len(told.splitlines()) <= 16


def test_what_can_be_analysed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "chat_template.jinja").write_text(TEMPLATES["argument"].template)
    told = said(folder, capsys)
    assert f"{folder}: family 'llama', 512 positions" in told
    assert "neurons, forgetting; heads\n" in told
    (folder / "chat_template.jinja").write_text(TEMPLATES["argument, nothing inside"].template)
    assert "no heads: its prompts have no 'inner'" in said(folder, capsys)
    (folder / "chat_template.jinja").write_text(TEMPLATES["never"].template)
    assert "no heads: it has not both think modes on and off" in said(folder, capsys)


def test_arguments_of_its_template_and_the_date_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = TEMPLATES["argument"].template
    (folder / "chat_template.jinja").write_text(own)
    told = said(folder, capsys)
    assert "arguments of its template" not in told
    assert "today" not in told
    more = (
        "{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}{% set n = effort | default('low') %}{{ twice(n) }}"
        "{% if n in ('low', 'high') %}{% endif %}{% if style is not defined %}{% set style = 'x' %}{% endif %}{{ style }}"
    )
    (folder / "chat_template.jinja").write_text(f"{more}{{{{ strftime_now('%d %b %Y') }}}}{own}")
    told = said(folder, capsys)
    assert (
        "arguments of its template, which 'prompt: {arguments: …}' of a model sets: effort (low, high), style\n" in told
    )
    assert (
        "date: its template writes today's into every prompt, for which 2024-07-26 is put ('prompt: {date: …}')" in told
    )
    assert "26 Jul 2024<|im_start|>" in told


def test_a_model_that_would_never_end_a_reply(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    told = said(folder, capsys)
    assert "analyses: replies, injection, probes" in told
    assert "no fine-tuning: its chat template writes no control token after the assistant's words" in told


def test_a_family_that_cannot_be_analysed_or_loaded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "chat_template.jinja").write_text(TEMPLATES["argument"].template)
    config = (folder / "config.json").read_text()
    try:
        (folder / "config.json").write_text(config.replace('"model_type": "llama"', '"model_type": "deepseek_v3"'))
        told = said(folder, capsys)
        assert "analyses: replies, injection, fine-tuning only; its attention is latent, so that" in told
        assert "engines: transformers, vLLM (not tried with this family)" in told
        (folder / "config.json").write_text(config.replace('"model_type": "llama"', '"model_type": "mistral3"'))
        assert main(["check-model", str(folder)]) == 1
        assert "its family 'mistral3' is no language model that transformers" in capsys.readouterr().err
    finally:
        (folder / "config.json").write_text(config)


def test_weights_need_not_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = whole("llama", tmp_path / "m")
    before = said(place, capsys).splitlines()
    (place / "model.safetensors").unlink()
    headers.size.cache_clear()
    told = said(place, capsys).splitlines()
    assert told.pop(1) == "weights: not on this machine, so the memory that they take is not counted"
    assert told == [before[0], *before[2:]]
    assert main(["check-model", str(place), "--weights"]) == 1
    assert "model.safetensors: is missing; copy the model again" in capsys.readouterr().err


def test_what_no_study_can_ask_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "chat_template.jinja").write_text("{{ raise_exception('only tools') }}")
    assert main(["check-model", str(folder)]) == 1
    assert capsys.readouterr().err == (
        f"rim check-model: error: {folder}: its chat template cannot be rendered (only tools); use the model's own, or mend it\n"
    )
    assert main(["check-model", "./nowhere"]) == 1
    assert capsys.readouterr().err.startswith("rim check-model: error: there is no folder './nowhere'; ")


def whole(family: str, place: Path) -> Path:
    tokenizer = letter_tokenizer()
    ends = list(range(0, len(tokenizer), 4))  # since a random model hardly ever ends a reply
    model = build(family, vocab_size=len(tokenizer), max_position_embeddings=512)
    model.generation_config.eos_token_id = [*ends, tokenizer.eos_token_id]
    for each in (model, tokenizer):
        each.save_pretrained(place)
    return place


@pytest.mark.parametrize("family", ["qwen3", "phi3", "olmoe", "gemma3_text"])
def test_weights_are_loaded_and_what_is_read_is_compared_with_plain_hooks(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-model", str(whole(family, tmp_path / "m")), "--weights"]) == 0
    told = capsys.readouterr().out
    assert len(re.findall("^reply, (?:on|off), to '.+' \\((?:ended|cut off at 64 tokens)\\):$", told, re.M)) == 6
    table = dict(re.findall(r"^(\w.+?)  +(agrees|DIFFERS) +\S+ +0\.001$", told, re.M))
    assert set(table) == set(weights_check.READ.values())
    assert set(table.values()) == {"agrees"}


def test_what_is_not_the_models_own_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel beside which attention is read that computes something else than the model does."""
    own = sdpa_attention.sdpa_attention_forward

    def wrong(module: Any, query: Any, key: Any, value: Any, mask: Any, **options: Any) -> Any:
        return own(module, query, key, 2 * value, mask, **options)

    monkeypatch.setattr(sdpa_attention, "sdpa_attention_forward", wrong)
    assert main(["check-model", str(whole("llama", tmp_path / "m")), "--weights"]) == 1
    assert re.search(r"^outputs of heads +DIFFERS +\S+ +0\.001$", capsys.readouterr().out, re.M)
