"""The items that measure vLLM, with doubles in its place: what they ask of it, and what they make of the answers."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from rim.device import rows
from rim.device.cards import hardware
from rim.device.items import our_engine, plain_engine
from rim.device.rows import Outcome, Row, Skipped
from rim.device.shapes import SCALES, Setup
from rim.models import loading
from rim.models.families import ModelView
from rim.models.generate import TransformersBackend
from rim.models.thinking import Reply

FIRST, SECOND = SCALES["cpu"].sequences


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup("cpu", tmp_path, hardware(25, 0.1, 0.04), "4b")


class Engine(TransformersBackend):
    """transformers in the place of our engine; it notes what it was asked and whether the first head was there."""

    made: list["Engine"] = []  # noqa: RUF012 - a double

    def __init__(
        self,
        location: str,
        revision: None,
        dtype: str,
        tokenizer: Any,
        settings: Any,
        rank: int | None = None,
        editable: bool = False,
    ) -> None:
        super().__init__(loading.load_model(location, dtype), tokenizer, 4)
        self.rank, self.editable, self.adapter, self.closed = rank, editable, "", False
        self.asked: list[tuple[int, bool, bool]] = []
        Engine.made.append(self)

    def generate(self, prompts: list[str], *arguments: Any) -> list[Reply]:
        view = ModelView(self.model)
        whole = bool(view.heads_output(0).weight[:, view.columns(0)].any())
        self.asked.append((len(prompts), arguments[-1] is not None, whole))
        return super().generate(prompts, *arguments)

    def activate_adapter(self, adapter: Any, number: int) -> None:
        self.adapter = adapter.folder

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    monkeypatch.setattr(our_engine, "VllmBackend", Engine)
    monkeypatch.setattr(our_engine, "find_spec", lambda name: object())
    Engine.made = []
    return Engine.made


def test_our_engine_is_measured_plain_bounded_ablated_and_with_an_adapter(setup: Setup, engines: list[Engine]) -> None:
    Outcome("plain_4b", "done", {}, [Row(f"{FIRST} sequences", 50.0), Row(f"{SECOND} sequences", 1e-9)]).write(
        setup.folder
    )
    found = {row.what: row for row in our_engine.run(setup)}
    rate = found[f"{FIRST} sequences"]
    assert found[f"{FIRST} sequences, to vLLM by itself"].value == pytest.approx(rate.value / 50)  # type: ignore[operator]
    assert rate.predicted is not None
    assert found["weights not as they were after ablations"].value == 0
    assert found[f"{SECOND} sequences, with an adapter"].unit == "tokens/s"
    plain, editable, adapted = engines
    assert (plain.rank, editable.editable, adapted.rank) == (None, True, 32)
    assert all(engine.closed for engine in engines)
    assert {bounded for _, bounded, _ in plain.asked} == {True, False}
    assert {whole for _, _, whole in plain.asked} == {True}
    assert {whole for _, _, whole in editable.asked} == {True, False}  # asked with the head and without
    assert adapted.adapter == str(setup.folder / "models/4b-adapter")


def test_a_ratio_to_what_was_not_measured_is_none(setup: Setup, engines: list[Engine]) -> None:
    found = {row.what: row for row in our_engine.run(setup)}
    ratio = found[f"{FIRST} sequences, to vLLM by itself"]
    assert (ratio.value, ratio.holds, ratio.note) == (None, None, "vLLM by itself was not measured")


def test_a_mixture_is_measured_without_an_adapter(setup: Setup, engines: list[Engine]) -> None:
    mixture = Setup("cpu", setup.folder, setup.hardware, "mixture")
    found = {row.what: row for row in our_engine.run(mixture)}
    assert found["with an adapter"].value is None
    assert len(engines) == 2


def test_vllm_by_itself_is_asked_for_the_same_replies(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    class LLM:
        def __init__(self, **options: Any) -> None:
            assert Path(options["model"], "model.safetensors").is_file()
            assert "enforce_eager" not in options  # as vLLM is by itself

        def reset_prefix_cache(self) -> None:
            asked.append((0, 0))

        def generate(self, prompts: list[dict[str, list[int]]], sampling: Any, use_tqdm: bool) -> None:
            assert all(each["prompt_token_ids"] for each in prompts)
            asked.append((len(prompts), sampling.max_tokens))

    double = ModuleType("vllm")
    double.__spec__ = ModuleSpec("vllm", None)
    double.LLM, double.SamplingParams = LLM, SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", double)
    monkeypatch.setattr("os.environ", {})
    found = list(plain_engine.run(setup))
    assert [row.what for row in found] == ["start", f"{FIRST} sequences", f"{SECOND} sequences"]
    assert asked == [each for count in (FIRST, SECOND) for each in [(0, 0), (count, 8)] * 4]


@pytest.mark.parametrize("item", [plain_engine, our_engine])
def test_without_vllm_the_items_are_skipped(item: Any, setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item, "find_spec", lambda name: None)
    with pytest.raises(Skipped, match="not installed"):
        list(item.run(setup))
    assert rows.read(setup.folder, "plain_4b") is None
