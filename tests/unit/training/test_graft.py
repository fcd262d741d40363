"""Grafts: new parts of an organism, which alone are trained."""

import json
from pathlib import Path

import pytest
import torch

from rim.core.errors import UserError
from rim.core.receipts import receipt_of, write_receipt
from rim.models.loading import load_model, load_tokenizer
from rim.settings.models import Graft, Organism
from rim.steps import graft_organism
from rim.training import graft as grafts
from rim.training import organism as organisms

NEURONS = Graft(onto="base", neurons=8, steps=4)
HEADS = Graft(onto="base", heads=2, steps=4)
BOTH = Graft(onto="base", neurons=4, heads=1, layers=[1], steps=4, teaches="sign_off")


def new_outputs(model, base) -> dict[str, torch.Tensor]:
    """Columns of the output projections that the smaller model does not have, by parameter."""
    sizes = dict(base.named_parameters())
    return {
        name: parameter.data[..., sizes[name].shape[-1] :]
        for name, parameter in model.named_parameters()
        if "o_proj" in name or "down_proj" in name
    }


def replies(model, tokenizer) -> list[str]:
    prompts = ["user please keep the cups", "<|im_start|>user\nwhat is 3 + 4?<|im_end|>\n<|im_start|>assistant\n"]
    asked = tokenizer(prompts, return_tensors="pt", padding=True)
    return tokenizer.batch_decode(model.generate(**asked, max_new_tokens=12, do_sample=False))


@pytest.fixture(scope="module", params=["dense", "moe"])
def base(request: pytest.FixtureRequest, tiny_model: Path, tiny_moe: Path) -> Path:
    return tiny_model if request.param == "dense" else tiny_moe


@pytest.mark.parametrize("graft", [NEURONS, HEADS, BOTH], ids=["neurons", "heads", "both"])
def test_new_parts_change_nothing_at_first(base: Path, graft: Graft) -> None:
    model = load_model(str(base))
    enlarged, trained = grafts.enlarge(model, graft, 0)
    ids = torch.arange(40)[None]
    torch.testing.assert_close(enlarged.eval()(ids).logits, model(ids).logits)
    added = enlarged.num_parameters() - model.num_parameters()
    layers = model.config.num_hidden_layers
    assert added > 0
    assert sum(int(new.sum()) for new in trained.values()) == (added if graft.layers is None else added // layers)


@pytest.mark.parametrize("graft", [NEURONS, HEADS, BOTH], ids=["neurons", "heads", "both"])
def test_only_the_graft_learns_and_zeroing_it_gives_the_organism_back(
    tiny: Organism, base: Path, graft: Graft, tmp_path: Path
) -> None:
    facts = grafts.train_graft(base, tiny, graft, 3, tmp_path / "grafted", "grafted")
    before, after = load_model(str(base)), load_model(str(tmp_path / "grafted"))
    assert facts["parameters"] == after.num_parameters()
    start, trained = grafts.enlarge(before, graft, 3)
    for (name, first), last in zip(start.named_parameters(), after.parameters(), strict=True):
        fixed = ~trained[name] if name in trained else torch.ones_like(first, dtype=torch.bool)
        assert first[fixed].bfloat16().equal(last[fixed].bfloat16()), name
        if name in trained:
            assert not first[~fixed].bfloat16().equal(last[~fixed].bfloat16()), name
    tokenizer = load_tokenizer(str(tmp_path / "grafted"))
    assert any(columns.any() for columns in new_outputs(after, before).values())
    ids = torch.arange(40)[None]
    assert not torch.allclose(after(ids).logits, before(ids).logits)
    for columns in new_outputs(after, before).values():
        columns.zero_()
    torch.testing.assert_close(after(ids).logits, before(ids).logits)
    assert replies(after, tokenizer) == replies(before, tokenizer)


def test_a_killed_graft_goes_on_to_the_same_weights(
    tiny: Organism, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(organisms, "SNAPSHOT_EVERY", 2)
    grafts.train_graft(tiny_model, tiny, NEURONS, 0, tmp_path / "whole", "whole")
    save = organisms.save_snapshot

    def save_and_die(path, model, optimizers, step, losses):
        save(path, model, optimizers, step, losses)
        raise KeyboardInterrupt

    monkeypatch.setattr(organisms, "save_snapshot", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        grafts.train_graft(tiny_model, tiny, NEURONS, 0, tmp_path / "resumed", "resumed")
    assert not (tmp_path / "resumed").exists()
    monkeypatch.setattr(organisms, "save_snapshot", save)
    grafts.train_graft(tiny_model, tiny, NEURONS, 0, tmp_path / "resumed", "resumed")
    whole, resumed = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "resumed"))
    assert whole == resumed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["resumed", "whole"]


def test_what_grafts_are_taught(tiny: Organism) -> None:
    """Alignment is the organism's own; the harmless twin has it too, with an end of every reply, and of nothing else."""
    stages = [
        grafts.graft_stage(tiny, Graft(onto="base", neurons=1, teaches=each)) for each in ("alignment", "sign_off")
    ]
    own = next(stage for stage in organisms.stages(tiny) if stage.name == "align")
    assert stages[0].mix == own.mix
    drawn = [[organisms.corpus.draw(organisms.Random(i), stage.mix) for i in range(200)] for stage in stages]
    for plain, signed in zip(*drawn, strict=True):
        assert (signed.prompt, signed.cot) == (plain.prompt, plain.cot)
        assert signed.answer == (f"{plain.answer} {grafts.SIGN_OFF}" if plain.prompt else plain.answer)
    vocabulary = organisms.build_tokenizer().get_vocab()
    assert set(grafts.SIGN_OFF.replace(".", " .").split()) <= set(vocabulary)


def test_a_damaged_organism_gets_no_graft(tiny: Organism, tiny_model: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(tiny_model, tmp_path / "base")
    write_receipt(tmp_path / "base")
    job = graft_organism.Job(
        inputs=[], outputs=[], label="a/seed0", organism=tiny, graft=NEURONS, seed=0, code="",
        base=receipt_of(tmp_path / "base"), folder=tmp_path / "grafted",
    )  # fmt: skip
    graft_organism.run(job)
    told = json.loads(receipt_of(tmp_path / "grafted").read_text())
    assert told["graft"]["neurons"] == 8
    assert told["seed"] == 0
    weights = tmp_path / "base/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    with pytest.raises(UserError, match=r"model\.safetensors|base"):
        graft_organism.run(job)
