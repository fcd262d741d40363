"""The roofline against published figures, against answers worked out by hand, and against what holds of any model."""

import math
from random import Random

import pytest

from rim.settings.hardware import Hardware
from rim.workflow import public_speeds, speed
from rim.workflow.public_speeds import FIGURES, Figure
from rim.workflow.speed import Call, Shape
from tests.conftest import ROOT

GPU = Hardware(gpu_memory=80, gpu_tflops=300, gpu_bandwidth=2)
BYTES, FLOP = 2e12 * 0.6, 300e12 * 0.4  # per second, of what is reached
SMALL = Shape(4e9, 4e9)
PUBLISHED = {"Qwen3-8B, H100": 5400, "Qwen3-14B, H100": 3170, "Qwen3-32B, H100": 1130, "Qwen3.5-35B-A3B, H200": 6900}


def call(rows: float = 100, reply: float = 500, bound: float = 4000, prompt: float = 100, times: float = 1) -> Call:
    return Call(rows, prompt, reply, bound, rows * prompt, times)


def random_cases() -> list[tuple[Shape, Call, int]]:
    rng = Random(0)
    cases = []
    for _ in range(200):
        parameters = 10 ** rng.uniform(8.5, 11)
        shape = Shape(parameters, parameters * rng.choice([1, 0.3, 0.08]), rng.choice([2, 4]))
        reply = rng.randint(10, 3000)
        asked = call(rng.randint(1, 5000), reply, reply * rng.randint(1, 20), rng.randint(10, 3000))
        cases.append((shape, asked, rng.choice([1, 2, 4, 8])))
    return cases


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.what)
def test_published_figures_are_met_within_a_factor_of_one_and_a_half(figure: Figure) -> None:
    assert 1 <= figure.factor < 1.5


def test_the_published_figures_are_those_that_the_documentation_names() -> None:
    found = {each.what: each.published for each in FIGURES}
    assert {what: found[f"tokens/s served, {what}"] for what in PUBLISHED} == PUBLISHED
    lines = public_speeds.check()
    assert len(lines) == 1 + len(FIGURES)
    worst = max(each.factor for each in FIGURES)
    for page in ("workflow/docs/engines.md", "CHANGELOG.md"):
        text = " ".join((ROOT / page).read_text().split())
        assert f"off by a factor of at most {worst:.2f}" in text
    assert lines[1].split() == ["tokens/s", "served,", "Qwen3-8B,", "H100", "5,400", "6,378", "1.18"]


def test_a_figure_that_is_off_either_way_says_by_how_much() -> None:
    assert [Figure("", 10, each).factor for each in (lambda: 5.0, lambda: 20.0, lambda: 10.0)] == [2, 2, 1]


def test_a_batch_of_transformers_by_hand() -> None:
    longest = 500 * (math.log(25) + 0.58)
    assert call().longest(25) == longest
    cache = SMALL.layers * 1024 * 2 * 2
    carried = 8e9 + 3 * 25 * (100 + longest / 2) * cache
    prompts = 2 * 4e9 * 100 * 100 / FLOP
    found = speed.generating(SMALL, GPU, call(), "transformers", 25)
    assert carried / BYTES < 0.03  # launching the kernels takes longer
    assert found == pytest.approx(4 * longest * 0.03 + prompts)
    slow = GPU.model_copy(update={"gpu_bandwidth": 0.1})
    assert speed.generating(SMALL, slow, call(), "transformers", 25) == pytest.approx(
        4 * longest * carried / (0.1e12 * 0.6) + prompts
    )


def test_a_call_of_vllm_by_hand() -> None:
    large = Shape(30e9, 30e9)
    cache = large.layers * 1024 * 2 * 2
    at_once = (0.84 * 80e9 - 60e9) / (cache * (100 + 500 / 2))
    assert 1 < at_once < 256
    assert speed.rows_at_once(large, GPU, call(5000), 1, 0.9) == pytest.approx(at_once)
    slow = GPU.model_copy(update={"gpu_tflops": 150.0})
    products = 2 * 30e9 * 5000 * (500 + 100) / FLOP * 2  # longer than reading all memory that it may take in every step
    assert speed.generating(large, slow, call(5000), "vllm") == pytest.approx(products)
    assert speed.generating(large, slow, call(5000, times=3), "vllm") == pytest.approx(3 * products)
    faster = GPU.model_copy(update={"gpu_tflops": 900.0})
    carrying = 5000 * 500 / at_once * 0.84 * 80e9 / BYTES
    assert speed.generating(large, faster, call(5000), "vllm") == pytest.approx(
        carrying + 2 * 30e9 * 5000 * 100 / FLOP / 3
    )


def test_few_rows_wait_for_the_longest() -> None:
    alone, few = (speed.generating(SMALL, GPU, call(rows), "vllm") for rows in (1, 40))
    assert alone == pytest.approx(500 * 0.015 + 2 * 4e9 * 100 / FLOP)
    assert few == pytest.approx(500 * (math.log(40) + 0.58) * 0.015 + 40 * 2 * 4e9 * 100 / FLOP)


def test_a_mixture_reads_what_its_tokens_pick() -> None:
    mixture = Shape(30e9, 3e9)
    assert mixture.read_by(1) == pytest.approx(3e9 * 2)
    assert mixture.read_by(2) == pytest.approx((3e9 + 0.9 * 3e9) * 2)
    assert mixture.read_by(1000) == pytest.approx(mixture.weights)
    assert Shape(3e9, 3e9).read_by(1) == 6e9
    assert Shape(0, 0).weights == 0


def test_the_memory_that_vllm_may_take_is_never_exceeded() -> None:
    for shape, asked, gpus in random_cases():
        rows = speed.rows_at_once(shape, GPU, asked, gpus, 0.9)
        assert 1 <= rows <= 256
        taken = shape.weights + rows * (asked.prompt + asked.reply / 2) * shape.cache
        assert rows == 1 or taken <= 0.84 * 80e9 * gpus * 1.0001


def test_more_work_never_takes_less_time_and_more_hardware_never_more() -> None:
    faster = GPU.model_copy(update={"gpu_tflops": 900.0, "gpu_bandwidth": 4.0})
    for shape, asked, gpus in random_cases():
        for engine in ("vllm", "transformers"):

            def taken(each: Call = asked, gpu: Hardware = GPU, engine: str = engine, shape: Shape = shape) -> float:
                return speed.generating(shape, gpu, each, engine, 16, gpus)  # noqa: B023

            assert taken() > 0
            assert taken(gpu=faster) <= taken()
            longer = Call(asked.rows, asked.prompt, asked.reply * 2, asked.bound * 2, asked.read)
            assert taken(longer) > taken()
            assert taken(Call(asked.rows, asked.prompt, asked.reply, asked.bound, 2 * asked.read)) >= taken()
        assert speed.generating(shape, GPU, asked, "vllm", gpus=2 * gpus) <= speed.generating(
            shape, GPU, asked, "vllm", gpus=gpus
        ) * (1 + 1e-9)


def test_larger_batches_of_transformers_take_less_time() -> None:
    taken = [speed.generating(SMALL, GPU, call(1024), "transformers", size) for size in (1, 4, 16, 64)]
    assert taken == sorted(taken, reverse=True)
    assert taken[0] > 8 * taken[-1]


def test_padding_is_what_was_measured() -> None:
    assert speed.padding(1, 32, "order") == 1
    assert [speed.padding(rows, 32, "order") for rows in (4, 32)] == pytest.approx([1.39, 1.94], rel=0.01)
    close = {speed.padding(4, 32, "length"), speed.padding(4, 32, "packed"), speed.padding(32, 32, "packed")}
    assert len(close) == 1
    assert close.pop() < speed.padding(2, 32, "order")
    assert speed.padding(32, 32, "length") == speed.padding(32, 32, "order")  # all rows of a step go together


def test_typical_widths_are_those_of_models_that_there_are() -> None:
    for billions, layers, hidden in (
        (8.19, 36, 4096),
        (14.8, 40, 5120),
        (32.8, 64, 5120),
        (70.6, 80, 8192),
        (7.25, 32, 4096),
    ):
        shape = Shape(billions * 1e9, billions * 1e9)
        assert shape.layers == pytest.approx(layers, rel=0.25)
        assert shape.layers * shape.hidden == pytest.approx(layers * hidden, rel=0.35)
