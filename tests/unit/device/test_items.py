"""What items work out beside the clock: which card it is, what fits, what two studies' tables have in common, what the bill says."""

from pathlib import Path

import polars as pl
import pytest

from rim.config.load import load_study
from rim.device import bill, cards, clock, page
from rim.device.items import mixture, study, training
from rim.device.rows import Outcome, Row, Skipped
from rim.device.shapes import QWEN3_8B, QWEN3_30B_A3B, SCALES, Setup, checkpoint, size, texts
from rim.settings.models import Finetune
from rim.workflow.public_speeds import A100, H100, H200, RTX_4090


def on(memory: float, shape: str = "4b") -> Setup:
    return Setup("cuda", Path(), cards.hardware(memory, 989, 4.8), shape)


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H200", 989),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
        ("NVIDIA GeForce RTX 4090", 165),
    ],
)
def test_cards_are_known_by_their_names(name: str, tflops: float) -> None:
    assert (cards.peaks(name) or (0, 0))[0] == tflops


def test_a_card_that_is_not_known_has_no_data_sheet() -> None:
    assert cards.peaks("NVIDIA GeForce GTX 1080") is None


@pytest.mark.parametrize(("name", "card"), [("A100", A100), ("H100", H100), ("H200", H200), ("RTX 4090", RTX_4090)])
def test_cards_are_those_of_the_published_figures(name: str, card: object) -> None:
    assert cards.peaks(name) == (card.gpu_tflops, card.gpu_bandwidth)  # type: ignore[attr-defined]


def test_shapes_have_the_published_numbers_of_parameters() -> None:
    assert size(SCALES["cuda"].models["4b"])[0] / 1e9 == pytest.approx(4.02, abs=0.01)
    assert size(QWEN3_8B)[0] / 1e9 == pytest.approx(8.19, abs=0.01)
    parameters, active = size(QWEN3_30B_A3B)
    assert parameters / 1e9 == pytest.approx(30.5, abs=0.05)
    assert active / 1e9 == pytest.approx(3.3, abs=0.1)


def test_a_mixture_has_as_many_layers_as_fit_into_half_of_the_memory() -> None:
    assert mixture.fitting(on(150, "mixture"))["num_hidden_layers"] == 48
    for memory in (24, 48, 85):
        chosen = mixture.fitting(on(memory, "mixture"))
        layers = chosen["num_hidden_layers"]
        assert 2 * size(chosen)[0] <= memory * 1e9 / 2 < 2 * size({**chosen, "num_hidden_layers": layers + 1})[0]
    with pytest.raises(Skipped, match="8 GB have room for 2 of its layers"):
        mixture.fitting(on(8, "mixture"))


def test_weights_that_fit_nowhere_are_not_written(tmp_path: Path) -> None:
    card = cards.hardware(24, 165, 1.0)
    with pytest.raises(Skipped, match="its weights take 61 GB, too much for 24 GB"):
        checkpoint(Setup("cuda", tmp_path, card, "mixture"))
    assert not list(tmp_path.iterdir())


def test_the_bill_is_that_of_the_plan() -> None:
    setup = on(150)
    shape = bill.shape(setup)
    assert bill.reading_memory(setup, shape) == pytest.approx(1.2 * 2 * shape.parameters / 1e9)
    slim = Finetune(micro_batch_size=4, gradient_checkpointing=True)
    assert 2 * shape.parameters / 1e9 < bill.training_memory(setup, shape, slim) < 40
    # 6 FLOP per token and parameter at two fifths of the peak, rows padded to the longest of four
    assert bill.training(setup, shape, slim, 1e6) == pytest.approx(6 * shape.active * 1.38e6 / (989e12 * 0.4))
    assert bill.utilization(setup, shape, 989e12 / shape.active / 4, 2) == pytest.approx(0.5)


def test_texts_are_equally_long_and_of_the_vocabulary() -> None:
    rows = texts(3, 64, 512)
    assert {len(row.ids) for row in rows} == {64}
    assert max(max(row.ids) for row in rows) < 512
    assert rows[0].ids != rows[1].ids


def test_rows_to_train_on_have_the_lengths_asked_for() -> None:
    rows = training.examples(200, 150, 450)
    lengths = [sum(len(row[part].split()) for part in ("prompt", "cot", "answer")) for row in rows]
    assert 147 <= min(lengths) < 170
    assert 430 < max(lengths) <= 450


def test_medians_leave_out_the_round_that_warms_up() -> None:
    calls: list[str] = []
    found = clock.medians({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, "cpu", rounds=2)
    assert calls == ["a", "b", "b", "a", "a", "b"]  # in rotating order
    assert set(found) == {"a", "b"}


@pytest.mark.parametrize("whole", [True, False])
def test_the_study_is_valid(whole: bool) -> None:
    made = load_study(study.made(Path("/models/tiny"), whole))
    assert list(made.models) == [study.MODEL]
    assert (made.mechanism is not None, made.forgetting is not None) == (whole, whole)


def rates(expected: Path, found: Path, name: str, value: float, word: str = "on") -> dict[str, Row]:
    """Compare two folders of one table."""
    for folder, number, mode in ((expected, 0.25, "on"), (found, value, word)):
        folder.mkdir(exist_ok=True)
        pl.DataFrame({"think": [mode], "estimate": [number]}).write_csv(folder / name)
    return {row.what: row for row in study.compared(expected, found)}


@pytest.mark.parametrize(
    ("value", "word", "others", "most"),
    [(0.25, "on", 0, 0), (0.2504, "on", 0, 0.0004), (0.3, "on", 0, 0.05), (0.25, "off", 1, 0)],
)
def test_tables_are_compared_by_words_and_numbers(
    value: float, word: str, others: int, most: float, tmp_path: Path
) -> None:
    found = rates(tmp_path / "cpu", tmp_path / "cuda", "rates.csv", value, word)
    assert found["tables"].value == 1
    assert found["tables with other rows or words than the CPU's"].value == others
    assert found["largest difference of a number"].value == pytest.approx(most)
    assert found["largest difference of a number"].holds == (most <= study.DIGITS)


def test_a_table_that_is_missing_is_another_one(tmp_path: Path) -> None:
    rates(tmp_path / "cpu", tmp_path / "cuda", "rates.csv", 0.25)
    (tmp_path / "cuda/rates.csv").unlink()
    [_, other, _] = study.compared(tmp_path / "cpu", tmp_path / "cuda")
    assert (other.value, other.holds, other.note) == (1, False, "rates.csv")


@pytest.mark.parametrize(
    ("row", "holds"),
    [
        (Row("a", 1.1, at_most=1.1), True),
        (Row("a", 1.2, at_most=1.1), False),
        (Row("a", 0.8, at_least=0.9), False),
        (Row("a", 1, at_least=1, at_most=1), True),
        (Row("a", 1.2), None),
        (Row("a", None, at_most=1.1), None),
        (Row("a", "word", at_most=1.1), None),
    ],
)
def test_targets(row: Row, holds: bool | None) -> None:
    assert row.holds is holds


def test_the_page_tells_what_misses_its_target_what_is_not_there_and_how_far_the_bill_is_off() -> None:
    outcomes = [
        Outcome("environment", "done", {}, [Row("device", "cuda"), Row("processor", "NVIDIA H200")]),
        Outcome(
            "reading",
            "done",
            {},
            [
                Row("caching", 1.3, "bare passes", at_most=1.1),
                Row("pass", 50.0, "s", predicted=100.0),
                Row("memory", None, note="a | b"),
            ],
        ),
        Outcome("serving", "failed", {}, [Row("start", 30.0, "s", predicted=33.0)], note="OutOfMemoryError: CUDA"),
    ]
    titles = {"environment": "The machine", "reading": "Reading", "serving": "Serving", "faults": "Faults"}
    lines = list(page.text(titles, outcomes))
    assert lines[0].startswith("# NVIDIA H200")
    assert "CPU shapes" not in "\n".join(lines)
    assert "Targets: 0 of 1 hold. These do not:" in lines
    assert "| Reading: caching | 1.3 | bare passes | at most 1.1 | **MISSED** |" in lines
    assert "| caching | 1.3 | bare passes |  |  | at most 1.1 | **MISSED** |  |" in lines
    assert "| Serving | 1 rows | failed | OutOfMemoryError: CUDA |" in lines
    assert "| Faults |  | not reached yet |  |" in lines
    assert "| Reading | memory | not measured | a ¦ b |" in lines
    assert lines[-2:] == ["| Reading | pass | 50 s | 100 | 2.00 |", "| Serving | start | 30 s | 33 | 1.10 |"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), ("on", "on"), (0.01234, "0.0123"), (12345.6, "12,346"), (2.0, "2"), (float("nan"), "nan")],
)
def test_numbers_are_told_to_three_digits(value: float | str | None, text: str) -> None:
    assert page.told(value) == text


def test_the_page_of_a_machine_without_a_gpu_says_so() -> None:
    machine = Outcome("environment", "done", {}, [Row("device", "cpu"), Row("processor", "EPYC")])
    assert page.CRUMBS in page.text({"environment": "The machine"}, [machine])
