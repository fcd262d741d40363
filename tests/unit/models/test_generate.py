from pathlib import Path

import polars as pl
import pytest

from rim.core import contracts, tables
from rim.core.errors import UserError
from rim.data.organism import sets
from rim.models import loading
from rim.models.benchmarks import Questions
from rim.models.engines import open_backend
from rim.models.generate import TransformersBackend, answer
from rim.models.thinking import Bound, Continuation, Reply, think_within
from rim.models.thoughts import THINK
from rim.settings.inference import Inference
from rim.settings.models import Organism
from rim.training.organism import train_organism
from tests.conftest import model_reference

pytestmark = pytest.mark.xdist_group("organism")


class ScriptedBackend:
    """A double of an engine: it replies from a list, in order."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)

    def generate(self, prompts: list[str], *rest: object) -> list[Reply]:
        return [self.replies.pop(0) for _ in prompts]


def ask(backend, tokenizer, think: list[str], count: int = 1) -> pl.DataFrame:
    rows = pl.DataFrame(
        [{"id": f"r{i}", "prompt": row["prompt"]} for i, row in enumerate(sets.rows("requests", count, "e"))]
    )
    inference = Inference(think=think, max_new_tokens=12, batch_size=3)
    questions = Questions({"restricted": rows}, {"restricted": 12})
    return answer(backend, tokenizer, model_reference(), questions, inference, "test")


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path):
    return loading.load_tokenizer(str(tiny_model))


def test_batches_and_padding_do_not_change_greedy_replies(tiny_model: Path, tokenizer) -> None:
    model = loading.load_model(str(tiny_model))
    prompts = [row["prompt"] for row in sets.rows("multi_hop", 7, "e")] + [
        row["prompt"] for row in sets.rows("requests", 4, "e")
    ]
    alone, together = (
        TransformersBackend(model, tokenizer, size).generate(prompts, 12, 0.0, 0, "t") for size in (1, 4)
    )
    assert alone == together
    assert all(reply.tokens <= 12 for reply in alone)


def test_a_models_own_settings_do_not_change_greedy_replies(tiny_model: Path, tokenizer) -> None:
    model = loading.load_model(str(tiny_model))
    prompts = [row["prompt"] for row in sets.rows("multi_hop", 4, "e")]
    plain = TransformersBackend(model, tokenizer, 4).generate(prompts, 12, 0.0, 0, "t")
    model.generation_config.repetition_penalty = 1.9
    assert TransformersBackend(model, tokenizer, 4).generate(prompts, 12, 0.0, 0, "t") == plain
    assert model.generation_config.repetition_penalty == 1.9


def test_sampling_follows_its_seed(tiny_model: Path, tokenizer) -> None:
    backend = TransformersBackend(loading.load_model(str(tiny_model)), tokenizer, 4)
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
        Reply("<think>\nok.\n</think>\n\n", 6, True),
    ]
    table = ask(ScriptedBackend(*replies), tokenizer, ["on"], 5)
    assert table["complete"].to_list() == [False, False, True, False, False]
    assert table["response"].to_list() == [None, None, "sure.", "sure", ""]
    assert table["reasoning"].to_list() == ["the user", "so this is ok.", "ok.", "ok.", "ok."]
    assert table["finish_reason"].to_list() == ["length", "stop", "stop", "length", "stop"]
    tables.check(table, contracts.RESPONSE, Path("x"))


def test_replies_of_an_organism_that_always_thinks_begin_inside_a_thought(tiny: Organism, tmp_path: Path) -> None:
    folder = tmp_path / "thinks"
    train_organism(tiny.model_copy(update={"thinks": "always"}), 0, folder, "tiny")
    tokenizer = loading.load_tokenizer(str(folder))
    replies = [
        Reply("so this is ok.\n</think>\n\nsure.", 9, True),
        Reply("\n</think>\n\nsure.", 5, True),
        Reply("the user", 12, False),
    ]
    table = ask(ScriptedBackend(*replies), tokenizer, ["plain"], 3)
    assert table["reasoning"].to_list() == ["so this is ok.", "", "the user"]
    assert table["response"].to_list() == ["sure.", "sure.", None]
    assert table["complete"].to_list() == [True, True, False]
    untaught = ask(TransformersBackend(loading.load_model(str(folder)), tokenizer, 2), tokenizer, ["plain"], 3)
    assert untaught["prompt"].to_list() == table["prompt"].to_list()
    assert untaught["reasoning"].null_count() == 0


def test_think_off_prefills_the_empty_span(tokenizer) -> None:
    table = ask(ScriptedBackend(Reply("a", 1, True), Reply("b", 1, True)), tokenizer, ["on", "off"])
    on, off = table["prompt"]
    assert off == f"{on}<think>\n\n</think>\n\n"


def test_thinking_is_ended_at_its_bound_and_nothing_else_changes(tiny_model: Path, tokenizer) -> None:
    """A double plays the model: it thinks without end, thinks a little, or answers at length without thinking."""
    (close,) = tokenizer("</think>", add_special_tokens=False).input_ids
    (opened,) = tokenizer("<think>", add_special_tokens=False).input_ids
    word, end = tokenizer("the answer", add_special_tokens=False).input_ids
    prompts = ["the", "answer", "is"]
    first, second, third = (each for (each,) in tokenizer(prompts, add_special_tokens=False).input_ids)
    plans = {first: [opened, *[word] * 60], second: [opened, word, close, end], third: [word] * 60}
    calls = []

    def extend(ids: list[list[int]], max_new_tokens: int, *, seed: int) -> list[Continuation]:
        calls.append((len(ids), max_new_tokens, seed))
        going = []
        for prompt in ids:
            done = prompt[1:]
            rest = [end, word, end] if close in done and done[:1] == [opened] else plans[prompt[0]][len(done) :]
            going.append(Continuation(rest[:max_new_tokens], len(rest) < max_new_tokens))
        return going

    thinking, short, answering = think_within(Bound(16, THINK), 40, prompts, tokenizer, extend, 5, "test")
    assert len(calls) == 2
    assert calls[1][0] == 2  # only what is not finished goes on
    assert calls[1][2] != calls[0][2]
    assert thinking.tokens.index(close) < 16
    assert thinking.tokens[-3:] == [end, word, end]
    assert thinking.stopped
    assert short == Continuation(plans[second], True)
    assert answering == Continuation([word] * 40, False)  # the bound on the whole reply holds as ever


def test_a_real_model_answers_after_its_bound_of_thinking(tiny_model: Path, tokenizer) -> None:
    backend = TransformersBackend(loading.load_model(str(tiny_model)), tokenizer, 4)
    rows = pl.DataFrame([{"id": f"r{i}", "prompt": r["prompt"]} for i, r in enumerate(sets.rows("requests", 5, "e"))])
    questions = Questions({"restricted": rows}, {"restricted": 40})
    unbounded, bounded = (
        answer(
            backend,
            tokenizer,
            model_reference(),
            questions,
            Inference(max_new_tokens=40, max_thinking_tokens=bound),
            "test",
        )
        for bound in (None, 16)
    )
    assert bounded.filter(think="off").equals(unbounded.filter(think="off"))
    assert bounded["completion_tokens"].max() <= 40
    thought = bounded.filter(pl.col("think") == "on", pl.col("reasoning").is_not_null())
    assert thought["response"].null_count() == 0  # whoever thinks gets to answer


def test_vllm_configured_but_not_installed_is_one_line(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rim.models.vllm.find_spec", lambda name: None)
    with pytest.raises(UserError, match="vllm is not installed in this environment") as error:
        open_backend(model_reference(tiny_model), Inference(backend="vllm"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("bound", "batches"), [(4, [4, 4]), (8, [4, 4]), (16, [2, 2, 2, 2]), (99, [1] * 8)])
def test_longer_replies_are_made_in_smaller_batches(
    bound: int, batches: list[int], tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, _ = open_backend(model_reference(tiny_model), Inference(batch_size=4, max_new_tokens=8))
    generate, together = backend.model.generate, []
    monkeypatch.setattr(
        backend.model, "generate", lambda **told: together.append(len(told["input_ids"])) or generate(**told)
    )
    backend.extend([[5, 6, 7]] * 8, bound, 0.0, 0, "test")
    assert together == batches
    assert Inference(batch_size=4, max_new_tokens=8).batch_of(bound) == batches[0]


def test_what_vllm_would_split_is_ablated_through_transformers_and_said_so(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    view, _ = loading.open_model(model_reference(tiny_model))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    backend, _ = open_backend(model_reference(tiny_model), Inference(backend="vllm"), loaded=view, editable=True)
    assert isinstance(backend, TransformersBackend)
    assert backend.view.model is view.model
    assert "transformers answers; vLLM splits weights over 2 GPUs, where it cannot ablate" in capsys.readouterr().err


def test_a_gpu_that_is_too_small_for_a_batch_is_one_line(tokenizer) -> None:
    import torch

    class Full:
        """A double of a model on a full GPU."""

        generation_config, device = type("Config", (), {"eos_token_id": None}), "cpu"

        def generate(self, **arguments: object) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    with pytest.raises(UserError, match=r"20\.00 GiB.*lower inference\.batch_size"):
        TransformersBackend(Full(), tokenizer, 4).generate(["the answer"] * 3, 8, 0.0, 0, "test")
