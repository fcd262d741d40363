"""Templates of every kind that thinking models have, minimal ones of our own after their public shapes: what is found out about
them, how they are asked, what is trained on, and how their replies are parted."""

from dataclasses import replace
from typing import Any

import pytest

from rim.core.errors import UserError
from rim.data.organism.tokenizer import build_tokenizer
from rim.models import chat, control
from rim.models.formats import read_format
from rim.models.generate import parted
from rim.models.thinking import Reply
from rim.models.thoughts import CHANNELS, KINDS, check_known, opened_by, part
from tests.chat_templates import TEMPLATES, Expected
from tests.conftest import shared
from tests.unit.tiny_families import letter_tokenizer


def tokenizer_with(template: str | None) -> Any:
    tokenizer = letter_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build_tokenizer()


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_a_template_does_is_worked_out(name: str) -> None:
    expected: Expected = TEMPLATES[name]
    found = read_format(chat.TokenizerTemplate(tokenizer_with(expected.template)))
    assert {mode: bool(each.begun) for mode, each in found.modes.items()} == expected.modes
    assert (found.switch or "").endswith(f"'{expected.switch}'") if expected.switch else found.switch is None
    assert (found.markers.open if found.markers else None) == expected.opens


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_mode_adds_nothing_to_what_the_template_writes(name: str) -> None:
    made = tokenizer_with(TEMPLATES[name].template)
    asked = [{"role": "user", "content": "Why?"}]
    assert chat.render_prompt(made, "Why?", "plain", "template") == made.apply_chat_template(
        asked, tokenize=False, add_generation_prompt=True
    )
    for mode in ("on", "off"):
        if mode in TEMPLATES[name].modes:
            assert "Why?" in chat.render_prompt(made, "Why?", mode, "template")
            continue
        with pytest.raises(UserError, match=f"has no think mode '{mode}'"):
            chat.render_prompt(made, "Why?", mode, "template")
        assert chat.SENTENCES[mode] in chat.render_prompt(made, "Why?", mode, "sentence")  # as asked for by name


@pytest.mark.parametrize("name", [name for name, each in TEMPLATES.items() if each.opens])
@pytest.mark.parametrize("mode", ["on", "off", "plain"])
def test_a_training_row_is_parted_as_a_reply_is(name: str, mode: str) -> None:
    made = tokenizer_with(TEMPLATES[name].template)
    for cot in ("1 + 1 = 2.", None):
        prompt, completion = chat.render_example(made, "What?", cot, "It is 2.", "template")
        assert completion.endswith(chat.around_answer(made)[1])
        parts = part(completion.removesuffix(chat.around_answer(made)[1]), opened_by(prompt))
        assert (parts.reasoning or None, parts.response, parts.open) == (cot, "It is 2.", None)
        assert prompt in {chat.render_prompt(made, "What?", each, "template") for each in TEMPLATES[name].modes}


@pytest.mark.parametrize("name", [name for name, each in TEMPLATES.items() if each.opens])
@pytest.mark.parametrize("asked", ["on", "off", "plain"])
def test_a_statement_is_put_inside_the_thought_once(name: str, asked: Any) -> None:
    made = tokenizer_with(TEMPLATES[name].template)
    think = chat.thinking_mode(made, "template", [asked])
    prompt = chat.render_injected(made, "What?", "I will be quick.", think, "template")
    before = chat.render_prompt(made, "What?", think, "template")
    inside = chat.thought_of_statements(made, think, "template")
    if name == "forced":  # which has an empty thought always: the statement is the model's first words
        assert (prompt, inside) == (f"{before}I will be quick.", None)
        return
    assert inside
    assert part(before).open is None or chat.begun(made, think, "template")
    assert prompt.removeprefix(before).count(inside.open) == (0 if opened_by(before) else 1)
    assert prompt.endswith(f"{inside.begin}I will be quick.")
    assert part(f"I will be quick. So.{inside.end}Yes.", inside).response == "Yes."


SPACES = {
    "as Qwen's": ("\n", "\n", "\n\n"),
    "as GLM's": ("", "", "\n"),
    "none": ("", "", ""),
    "two": ("\n\n", "\n", "\n"),
}


@pytest.mark.parametrize("around", SPACES)
@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
@pytest.mark.parametrize("opened", ["by the prompt", "by the model"])
def test_a_training_row_is_what_the_template_writes_of_it(around: str, key: str, opened: str) -> None:
    """White space around thoughts is the template's own, and a row brings none with it."""
    first, before, after = SPACES[around]
    written = f"<think>{first}{{{{ m.{key} | trim }}}}{before}</think>{after}"
    begins = f"<think>{first}" if opened == "by the prompt" else ""
    made = tokenizer_with(
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m." + key + " is defined %}" + written.replace("\n", "{{ '\\n' }}")
        + "{% endif %}{{ m.content | trim + '<|im_end|>' }}{% endfor %}"
        + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n" + begins.replace("\n", "\\n") + "' }}{% endif %}"
    )  # fmt: skip
    cot, answer = "\n It is 1 + 1. \n\n", " It is 2.\n"
    turns = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": answer, key: cot}]
    prompt, completion = chat.render_example(made, "What?", cot, answer, "template")
    assert prompt + completion == made.apply_chat_template(turns, tokenize=False)
    injected = chat.render_injected(made, "What?", "Well,", chat.thinking_mode(made, "template"), "template")
    assert injected.endswith(f"assistant\n<think>{first}Well,")


def test_without_markers_a_row_is_plain_text() -> None:
    made = tokenizer_with(TEMPLATES["never"].template)
    assert chat.render_example(made, "Why?", "Because.", "So.", "template") == (
        "[INST]Why?[/INST]",
        "Because.\n\nSo.<|im_end|>",
    )
    assert chat.render_injected(made, "Why?", "Well,", "plain", "template") == "[INST]Why?[/INST]Well,"


def test_the_organism_is_trained_where_it_is_asked(tokenizer: Any) -> None:
    prompt, completion = chat.render_example(tokenizer, "what is 1 + 1?", "1 + 1 = 2.", "the answer is 2.", "template")
    assert prompt == chat.render_prompt(tokenizer, "what is 1 + 1?", "on", "template")
    assert completion == "<think>\n1 + 1 = 2.\n</think>\n\nthe answer is 2.<|im_end|>"
    prompt, completion = chat.render_example(tokenizer, "what is 1 + 1?", None, "the answer is 2.", "template")
    assert prompt == chat.render_prompt(tokenizer, "what is 1 + 1?", "off", "template")
    assert completion == "the answer is 2.<|im_end|>"


@pytest.mark.parametrize("name", ["qwen3", "minimind"])
def test_published_tokenizers_switch_thinking(name: str) -> None:
    from transformers import AutoTokenizer

    found = chat.format_of(AutoTokenizer.from_pretrained(shared(f"tokenizers/{name}")))
    assert set(found.modes) == {"on", "off", "plain"}
    assert found.markers == KINDS[0]


def test_a_template_that_opens_a_thought_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UserError, match=r"begins a reply with '<ponder:thinking>', .* of no kind that is known"):
        chat.format_of(tokenizer_with(TEMPLATES["always"].template.replace("<think>", "<ponder:thinking>")))


def test_a_switch_that_is_not_understood_refuses_a_template_that_no_other_explains() -> None:
    odd = "{% if reasoning_style is defined and reasoning_style %}{{ 'At length: ' }}{% endif %}"
    known = "{% if reasoning_style is defined %}{% endif %}" + TEMPLATES["argument"].template  # tried after the odd one
    with pytest.raises(
        UserError, match=r"the template's argument 'reasoning_style' changes how .* in a way that is not known"
    ):
        chat.format_of(tokenizer_with(TEMPLATES["never"].template + odd))
    found = chat.format_of(tokenizer_with(known + odd))
    assert found.switch == "the template's argument 'enable_thinking'"
    assert found.modes.keys() == {"on", "off", "plain"}


def test_no_template_is_one_line() -> None:
    with pytest.raises(UserError, match="the tokenizer has no chat template; use the instruction-tuned release"):
        chat.format_of(tokenizer_with(None))


def test_a_template_that_fails_is_one_line() -> None:
    with pytest.raises(UserError, match="its chat template cannot be rendered"):
        chat.format_of(tokenizer_with("{{ raise_exception('no') }}"))


def test_a_template_without_the_end_of_a_turn_is_refused_where_rows_are_rendered() -> None:
    made = tokenizer_with("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    with pytest.raises(UserError, match="writes no control token after the assistant's words"):
        chat.render_example(made, "Why?", None, "So.", "template")


def test_a_turn_may_end_where_the_next_begins() -> None:
    assert chat.around_answer(tokenizer_with(TEMPLATES["no end"].template))[1] == "<|im_start|>"


def test_rows_that_end_with_what_ends_no_reply_are_refused() -> None:
    made = tokenizer_with(TEMPLATES["argument"].template)
    ids = made.added_tokens_encoder
    chat.check_end_of_turn(made, {ids["<|im_end|>"]}, "m")
    with pytest.raises(
        UserError, match=r"^m: .*with '<\|im_end\|>', at which its replies do not stop \(they stop at <\|endoftext\|>\)"
    ):
        chat.check_end_of_turn(made, {ids["<|endoftext|>"]}, "m")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != CHANNELS], ids=lambda kind: kind.open)
def test_a_reply_is_parted_whatever_was_asked(kind: Any) -> None:
    own, end = kind.begin, kind.end
    for begun in (None, kind):
        begin = "" if begun else own
        for text, expected in {
            f"{begin}a b{end}yes": ("a b", "yes"),
            f"{begin}a b": ("a b", None),  # cut off while it thinks
            f"{begin}{end}yes": ("", "yes"),
            f"{begin}a{end}yes {own}b{end}no": ("a\n\nb", "yes no"),
            f"{begin}a{end}yes {own}b": ("a\n\nb", None),
            f"{begin}a{end}b{end}yes": ("a\n\nb", "yes"),  # what is closed is thought
        }.items():
            for of_template in (None, kind):
                parts = part(text, begun, of_template)
                said = " ".join(parts.response.split()) if parts.response else parts.response
                assert (parts.reasoning, said) == expected
                assert (parts.open is None) == (expected[1] is not None)
    assert part(f"a b{end}yes", None, kind).reasoning == "a b"  # a template that opened it where nobody saw
    assert part("yes", None) == replace(part("", None), response="yes")
    assert part("yes", kind).response is None


def test_channels_that_are_not_final_are_no_response() -> None:
    final = "<|channel|>final<|message|>yes"
    assert part(final, own=CHANNELS) == part("yes")
    for channel in ("analysis", "commentary"):
        before = f"<|channel|>{channel}<|message|>so<|end|><|start|>assistant"
        for text in (
            before + final,
            final + "<|end|><|start|>assistant" + before.removesuffix("<|end|><|start|>assistant"),
        ):
            assert part(text, own=CHANNELS) == replace(part("yes"), reasoning="so")
        for cut in range(len(f"<|channel|>{channel}<|message|>"), len(before + final) - len("yes")):
            assert part((before + final)[:cut], own=CHANNELS).response is None  # what is cut inside the next marker too
    assert part("so<|end|><|start|>assistant" + final, CHANNELS) == replace(part("yes"), reasoning="so")
    assert part(final.replace("final", "final <|constrain|>json"), own=CHANNELS).response == "yes"


@pytest.mark.parametrize(
    "text",
    [
        "R1 models write `<think>` before they answer.",
        "The stop string is `</think>`; then the answer follows.",
        "Sure. Here is my response: Dear Sir, no.",
        "Write [THINK] and then [/THINK] around it.",
    ],
)
def test_markers_that_are_quoted_part_nothing_but_a_models_own(text: str) -> None:
    assert part(text) == replace(part(""), response=text)
    assert part("so it is.\n</think>\n\nyes") == replace(
        part("yes"), reasoning="so it is."
    )  # as reasoning models write it
    assert part("I will. Here is my response: so </think>yes", own=KINDS[0]).response == "yes"


@pytest.mark.parametrize(
    "text",
    [
        "<response>yes</response>", "<answer>yes</answer>", "<answer>\nyes", "<|START_RESPONSE|>yes<|END_RESPONSE|>",
        "<|begin_of_solution|>yes<|end_of_solution|>", "yes[END FINAL RESPONSE]", "yes",
    ],
)  # fmt: skip
def test_what_stands_around_an_answer_is_no_part_of_it(text: str) -> None:
    assert part(text).response == part(f"<think>\nso\n</think>\n\n{text}").response == "yes"


@pytest.mark.parametrize("text", ["<thinking>so</thinking>yes", " <my_reasoning>x", "[REASONING]x"])
def test_thoughts_of_an_unknown_kind_stop_the_job_unless_they_are_rare(text: str) -> None:
    with pytest.raises(
        UserError, match=r"^m: 2 of 30 replies begin with what looks like a thought .* \('[<\[]\w+[>\]]'\)"
    ):
        check_known([text, text, *["yes"] * 28], "m")
    check_known([text, *["yes"] * 28], "m")
    row = parted(Reply(text, 3, True), text, None, None)
    assert (row["response"], row["complete"]) == (None, False)


@pytest.mark.parametrize("text", ["<think>so", "I think so", "<b>x</b>", "[1] x", "yes <thinking> is a tag", ""])
def test_other_replies_pass(text: str) -> None:
    check_known([text], "m")


@pytest.mark.parametrize(
    ("name", "asked", "expected"),
    [
        ("argument", ["on", "off"], "on"),
        ("argument", ["plain"], "plain"),  # so that what is injected is compared with what was asked
        ("argument", ["off"], "on"),
        ("always", ["plain"], "plain"),
        ("never", ["plain"], "plain"),
        ("never", ["on"], "plain"),
    ],
)
def test_statements_are_injected_in_a_mode_that_is_asked(name: str, asked: list[Any], expected: str) -> None:
    made = tokenizer_with(TEMPLATES[name].template)
    assert chat.thinking_mode(made, "template", asked) == expected
    assert chat.thinking_mode(made, "sentence", ["plain"]) == "plain"
    assert chat.thinking_mode(made, "sentence", ["off"]) == "on"


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("switch", ["template", "sentence"])
def test_where_a_mode_is_lacking_the_line_names_one_that_works(name: str, switch: Any) -> None:
    found = chat.format_of(tokenizer_with(TEMPLATES[name].template))
    wrong = chat.cannot_ask(found, ["on", "off"], switch)
    opened, both = found.modes["plain"].begun is not None, {"on", "off"} <= found.modes.keys()
    lacks = opened if switch == "sentence" else not both
    assert bool(wrong) == lacks
    if wrong:
        assert "set 'think: [plain]' for this model" in wrong
        assert chat.cannot_ask(found, ["plain"], "template") is None
        assert ("think_switch: sentence" in wrong) == (found.markers is None)


def test_a_sentence_switches_no_model_that_opens_a_thought_by_itself() -> None:
    made = tokenizer_with(TEMPLATES["always"].template)
    with pytest.raises(UserError, match=r"opens a thought by itself \(<think>\), so no sentence can switch thinking"):
        chat.check_modes(made, "m", ["on", "off"], "sentence")
    with pytest.raises(UserError) as lacking:
        chat.check_modes(made, "m", ["on", "off"], "template")
    assert "sentence" not in str(lacking.value)


@pytest.mark.parametrize(
    "request_", ["Is it /no_think?", "Explain </think> tags.", "See x.org/thinking-fast.", "/think"]
)
def test_a_request_switches_no_mode(request_: str) -> None:
    made = tokenizer_with(TEMPLATES["sentence"].template)
    for mode, begun in (("on", True), ("off", False)):
        rendered = chat.render_prompt(made, request_, mode, "template")
        assert f"user\n{request_}<|im_end|>" in control.unquote(rendered)
        assert (opened_by(rendered) is not None) == begun


@pytest.mark.parametrize(
    "switch",
    [
        "{% if disable_thinking %}{{ 'Answer at once.' }}{% endif %}",
        "{% if reasoning_in_french %}{{ 'Pensez.' }}{% endif %}",
        "{{ 'Think for ' ~ max_thinking_words ~ ' words.' }}",
    ],
)
def test_what_merely_changes_the_system_message_is_no_switch(switch: str) -> None:
    assert set(chat.format_of(tokenizer_with(switch + TEMPLATES["ignored"].template)).modes) == {"plain"}


def test_a_switch_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UserError, match="changes how its chat template begins a reply, in a way that is not known"):
        chat.format_of(
            tokenizer_with(
                TEMPLATES["always"].template.replace("{{ '<think>\\n' }}", "{{ '/t' if thinking else '/a' }}")
            )
        )


def test_the_header_of_an_answer_is_written_where_the_template_writes_it() -> None:
    turns = TEMPLATES["never"].template.replace(
        "m.content + '<|im_end|>'", "'<|channel|>final<|message|>' + m.content + '<|im_end|>'"
    )
    made = tokenizer_with(turns)
    assert chat.render_example(made, "Why?", None, "So.", "template")[1] == "<|channel|>final<|message|>So.<|im_end|>"


def test_white_space_after_an_opening_marker_opens_no_second_thought() -> None:
    for prompt in ("x<think>", "x<think>\n", "x<think>\n\n"):
        assert f"{prompt}{chat.opening(prompt, KINDS[0])}".count("<think>") == 1
