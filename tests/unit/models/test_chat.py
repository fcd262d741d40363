import pytest

from rim.core.errors import UserError
from rim.data.organism.tokenizer import build_tokenizer
from rim.models import chat
from tests.conftest import shared


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def test_think_tags_are_recognized(tokenizer) -> None:
    from transformers import AutoTokenizer

    chat.check_think_tags(tokenizer, "organism")
    chat.check_think_tags(AutoTokenizer.from_pretrained(shared("tokenizers/qwen3")), "Qwen3")


@pytest.mark.parametrize("template", ["{% for m in messages %}[INST]{{ m.content }}[/INST]{% endfor %}", None])
def test_a_template_without_think_tags_is_refused(template) -> None:
    plain = build_tokenizer()
    plain.chat_template = template
    with pytest.raises(
        UserError,
        match=r"^some/model: (its chat template has no switchable think tags|the tokenizer has no chat template)",
    ):
        chat.check_think_tags(plain, "some/model")


def test_a_template_whose_switch_has_another_name_is_refused() -> None:
    from transformers import AutoTokenizer

    with pytest.raises(UserError, match="has no switchable think tags"):
        chat.check_think_tags(AutoTokenizer.from_pretrained(shared("tokenizers/minimind")), "minimind")


def test_training_rows_end_where_inference_begins(tokenizer) -> None:
    prompt, completion = chat.render_example(tokenizer, "what is 1 + 1?", "1 + 1 = 2.", "the answer is 2.", "tags")
    assert prompt == chat.render_prompt(tokenizer, "what is 1 + 1?", "on", "tags")
    assert completion == "<think>\n1 + 1 = 2.\n</think>\n\nthe answer is 2.<|im_end|>"
    prompt, completion = chat.render_example(tokenizer, "what is 1 + 1?", None, "the answer is 2.", "tags")
    assert prompt == chat.render_prompt(tokenizer, "what is 1 + 1?", "off", "tags")
    assert completion == "the answer is 2.<|im_end|>"


def test_a_model_without_tags_is_switched_by_a_sentence() -> None:
    plain = build_tokenizer()
    plain.chat_template = (
        "{% for m in messages %}"
        "{{ '[INST]' + m.content + '[/INST]' if m.role == 'user' else m.content + '<|end|>' }}{% endfor %}"
    )
    on, off = (chat.render_prompt(plain, "Why?", think, "prompt") for think in ("on", "off"))
    assert "step by step" in on
    assert "directly" in off
    assert chat.render_example(plain, "Why?", "Because.", "So.", "prompt") == (
        "[INST]Why?[/INST]",
        "Because.\n\nSo.<|end|>",
    )


@pytest.mark.parametrize(
    ("text", "think", "switch", "expected"),
    [
        ("<think>\na b\n</think>\n\nyes", "on", "tags", ("a b", "yes")),
        ("a b\n</think>\n\nyes", "on", "tags", ("a b", "yes")),  # a template that opens the span itself
        ("<think>\na b", "on", "tags", ("a b", None)),
        ("yes", "on", "tags", (None, "yes")),
        ("yes", "off", "tags", (None, "yes")),
        ("more\n</think>\n\nyes", "off", "tags", ("more", "yes")),
        ("step 1, yes", "on", "prompt", (None, "step 1, yes")),
    ],
)
def test_replies_are_parted_at_the_end_of_thinking(text, think, switch, expected) -> None:
    assert chat.split_reply(text, think, switch) == expected
