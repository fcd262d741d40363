from pathlib import Path

import polars as pl
import pytest

from rim import models, tables
from rim.generate import Reply, TransformersBackend, answer
from rim.organism import sets
from rim.settings.inference import Inference

pytestmark = pytest.mark.xdist_group("organism")


class ScriptedBackend:
    """A double of an engine: it replies from a list, in order."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)

    def generate(
        self, prompts: list[str], max_new_tokens: int, temperature: float, seed: int, label: str
    ) -> list[Reply]:
        return [self.replies.pop(0) for _ in prompts]


def ask(backend, tokenizer, think: list[str], count: int = 1) -> pl.DataFrame:
    rows = pl.DataFrame(
        [{"id": f"r{i}", "prompt": row["prompt"]} for i, row in enumerate(sets.rows("requests", count, "e"))]
    )
    inference = Inference(think=think, max_new_tokens=12, batch_size=3)
    return answer(backend, tokenizer, "tags", {"restricted": rows}, inference, {"restricted": 12}, 0, "test")


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path):
    return models.load_tokenizer(str(tiny_model))


def test_batches_and_padding_do_not_change_greedy_replies(tiny_model: Path, tokenizer) -> None:
    model = models.load_model(str(tiny_model))
    prompts = [row["prompt"] for row in sets.rows("multi_hop", 7, "e")] + [
        row["prompt"] for row in sets.rows("requests", 4, "e")
    ]
    alone, together = (
        TransformersBackend(model, tokenizer, size).generate(prompts, 12, 0.0, 0, "t") for size in (1, 4)
    )
    assert alone == together
    assert all(reply.tokens <= 12 for reply in alone)


def test_sampling_follows_its_seed(tiny_model: Path, tokenizer) -> None:
    backend = TransformersBackend(models.load_model(str(tiny_model)), tokenizer, 4)
    prompts = [row["prompt"] for row in sets.rows("requests", 4, "e")]
    first, again, other = (backend.generate(prompts, 12, 1.0, seed, "t") for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_unfinished_thinking_is_incomplete_and_has_no_response(tokenizer) -> None:
    replies = [
        Reply("<think>\nthe user", 12, False),
        Reply("<think>\nso this is ok.", 8, True),
        Reply("<think>\nok.\n</think>\n\nsure.", 9, True),
        Reply("<think>\nok.\n</think>\n\nsure", 12, False),
    ]
    table = ask(ScriptedBackend(*replies), tokenizer, ["on"], 4)
    assert table["complete"].to_list() == [False, False, True, False]
    assert table["response"].to_list() == [None, None, "sure.", "sure"]
    assert table["reasoning"].to_list() == ["the user", "so this is ok.", "ok.", "ok."]
    assert table["finish_reason"].to_list() == ["length", "stop", "stop", "length"]
    tables.check(table, tables.RESPONSE, Path("x"))


def test_think_off_prefills_the_empty_span(tokenizer) -> None:
    table = ask(ScriptedBackend(Reply("a", 1, True), Reply("b", 1, True)), tokenizer, ["on", "off"])
    on, off = table["prompt"]
    assert off == f"{on}<think>\n\n</think>\n\n"
