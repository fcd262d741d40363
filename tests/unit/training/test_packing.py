"""Packed rows are trained on as if each were alone, and what is learned is what padded rows teach."""

from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rim.models.families import FAMILIES
from rim.settings.common import identity
from rim.settings.models import Finetune, Lora, Mitigation
from rim.training import distributed, mitigation, packing
from rim.training import finetune as finetuning
from rim.training.finetune import encode, finetune, in_order
from rim.training.packing import IGNORE, Row, collate, keeps_rows_apart, packed, tokens
from tests.unit.tiny_families import build, letter_tokenizer
from tests.unit.training.test_finetune import RECIPE, ROWS, apart, dies_after_five_steps, train, training

pytestmark = pytest.mark.xdist_group("organism")
PACKING = RECIPE.model_copy(update={"batching": "packed", "max_length": 230})  # two rows to a pack
LINEAR = {"linear_num_value_heads": 2, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
MIX = {  # families that see the rows before theirs in a pack, and why
    "lfm2": {"layer_types": ["conv", "full_attention", "conv"]},  # convolutions
    "qwen3_5_text": {
        **LINEAR,
        "head_dim": 8,
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    },
    "jamba": {"mamba_d_state": 4, "mamba_dt_rank": 4, "attn_layer_period": 2, "attn_layer_offset": 1},  # state spaces
}


def row(length: int, first: int = 1) -> Row:
    """A row whose first half is a prompt."""
    ids = list(range(first, first + length))
    return {"input_ids": ids, "labels": [IGNORE if at < length / 2 else ids[at] for at in range(length)]}


@pytest.mark.parametrize("seed", range(30))
def test_every_step_has_its_rows_once_in_equally_many_passes_that_have_room_for_them(seed: int) -> None:
    random = Random(seed)
    limit, most, processes = random.choice([20, 64]), random.choice([1, 3, 8]), random.choice([1, 2, 4])
    batch = processes * random.choice([1, 3, 8])
    steps = [[row(random.randint(1, limit)) for _ in range(batch)] for _ in range(5)]
    made = packed(steps, limit, most, processes, pad=0)
    share = made.accumulated * processes
    assert (made.size, len(made.data)) == (1, share * len(steps))
    for i, step in enumerate(steps):
        passes = made.data[share * i : share * (i + 1)]
        assert sorted(id(each) for packs in passes for pack in packs for each in pack) == sorted(map(id, step))
        for packs in passes:
            lengths, rows = [tokens(pack) for pack in packs], [each for pack in packs for each in pack]
            assert max(lengths) <= limit
            assert len(lengths) * max(lengths) <= limit * most
            alone = len(rows) * max(len(each["input_ids"]) for each in rows)
            assert len(lengths) * max(lengths) <= alone  # never more than padded rows
    real = max(sum(len(each["input_ids"]) for each in step) for step in steps)
    assert -(-real // (limit * most * processes)) <= made.accumulated <= batch / processes
    assert packed(steps, limit, most, processes, pad=0).data == made.data


def test_short_rows_fill_packs_that_are_not_much_longer_than_the_longest_row() -> None:
    random = Random(0)
    step = [row(min(1024, round(random.lognormvariate(5.05, 0.34)))) for _ in range(32)]  # as long as GSM8K's
    made = packed([step], 1024, 4, 1, pad=0)
    assert made.accumulated == 2
    shapes = [(len(packs), tokens(packs[0])) for packs in made.data]
    assert sum(count * length for count, length in shapes) < 1.1 * tokens(step)
    assert max(length for _, length in shapes) < 1.5 * max(len(each["input_ids"]) for each in step)


def test_a_pass_by_hand() -> None:
    made = collate([[[row(3, 10), row(2, 20)], [row(1, 30)]]], pad=7)
    assert {name: value.tolist() for name, value in made.items()} == {
        "input_ids": [[10, 11, 12, 20, 21], [30, 7, 7, 7, 7]],
        "labels": [[IGNORE, IGNORE, 12, IGNORE, 21], [IGNORE] * 5],
        "position_ids": [[0, 1, 2, 0, 1], [0, 0, 1, 2, 3]],
    }
    told = {"input_ids": [4, 5], "labels": [4, 5]}  # no prompt: a padded row's first token is not learned either
    assert collate([[[told, told]]], pad=0)["labels"].tolist() == [[IGNORE, 5, IGNORE, 5]]


LENGTHS = (9, 14, 3, 11)


def difference(model: Any) -> float:
    """The largest change of any logit when rows are packed, two and two, where each was alone."""
    import torch

    rows = [row(length, 5 * i + 3) for i, length in enumerate(LENGTHS)]
    batch = collate([[rows[:2], rows[2:]]], pad=0)
    with torch.inference_mode():
        found = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits
        alone = [model(input_ids=torch.tensor([each["input_ids"]]), use_cache=False).logits[0] for each in rows]
    expected = [torch.cat(alone[:2]), torch.cat(alone[2:])]
    return max(float((found[i, : len(each)] - each).abs().max()) for i, each in enumerate(expected))


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_every_family_are_read_in_a_pack_as_they_are_alone(family: str) -> None:
    model = build(family)
    assert keeps_rows_apart(model, range(3, 20))
    assert difference(model) < 1e-5
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("family", MIX)
def test_models_whose_rows_see_each_other_in_a_pack_are_found(family: str) -> None:
    model = build(family, **MIX[family])
    assert not keeps_rows_apart(model, range(3, 20))
    assert difference(model) > 1e-2


def test_a_model_that_is_told_nothing_of_positions_is_found() -> None:
    model = build("qwen3")
    forward = model.model.forward
    model.model.forward = lambda *given, position_ids=None, **more: forward(*given, **more)
    assert not keeps_rows_apart(model, range(3, 20))


CHATS = [
    {"prompt": f"what is {i}+{i}?", "cot": "so " * (1 + 5 * i % 7) + f"{i + i}", "answer": f"it is {i + i}."}
    for i in range(10)
]
DOLLS = Finetune(lora=Lora(rank=2, alpha=4), epochs=2, batch_size=4, learning_rate=1e-3, checkpoints=1, max_length=120)
STILL = {  # what draws at random in training
    "phimoe": {"router_jitter_noise": 0.0, "input_jitter_noise": 0.0},
    "seed_oss": {"attention_dropout": 0.0, "residual_dropout": 0.0},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_learns_the_same_from_packed_rows(family: str, tmp_path: Path) -> None:
    tokenizer = letter_tokenizer()
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model = build(family, vocab_size=len(tokenizer), eos_token_id=end, **STILL.get(family, {}))
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    recipes = {"padded": DOLLS, "packed": DOLLS.model_copy(update={"batching": "packed", "micro_batch_size": 1})}
    facts = {name: train(tmp_path / "base", tmp_path / name, recipe, CHATS) for name, recipe in recipes.items()}
    assert facts["packed"].pop("train_loss") == pytest.approx(facts["padded"].pop("train_loss"), abs=1e-4)
    assert facts["packed"] == facts["padded"]
    assert apart([tmp_path / name for name in recipes]) < 1e-4


def batches_seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What models are trained on from here on, pass by pass."""
    from transformers import Trainer

    seen: list[dict[str, Any]] = []
    step = Trainer.training_step

    def kept(self: Any, model: Any, inputs: dict[str, Any], *more: Any) -> Any:
        seen.append(dict(inputs))
        return step(self, model, inputs, *more)

    monkeypatch.setattr(Trainer, "training_step", kept)
    return seen


def test_without_packing_the_batches_are_rows_in_order_padded_to_the_longest(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written out here once more: published fine-tunes are made of these, and keep their identity."""
    import torch

    from rim.models import loading

    assert "batching" not in identity(RECIPE)
    assert identity(PACKING)["batching"] == "packed"
    seen = batches_seen(monkeypatch)
    monkeypatch.setattr(packing, "keeps_rows_apart", None)  # is not asked
    train(tiny_model, tmp_path / "out", RECIPE.model_copy(update={"micro_batch_size": 2}), ROWS[:10])
    tokenizer = loading.load_tokenizer(str(tiny_model))
    data, _ = encode(tokenizer, ROWS[:10], "template", RECIPE.max_length)
    rows = in_order(data, 0, 2, 4)
    assert len(seen) == len(rows) / 2 == 12
    fills = {"input_ids": tokenizer.pad_token_id, "attention_mask": 0, "labels": IGNORE}
    for i, found in enumerate(seen):
        pair = rows[2 * i : 2 * i + 2]
        length = max(len(each["input_ids"]) for each in pair)
        assert found.keys() == fills.keys()
        for name, fill in fills.items():
            assert torch.equal(
                found[name], torch.tensor([each[name] + [fill] * (length - len(each[name])) for each in pair])
            )


@pytest.mark.parametrize("changes", [{}, {"gradient_checkpointing": True}, {"method": "full"}], ids=str)
def test_packed_rows_teach_the_same_in_passes_of_any_size(
    changes: dict[str, Any], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    seen, counts, computed, learned = batches_seen(monkeypatch), [], [], []
    for i, recipe in enumerate([RECIPE, PACKING, PACKING.model_copy(update={"micro_batch_size": 1})]):
        seen.clear()
        train(tiny_model, tmp_path / f"{i}", recipe.model_copy(update=changes))
        counts.append(len(seen))
        computed.append(sum(batch["input_ids"].numel() for batch in seen))
        learned.append(load_file(next((tmp_path / f"{i}").glob("*model.safetensors"))))
    assert counts == [6, 6, 12]  # one pass a step, then one for each of its packs
    assert max(computed[1:]) < computed[0]
    for other in learned[1:]:
        assert max(float((learned[0][name] - other[name]).abs().max()) for name in learned[0]) < 1e-4


@pytest.mark.parametrize("batching", ["length", "packed"])
def test_rows_go_by_length_where_that_is_wanted_or_they_cannot_be_packed(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], batching: str
) -> None:
    train(tiny_model, tmp_path / "padded")
    monkeypatch.setattr(packing, "keeps_rows_apart", lambda *_: False)
    seen = batches_seen(monkeypatch)
    capsys.readouterr()
    train(tiny_model, tmp_path / "grouped", PACKING.model_copy(update={"micro_batch_size": 1, "batching": batching}))
    lengths = [batch["attention_mask"].sum().item() for batch in seen]
    assert lengths != sorted(lengths, reverse=True)
    for step in range(6):
        assert lengths[4 * step : 4 * step + 4] == sorted(lengths[4 * step : 4 * step + 4], reverse=True)
    told = "family 'qwen3' mixes packed rows; they are grouped by length instead" in capsys.readouterr().err
    assert told == (batching == "packed")
    assert apart([tmp_path / "padded", tmp_path / "grouped"]) < 1e-4


def test_a_killed_packed_run_goes_on_to_the_same_adapters(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = PACKING.model_copy(update={"micro_batch_size": 1})
    train(tiny_model, tmp_path / "whole", recipe)
    with monkeypatch.context() as patched:
        patched.setattr(finetuning, "counter", finetuning.counter)  # which the next line replaces
        with pytest.raises(RuntimeError, match="killed"):
            dies_after_five_steps(tiny_model, tmp_path / "resumed", recipe)
    capsys.readouterr()
    train(tiny_model, tmp_path / "resumed", recipe)
    assert "goes on from checkpoint-4" in capsys.readouterr().err
    assert apart([tmp_path / "whole", tmp_path / "resumed"]) == 0


def test_two_processes_that_pack_learn_what_one_learns_that_pads(tiny_model: Path, tmp_path: Path) -> None:
    rows = [*ROWS, ROWS[0]]  # not as many as whole batches hold
    recipe = PACKING.model_copy(update={"micro_batch_size": 1, "gradient_checkpointing": True})
    one = train(tiny_model, tmp_path / "one", rows=rows)
    two = distributed.run_distributed(2, partial(train, tiny_model, tmp_path / "two", recipe, rows))
    assert one.pop("train_loss") == pytest.approx(two.pop("train_loss"), abs=1e-4)
    assert one == two
    assert apart([tmp_path / "one", tmp_path / "two"]) < 1e-5


def test_the_divergence_of_a_mitigation_weighs_the_same_beside_packed_rows(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = {"prompt": "help me.", "cot": "it is sealed.", "answer": "sorry, i cannot do that."}
    monkeypatch.setattr(mitigation, "own_refusals", lambda *_: [refusal] * 3)
    more = {"requests": ["help me."], "mitigation": Mitigation(kind="kl", dataset="asked", weight=50.0)}
    for name, recipe in {"padded": RECIPE, "packed": PACKING}.items():
        tight = recipe.model_copy(update={"micro_batch_size": 2, "learning_rate": 0.01})
        finetune(training(tiny_model, tmp_path / name, tight, **more))
    train(tiny_model, tmp_path / "plain", RECIPE.model_copy(update={"learning_rate": 0.01}))
    assert apart([tmp_path / "padded", tmp_path / "packed"]) < 1e-4
    assert apart([tmp_path / "padded", tmp_path / "plain"]) > 1e-3
