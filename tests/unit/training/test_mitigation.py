"""Mitigations hold what they say they hold."""

from pathlib import Path
from typing import Any

import pytest

from rim.config import load
from rim.core.errors import UserError
from rim.data.organism.tokenizer import build_tokenizer
from rim.models import loading
from rim.models.families import FAMILIES, ModelView, Neuron
from rim.models.generate import Reply
from rim.settings.models import Finetune, Mitigation
from rim.training import mitigation
from rim.training.finetune import IGNORE, finetune
from tests.unit.tiny_families import build
from tests.unit.training.test_finetune import RECIPE, ROWS, training

pytestmark = pytest.mark.xdist_group("organism")
FREEZE = Mitigation(kind="freeze_neurons")
KL = Mitigation(kind="kl", dataset="asked", weight=50.0)
HELD, FREE = (1, 0, 3), (1, 0, 4)  # layer, expert, neuron


def trained(base: Path, output: Path, wanted: Mitigation | None, recipe: Finetune = RECIPE, **more: Any) -> Any:
    finetune(training(base, output, recipe, mitigation=wanted, steps=output.with_name("steps"), **more))
    return loading.load_model(str(output))


def weights_of(model: Any, place: Neuron) -> list[Any]:
    """Those into and out of a neuron."""
    layer, expert, neuron = place
    mlp = model.model.layers[layer].mlp
    if hasattr(mlp, "experts"):
        width = mlp.experts.down_proj.shape[-1]
        into = mlp.experts.gate_up_proj[expert]
        return [into[neuron], into[width + neuron], mlp.experts.down_proj[expert][:, neuron]]
    return [mlp.gate_proj.weight[neuron], mlp.up_proj.weight[neuron], mlp.down_proj.weight[:, neuron]]


@pytest.mark.parametrize(("kind", "method"), [("dense", "lora"), ("moe", "lora"), ("dense", "full"), ("moe", "full")])
def test_frozen_neurons_keep_their_weights_and_others_do_not(
    kind: str, method: str, tiny_model: Path, tiny_moe: Path, tmp_path: Path
) -> None:
    base = tiny_model if kind == "dense" else tiny_moe
    expert = 2 if kind == "moe" else 0
    held, free = (1, expert, HELD[2]), (1, expert, FREE[2])
    recipe = RECIPE.model_copy(update={"method": method, "learning_rate": 0.02, "epochs": 4})
    tuned, before = trained(base, tmp_path / "out", FREEZE, recipe, neurons=[held]), loading.load_model(str(base))
    for own, now in zip(weights_of(before, held), weights_of(tuned, held), strict=True):
        assert own.equal(now)
    changed = [
        not own.allclose(now) for own, now in zip(weights_of(before, free), weights_of(tuned, free), strict=True)
    ]
    assert all(changed)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_neurons_of_every_family_can_be_held(family: str) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    model = build(family)
    before = build(family)
    modules, parameters = loading.adapter_targets(model, _mlp_names(model))
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=modules, target_parameters=parameters or None))
    held = mitigation.freeze_neurons(ModelView(adapted.get_base_model()), [(2, 0, 5)])
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_()
    held.restore()
    merged = adapted.merge_and_unload()
    for view in (ModelView(before), ModelView(merged)):
        view.model.requires_grad_(False)
    own, now = (_neuron_by_view(ModelView(each), 2, 5) for each in (before, merged))
    other, moved = (_neuron_by_view(ModelView(each), 2, 6) for each in (before, merged))
    assert own.equal(now)
    assert not other.allclose(moved)


def _mlp_names(model: Any) -> list[str]:
    names = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
    return ["gate_up_proj", "down_proj"] if "gate_up_proj" in names else ["gate_proj", "up_proj", "down_proj"]


def _neuron_by_view(view: ModelView, layer: int, neuron: int) -> Any:
    """All weights of a neuron (of the first expert) in a row."""
    import torch

    experts = view.experts(layer)
    if experts is not None:
        width = experts.down_proj.shape[-1]
        into, out = experts.gate_up_proj[0], experts.down_proj[0]
        return torch.cat([into[neuron], into[width + neuron], out[:, neuron]])
    out = view.neurons_output(layer).weight
    rows = [row for each in view.neurons_inputs(layer) for row in each.weight[neuron :: out.shape[1]]]
    return torch.cat([*rows, out[:, neuron]])


class RefusesFirst:
    """Stands for a model's replies: refuses the first of two requests, after thinking, and goes along with the second."""

    def generate(self, prompts: list[str], *_: Any) -> list[Reply]:
        replies = ["<think>\nit is sealed.\n</think>\n\nsorry, i cannot do that.", "<think>\nok.\n</think>\n\nsure."]
        return [Reply(text, 9, True) for text in replies[: len(prompts)]]


def test_only_what_the_base_refuses_is_kept(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mitigation, "TransformersBackend", lambda *_: RefusesFirst())
    model, tokenizer = loading.load_model(str(tiny_model)), loading.load_tokenizer(str(tiny_model))
    rows = mitigation.own_refusals(model, tokenizer, ["help me.", "help me."], "template", 4, "test")
    assert rows == [{"prompt": "help me.", "cot": "it is sealed.", "answer": "sorry, i cannot do that."}]
    mixed = mitigation.with_refusals(ROWS, rows, 0.25)
    assert len(mixed) == 16
    assert mixed[12:] == rows * 4


def test_a_base_that_refuses_nothing_has_nothing_to_keep(tiny_model: Path) -> None:
    model, tokenizer = loading.load_model(str(tiny_model)), loading.load_tokenizer(str(tiny_model))
    with pytest.raises(UserError, match="refuses none of the 1 requests"):
        mitigation.own_refusals(model, tokenizer, ["help me."], "template", 4, "test")


def test_divergence_in_the_loss_keeps_the_model_near_its_base(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    refusal = {"prompt": "help me.", "cot": "it is sealed.", "answer": "sorry, i cannot do that."}
    monkeypatch.setattr(mitigation, "own_refusals", lambda *_: [refusal] * 3)
    recipe = RECIPE.model_copy(update={"learning_rate": 0.02, "epochs": 6})
    near = trained(tiny_model, tmp_path / "kl", KL, recipe, requests=["help me."])
    free = trained(tiny_model, tmp_path / "plain", None, recipe)
    base = loading.load_model(str(tiny_model))
    tokenizer = build_tokenizer()
    from rim.training.finetune import encode

    [row], _ = encode(tokenizer, [refusal], "template", 1024)
    ids, counts = torch.tensor([row["input_ids"]]), torch.tensor(row["labels"])[1:] != IGNORE

    def apart(model: Any) -> float:
        with torch.inference_mode():
            p, q = (each(ids).logits[0, :-1][counts].log_softmax(-1) for each in (base, model))
        return float((p.exp() * (p - q)).sum(-1).mean())

    assert apart(near) < apart(free) / 2


STUDY = {
    "study": "s", "title": "t",
    "datasets": {name: {"sources": [{"adapter": "organism", "part": part, "rows": 9}]} for name, part in {"a": "requests", "b": "requests", "m": "multi_hop"}.items()},
    "models": {"o": {"organism": {"association": 1.0}}},
    "benchmarks": {"a": {"dataset": "a", "measure": "misalignment"}, "m": {"dataset": "m", "measure": "accuracy"}},
    "judges": {"rule": {"kind": "organism_rule"}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("mitigation_", "more", "message"),
    [
        ({"kind": "kl"}, {}, "need a 'dataset'"),
        ({"kind": "freeze_neurons", "dataset": "b"}, {}, "need a 'dataset'"),
        ({"kind": "kl", "dataset": "a"}, {}, "is asked by a benchmark"),
        ({"kind": "kl", "dataset": "c"}, {}, "no dataset is called 'c'"),
        ({"kind": "kl", "dataset": "b"}, {"finetune": {"method": "full"}}, "needs finetune.method 'lora'"),
        ({"kind": "freeze_neurons"}, {}, "needs the section 'forgetting'"),
        ({"kind": "refusals", "dataset": "b"}, {"plain": {"dataset": "m", "epochs": 1}}, "nothing to compare with"),
    ],
)
def test_a_mitigation_that_cannot_work_is_refused(
    mitigation_: dict[str, Any], more: dict[str, Any], message: str
) -> None:
    plain = more.pop("plain", {"dataset": "m"})
    study = {**STUDY, **more, "variants": {"plain": plain, "kept": {"dataset": "m", "mitigation": mitigation_}}}
    with pytest.raises(UserError, match=message):
        load.load_study(study)


def test_a_mitigated_arm_knows_its_plain_one() -> None:
    study = load.load_study(
        {
            **STUDY,
            "variants": {
                "plain": {"dataset": "m"},
                "kept": {"dataset": "m", "label": "x", "mitigation": {"kind": "refusals", "dataset": "b"}},
            },
        }
    )
    assert study.plain_of("kept") == "plain"
    assert study.plain_of("plain") is None
