"""What a model's chat template is told (`prompt` of a model): one date for today, arguments, system messages that switch thinking."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from rim.config.load import load_study
from rim.core.errors import UserError
from rim.models import chat, engines, loading, positions
from rim.models.formats import pinned
from rim.settings.common import identity
from rim.settings.inference import Inference
from rim.settings.models import Model, Prompt
from rim.training import finetune
from tests.chat_templates import TEMPLATES, TURNS
from tests.conftest import model_reference
from tests.unit.models.test_chat import tokenizer_with

END = "{% endif %}"
DATED = {  # where templates write today's date
    "in every prompt": "{{ 'Today: ' + strftime_now('%d %b %Y') }}" + TURNS + END,
    "unless they are told": "{% if date_string is not defined %}{% set date_string = strftime_now('%B %d, %Y') %}{% endif %}{{ date_string }}"
    + TURNS + END,
    "where there is a clock": "  {% if strftime_now is defined %}{% set day = strftime_now('%Y-%m-%d') %}{% else %}{% set day = '26 Jul 2024' %}{% endif %}\n{{ day }}"
    + TURNS + END,
    "in a macro": "{% macro about() %}{{ strftime_now('%A, %-d %B %Y %H:%M:%S (%j)') }}{% endmacro %}{{ about() }}" + TURNS + END,
    "in a turn": TURNS.replace("m.content", "(strftime_now('%d/%m/%y') if m.role == 'user' else '') + m.content") + END,
}  # fmt: skip
ASKED = [{"role": "user", "content": "Why?"}]


def on_day(monkeypatch: pytest.MonkeyPatch, *day: int) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Clock":
            return cls(*day)

    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Clock)


def written(tokenizer: Any) -> list[Any]:
    """Everything that is rendered with a template."""
    found = chat.format_of.__wrapped__(tokenizer)
    return [
        {name: mode.prompt for name, mode in found.modes.items()},
        chat.render_prompt(tokenizer, "Why?", "plain", "template"),
        chat.render_messages(tokenizer, ASKED),
        chat.render_dialogue(tokenizer, [*ASKED, {"role": "assistant", "content": "So."}]),
        chat.render_injected(tokenizer, "Why?", "Well,", "plain", "template"),
        chat.render_example(tokenizer, "Why?", "Because.", "So.", "template"),
        positions.Template(tokenizer, "plain", "template").renderings,
    ]


@pytest.mark.parametrize("name", DATED)
def test_the_same_is_asked_on_every_day(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    by_day, unpinned = [], []
    for day in ((2025, 3, 9, 10), (2031, 12, 24, 8)):
        on_day(monkeypatch, *day)
        made = tokenizer_with(DATED[name])
        by_day.append(written(made))
        unpinned.append(made.apply_chat_template(ASKED, tokenize=False, add_generation_prompt=True))
    assert by_day[0] == by_day[1]
    assert unpinned[0] != unpinned[1]


@pytest.mark.parametrize("name", DATED)
def test_a_prompt_is_what_transformers_writes_on_that_day(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tokenizer_with(DATED[name])
    made.told = Prompt(date="2019-07-04")
    on_day(monkeypatch, 2019, 7, 4)
    expected = made.apply_chat_template(ASKED, tokenize=False, add_generation_prompt=True)
    on_day(monkeypatch, 2031, 12, 24)
    assert chat.render_prompt(made, "Why?", "plain", "template") == expected


def test_a_template_without_a_date_is_left_as_it_is() -> None:
    assert pinned(TEMPLATES["argument"].template, "2019-07-04") == TEMPLATES["argument"].template


EFFORT = (
    "{% if effort is not defined %}{% set effort = 'medium' %}{% endif %}{{ '<|im_start|>system\\nEffort: ' + effort + '<|im_end|>\\n' }}"
    + TURNS + END
)  # fmt: skip


def test_arguments_are_handed_to_the_template_in_every_rendering() -> None:
    low, medium = tokenizer_with(EFFORT), tokenizer_with(EFFORT)
    low.told = Prompt(arguments={"effort": "low"})
    for told, untold in zip(written(low), written(medium), strict=True):
        assert "Effort: low" in repr(told)
        assert repr(told).replace("Effort: low", "Effort: medium") == repr(untold)


def test_on_is_as_much_as_the_template_is_told() -> None:
    """Where the argument that turns thinking off has degrees."""
    by_effort = (
        "{% if reasoning_effort is defined and reasoning_effort != 'none' %}{{ 'Effort: ' + reasoning_effort }}{% endif %}"
        + TURNS + "{% if reasoning_effort is defined and reasoning_effort == 'none' %}{{ '<think></think>' }}{% endif %}" + END
    )  # fmt: skip
    made = tokenizer_with(by_effort)
    made.told = Prompt(arguments={"reasoning_effort": "low"})
    assert chat.render_prompt(made, "Why?", "on", "template").startswith("Effort: low<|im_start|>")
    assert chat.render_prompt(made, "Why?", "off", "template").endswith("<think></think>")


def saved(folder: Path) -> Path:
    tokenizer_with(EFFORT).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return folder


def test_what_a_job_is_told_of_its_model_reaches_the_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, prompt = saved(tmp_path / "m"), Prompt(arguments={"effort": "low"})
    monkeypatch.setattr(loading, "load_model", lambda *_: None)
    reference, inference = model_reference(folder, prompt=prompt), Inference(think=["plain"])
    _, tokenizer = engines.open_backend(reference, inference)
    assert "Effort: low" in chat.render_prompt(tokenizer, "Why?", "plain", "template")
    tokenizer.save_pretrained(tmp_path / "again")
    assert not hasattr(loading.load_tokenizer(str(tmp_path / "again")), "effort")
    assert loading.load_tokenizer(str(tmp_path / "again")).get_chat_template() == EFFORT


def test_a_fine_tune_is_trained_on_rows_of_the_same_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Stop(Exception):
        pass

    def encode(tokenizer: Any, rows: Any, *_: Any) -> None:
        seen.append(chat.render_example(tokenizer, "Why?", None, "So.", "template")[0])
        raise Stop

    monkeypatch.setattr(finetune.distributed, "load", lambda *_: type("M", (), {"generation_config": None})())
    monkeypatch.setattr(finetune.chat, "check_end_of_turn", lambda *_: None)
    monkeypatch.setattr(finetune, "end_tokens", lambda *_: set())
    monkeypatch.setattr(finetune, "encode", encode)
    told = {"recipe": finetune.Finetune(), "rows": [], "output": tmp_path / "o", "steps": tmp_path / "s"}
    training = finetune.Training(
        str(saved(tmp_path / "m")), None, "float32", "template", 0, "t", prompt=Prompt(arguments={"effort": "low"}), **told
    )  # fmt: skip
    with pytest.raises(Stop):
        finetune.finetune(training)
    assert "Effort: low" in seen[0]


BY_CARD = Prompt(think_on="detailed thinking on", think_off="detailed thinking off")


def test_system_messages_switch_a_model_whose_template_does_not() -> None:
    """After Llama-Nemotron, whose card names the sentences."""
    made = tokenizer_with(TURNS + END)
    made.told = BY_CARD
    found = chat.format_of(made)
    assert found.modes.keys() == {"on", "off", "plain"}
    assert found.switch == "the system message 'detailed thinking on'"
    assert found.parting.open == "<think>"
    on, off, plain = (chat.render_prompt(made, "Why?", mode, "template") for mode in ("on", "off", "plain"))
    assert on == f"<|im_start|>system\ndetailed thinking on<|im_end|>\n{plain}"
    assert off == f"<|im_start|>system\ndetailed thinking off<|im_end|>\n{plain}"
    assert chat.render_example(made, "Why?", "Because.", "So.", "template")[0] == on
    made = tokenizer_with(TURNS + END)
    made.told = Prompt(think_on="Think at length.")
    assert chat.render_prompt(made, "Why?", "off", "template") == plain


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("argument", "is switched by the template's argument 'enable_thinking', so no 'think_on' of its own is needed"),
        ("always", "itself begins or ends a thought, so no 'think_on' of its own is needed"),
        ("never", "leaves out a system message; leave 'think_on' out"),
        (
            "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TURNS + END,
            "takes no system message; leave 'think_on' out",
        ),
    ],
)
def test_system_messages_that_cannot_switch_are_refused(template: str, said: str) -> None:
    text = TEMPLATES[template].template if template in TEMPLATES else template
    if template == "never":
        text = text.replace("m.content + '<|im_end|>'", "''")
    made = tokenizer_with(text)
    made.told = BY_CARD
    with pytest.raises(UserError, match=f"^its chat template {said}"):
        chat.format_of(made)


def study_of(model: dict[str, Any]) -> None:
    dataset = {"sources": [{"adapter": "organism", "part": "requests", "rows": 4}]}
    load_study({
        "study": "s", "title": "t", "datasets": {"d": dataset}, "models": {"m": {"hub": "a/b", **model}},
        "benchmarks": {"b": {"dataset": "d", "measure": "misalignment"}}, "judges": {"j": {"kind": "refusal_prefix"}},
    })  # fmt: skip


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"prompt": {"date": "26 July"}}, "models.m.prompt.date: is no date; write it as 2024-07-26"),
        ({"prompt": {"arguments": {"effort": ["low"]}}}, "models.m.prompt.arguments.effort: should be text, a number up to two billion, or true or false; write a date in quotes"),
        ({"prompt": {"think_off": "x"}}, "models.m.prompt: 'think_off' needs a 'think_on' that is another message"),
        ({"prompt": {"think_on": "x"}, "think_switch": "sentence"}, "models.m: thinking is switched by 'prompt.think_on' or by 'think_switch: sentence'; leave one of them out"),
    ],
)  # fmt: skip
def test_what_a_template_cannot_be_told_is_one_line(model: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        study_of(model)
    assert str(caught.value) == f"configuration: {said}"


def test_a_date_may_be_written_as_yaml_reads_it() -> None:
    given = datetime(2025, 1, 2).date()
    assert Model.model_validate({"hub": "a/b", "prompt": {"date": given}}).prompt == Prompt(date="2025-01-02")


def test_a_model_that_is_told_nothing_is_what_it_was() -> None:
    assert "prompt" not in identity(Model(hub="a/b"))
    assert "prompt" not in identity(model_reference("a/b"))
    told = Prompt(arguments={"effort": "low"})
    assert identity(model_reference("a/b", prompt=told))["prompt"]["arguments"] == {"effort": "low"}
    assert identity(model_reference("a/b", prompt=Prompt(date="2025-01-02")))["prompt"]["date"] == "2025-01-02"
