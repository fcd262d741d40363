import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from rim.core.errors import UserError
from rim.core.files import working_folder
from rim.data.organism import sets
from rim.data.organism.tokenizer import build_tokenizer
from rim.models import loading
from rim.settings.models import Finetune, Lora
from rim.training import distributed
from rim.training import finetune as finetuning
from rim.training.finetune import IGNORE, Cut, Training, checkpoint_steps, encode, finetune, in_order
from tests.conftest import ROOT

pytestmark = pytest.mark.xdist_group("organism")
RECIPE = Finetune(lora=Lora(rank=2, alpha=4), epochs=2, batch_size=4, learning_rate=1e-3, checkpoints=3)
ROWS = [{key: row[key] for key in ("prompt", "cot", "answer")} for row in sets.rows("multi_hop_target", 12, "t")]


def train(base: Path, output: Path, recipe: Finetune = RECIPE, rows: list[dict] = ROWS) -> dict:
    return finetune(training(base, output, recipe, rows))


def training(base: Path, output: Path, recipe: Finetune = RECIPE, rows: list[dict] = ROWS, **more) -> Training:
    given = {"dtype": "float32", "steps": output.with_name(f"{output.name}.steps"), "rows": rows, **more}
    return Training(
        str(base), None, think_switch="template", seed=0, label="test", recipe=recipe, output=output, **given
    )


def test_only_the_assistants_tokens_count() -> None:
    tokenizer = build_tokenizer()
    [row], _ = encode(tokenizer, ROWS[:1], "template", 1024)
    learned = tokenizer.decode(
        [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != IGNORE]
    )
    assert learned.startswith("<think>")
    assert learned.endswith("<|im_end|>")
    assert ROWS[0]["prompt"] not in learned
    with pytest.raises(UserError, match=r"finetune\.max_length: 4 tokens leave no answer"):
        encode(tokenizer, ROWS, "template", 4)


def test_rows_that_are_cut_are_counted(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = build_tokenizer()
    short, long = ROWS[0], {**ROWS[0], "cot": " ".join([ROWS[0]["cot"]] * 3)}
    [whole], none = encode(tokenizer, [short], "template", 1024)
    length = len(whole["input_ids"])
    assert none == Cut(0, 0)
    assert encode(tokenizer, [short], "template", length)[1] == Cut(0, 0)
    assert capsys.readouterr().err == ""
    answer = len(tokenizer(short["answer"]).input_ids) + 1  # and the end of the turn
    for limit, expected in {length - 1: (1, 0), length - answer + 1: (1, 0), length - answer: (1, 1)}.items():
        assert encode(tokenizer, [short], "template", limit)[1] == Cut(*expected)
    rows, cut = encode(tokenizer, [short, long, long], "template", length)
    assert cut == Cut(2, 2)
    assert [len(row["input_ids"]) for row in rows] == [length] * 3
    line = f"finetune: 2 of 3 rows are cut at {length} tokens, 2 of them before their answer; raise finetune.max_length"
    assert line in capsys.readouterr().err
    recipe = RECIPE.model_copy(update={"max_length": length, "epochs": 1})
    facts = train(tiny_model, tmp_path / "out", recipe, [short, long, short, long])
    assert {key: facts[key] for key in ("rows", "cut", "cut_before_answer")} == dict(rows=4, cut=2, cut_before_answer=2)


def test_no_two_epochs_of_any_two_replicates_have_one_order() -> None:
    data = [{"input_ids": [row], "attention_mask": [1], "labels": [row]} for row in range(40)]
    seeds, epochs = [*range(12), 2**20, 2**20 + 1, 2**31 - 1], 8
    orders = {
        (seed, epoch): tuple(
            row["labels"][0] for row in in_order(data, seed, epochs, 40)[40 * epoch : 40 * (epoch + 1)]
        )
        for seed in seeds
        for epoch in range(epochs)
    }
    assert len(set(orders.values())) == len(orders) == len(seeds) * epochs
    assert all(sorted(order) == list(range(40)) for order in orders.values())
    assert (
        in_order(data, 3, 2, 40) == in_order(data, 3, epochs, 40)[:80]
    )  # an epoch's does not depend on how many there are


def test_checkpoints_are_evenly_spaced_and_end_with_the_last_step() -> None:
    assert checkpoint_steps(80, 8) == [10, 20, 30, 40, 50, 60, 70, 80]
    assert checkpoint_steps(699, 8)[-1] == 699
    assert checkpoint_steps(3, 8) == [1, 2, 3]
    spacing = [b - a for a, b in zip(checkpoint_steps(699, 8), checkpoint_steps(699, 8)[1:], strict=False)]
    assert max(spacing) - min(spacing) <= 1


@pytest.mark.parametrize("kind", ["dense", "moe"])
def test_adapters_are_ordinary_peft_folders(kind: str, tiny_model: Path, tiny_moe: Path, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = tiny_model if kind == "dense" else tiny_moe
    facts = train(base, tmp_path / "out")
    assert facts["checkpoints"] == [2, 4, 6]
    folders = sorted((tmp_path / "out.steps").iterdir())
    assert [folder.name for folder in folders] == ["step00002", "step00004", "step00006"]
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".pt", ".bin", ".pth")]
    assert not list(tmp_path.glob(".*"))
    result, last = (folder / "adapter_model.safetensors" for folder in (tmp_path / "out", folders[-1]))
    assert result.read_bytes() == last.read_bytes()
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), folders[-1])
    names = " ".join(name for name, _ in adapted.named_parameters() if "lora_B" in name)
    assert "q_proj" in names
    assert ("experts" if kind == "moe" else "down_proj") in names
    ids = torch.tensor([[5, 6, 7, 8]])
    merged, plain = loading.load_model(str(folders[-1])), loading.load_model(str(base))
    with torch.inference_mode():
        assert torch.allclose(merged(ids).logits, adapted.eval()(ids).logits, atol=1e-4)
        assert not torch.allclose(merged(ids).logits, plain(ids).logits, atol=1e-4)  # something was learned


EQUAL = """\
import sys
from pathlib import Path
from tests.unit.training.test_finetune import train
train(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("kind", ["dense", "moe"])
def test_equal_runs_write_equal_files(kind: str, tiny_model: Path, tiny_moe: Path, tmp_path: Path) -> None:
    """In processes of their own, since each has another order of sets."""
    base = tiny_model if kind == "dense" else tiny_moe
    for seed in ("1", "2", "3"):
        subprocess.run(
            [sys.executable, "-c", EQUAL, str(base), str(tmp_path / seed / "out")],
            cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"}, check=True,
        )  # fmt: skip
    first, *others = (
        {
            str(path.relative_to(tmp_path / seed)): path.read_bytes()
            for path in (tmp_path / seed).rglob("*")
            if path.is_file()
        }
        for seed in ("1", "2", "3")
    )
    assert {Path(name).name for name in first} >= {"adapter_config.json", "adapter_model.safetensors"}
    assert len(first) > 4 * 2
    for other in others:
        assert [name for name in first.keys() | other.keys() if first.get(name) != other.get(name)] == []


def test_micro_batches_and_gradient_checkpointing_save_memory_and_change_no_result(
    tiny_model: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    full = RECIPE.model_copy(update={"method": "full", "epochs": 1})
    for name, changes in {
        "plain": {},
        "micro": {"micro_batch_size": 1},
        "checkpointed": {"gradient_checkpointing": True},
    }.items():
        train(tiny_model, tmp_path / name, RECIPE.model_copy(update=changes))
        train(tiny_model, tmp_path / f"full_{name}", full.model_copy(update=changes))
    for file, method in (("adapter_model.safetensors", ""), ("model.safetensors", "full_")):
        plain = load_file(tmp_path / f"{method}plain" / file)
        for name in ("micro", "checkpointed"):
            other = load_file(tmp_path / f"{method}{name}" / file)
            assert plain.keys() == other.keys()
            assert max(float((plain[key] - other[key]).abs().max()) for key in plain) < 1e-4


@pytest.mark.parametrize("kind", ["dense", "moe"])
def test_gradient_checkpointing_really_recomputes(
    kind: str, tiny_model: Path, tiny_moe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm
    from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeRMSNorm

    base, norm = (tiny_model, Qwen3RMSNorm) if kind == "dense" else (tiny_moe, Qwen3MoeRMSNorm)
    forward, calls = norm.forward, []
    monkeypatch.setattr(norm, "forward", lambda self, x: calls.append(1) or forward(self, x))
    counts = []
    for name, changes in {"plain": {}, "again": {"gradient_checkpointing": True}}.items():
        calls.clear()
        train(base, tmp_path / name, RECIPE.model_copy(update=changes))
        counts.append(len(calls))
    steps, layers = 6, 2
    assert counts == [steps * (4 * layers + 1), steps * (2 * 4 * layers + 1)]  # the last norm is in no layer


def test_bfloat16_weights_get_float32_adapters(tiny_model: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    recipe = RECIPE.model_copy(update={"gradient_checkpointing": True})
    finetune(training(tiny_model, tmp_path / "out", recipe, dtype="bfloat16"))
    adapters = load_file(tmp_path / "out/adapter_model.safetensors")
    assert {tensor.dtype for tensor in adapters.values()} == {torch.float32}
    assert any(float(tensor.abs().max()) > 0 for name, tensor in adapters.items() if "lora_B" in name)


def test_full_fine_tuning_saves_whole_models(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    train(tiny_model, tmp_path / "out", RECIPE.model_copy(update={"method": "full"}))
    assert (tmp_path / "out/model.safetensors").is_file()
    AutoModelForCausalLM.from_pretrained(tmp_path / "out")


def test_killed_fine_tuning_goes_on_to_the_same_adapters(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    from safetensors.torch import load_file

    train(tiny_model, tmp_path / "whole")

    def dying(*arguments):
        report = module_counter(*arguments)

        def tell(done: int) -> None:
            report(done)
            if done == 5:
                raise KeyboardInterrupt

        return tell

    module_counter = finetuning.counter
    monkeypatch.setattr(finetuning, "counter", dying)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_model, tmp_path / "resumed")
    assert not (tmp_path / "resumed").exists()
    assert not (tmp_path / "resumed.steps").exists()
    states = [path.parent.name for path in tmp_path.rglob("optimizer.pt")]
    assert states == ["checkpoint-4"]  # what is gone on from, and no more of it than that
    half = tmp_path / ".resumed.working/checkpoint-5"  # killed once more, while the next was being written
    half.mkdir()
    (half / "adapter_model.safetensors").write_bytes(b"half")
    monkeypatch.setattr(finetuning, "counter", module_counter)
    capsys.readouterr()
    train(tiny_model, tmp_path / "resumed")
    assert "goes on from checkpoint-4" in capsys.readouterr().err
    for step in ("step00002", "step00006"):
        whole, resumed = (
            load_file(tmp_path / f"{name}.steps" / step / "adapter_model.safetensors") for name in ("whole", "resumed")
        )
        assert all(whole[name].equal(resumed[name]) for name in whole)


@pytest.mark.parametrize(
    "other",
    [
        {"origin": "edited"},
        {"neurons": [(0, None, 1)]},
        {"requests": ["More?"]},
        {"dtype": "bfloat16"},
        {"revision": "b"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_killed_run_is_gone_on_from_only_where_nothing_changed(other: dict, tmp_path: Path) -> None:
    one = training(tmp_path, tmp_path / "out")
    working = working_folder(tmp_path / "out", finetuning._identity(one, []))
    (working / "checkpoint").write_text("")
    working_folder(tmp_path / "out", finetuning._identity(one, []))
    assert (working / "checkpoint").exists()
    working_folder(tmp_path / "out", finetuning._identity(replace(one, **other), []))
    assert not (working / "checkpoint").exists()


def dies_after_five_steps(base: Path, output: Path, recipe: Finetune = RECIPE) -> None:
    """For another process, which no monkeypatch of this one reaches."""

    def counter(*arguments):
        def report(done: int) -> None:
            if done == 5:
                raise RuntimeError("killed")

        return report

    finetuning.counter = counter
    train(base, output, recipe)


def apart(folders: list[Path]) -> float:
    """The largest difference between adapters of the first folder and of any other."""
    from safetensors.torch import load_file

    first, *others = (load_file(folder / "adapter_model.safetensors") for folder in folders)
    assert all(first.keys() == other.keys() for other in others)
    return max(float((first[key] - other[key]).abs().max()) for other in others for key in first)


@pytest.mark.parametrize("kind", ["dense", "moe"])
def test_two_processes_that_share_the_weights_learn_the_same_as_one(
    kind: str, tiny_model: Path, tiny_moe: Path, tmp_path: Path, capfd
) -> None:
    base = tiny_moe if kind == "moe" else tiny_model
    recipe = RECIPE.model_copy(update={"gradient_checkpointing": True, "micro_batch_size": 1})
    rows = [*ROWS, ROWS[0]]  # not as many as whole batches hold
    one = train(base, tmp_path / "one", rows=rows)
    two = distributed.run_distributed(2, partial(train, base, tmp_path / "two", recipe, rows))
    assert one.pop("train_loss") == pytest.approx(two.pop("train_loss"), abs=1e-4)
    assert one == two
    assert capfd.readouterr().err.count("finetune test 8/8") == 2  # once for each training, not for each process
    for step in ("step00003", "step00008"):
        assert apart([tmp_path / f"{name}.steps" / step for name in ("one", "two")]) < 1e-6
    assert not list(tmp_path.glob(".*"))


def test_two_killed_processes_go_on_to_the_same_adapters(tiny_model: Path, tmp_path: Path, capfd) -> None:
    from torch.multiprocessing import ProcessRaisedException

    train(tiny_model, tmp_path / "one")
    with pytest.raises(ProcessRaisedException, match="killed"):
        distributed.run_distributed(2, partial(dies_after_five_steps, tiny_model, tmp_path / "two"))
    assert not (tmp_path / "two").exists()
    distributed.run_distributed(2, partial(train, tiny_model, tmp_path / "two"))
    assert "goes on from checkpoint-4" in capfd.readouterr().err
    assert apart([tmp_path / "one", tmp_path / "two"]) < 1e-6
    assert not list(tmp_path.glob(".*"))


def whether_sharded(base: Path) -> bool:
    from torch.distributed.tensor import DTensor

    model = distributed.load(str(base), "float32", None)
    parameter = next(iter(model.parameters()))
    return isinstance(parameter, DTensor) and parameter.to_local().numel() * 2 == parameter.numel()


def test_each_process_holds_its_share_of_the_weights_only(tiny_model: Path) -> None:
    assert distributed.run_distributed(2, partial(whether_sharded, tiny_model))
    assert not distributed.run_distributed(1, partial(whether_sharded, tiny_model))


def test_a_mistake_in_one_of_several_processes_is_one_line(tiny_model: Path, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"batch_size": 3})
    with pytest.raises(UserError, match=r"finetune\.batch_size: 3 rows do not divide into 2 GPUs"):
        distributed.run_distributed(2, partial(train, tiny_model, tmp_path / "out", recipe))


def test_a_missing_target_module_is_named(tiny_model: Path, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"lora": Lora(target_modules=["q_proj", "qkv_proj"])})
    with pytest.raises(
        UserError,
        match=r"finetune\.lora\.target_modules: the model has no module 'qkv_proj'; its linear modules are .*q_proj",
    ):
        train(tiny_model, tmp_path / "out", recipe)
    assert not (tmp_path / "out").exists()


def test_a_model_that_cannot_be_found_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^model '.*nowhere': cannot be loaded"):
        loading.load_model(str(tmp_path / "nowhere"))


def test_a_truncated_checkpoint_is_one_line(tiny_model: Path, tmp_path: Path) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"^model '.*broken': cannot be loaded"):
        loading.load_model(str(broken))
