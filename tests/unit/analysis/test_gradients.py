"""Gradients before training, against the loss itself and by hand."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from rim.analysis import gradients
from rim.models.families import ModelView
from tests.unit.tiny_families import build


@pytest.mark.parametrize("family", ["qwen3", "phi3", "qwen3_moe"])
def test_gradients_of_neurons_are_those_of_the_loss(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nudging a neuron's weights along its gradient changes the loss by the gradient's squared length."""
    texts = [([5, 6, 7, 8, 9], 2), ([9, 8, 7, 11], 1), ([4, 4, 6, 30, 31, 32], 3)]
    model = build(family)
    view = ModelView(model)
    whole = list(gradients.neuron_gradients(view, texts))
    monkeypatch.setattr(gradients, "TOKENS", 10)  # two texts at a time
    made = list(gradients.neuron_gradients(view, texts))
    assert all(a.allclose(b, rtol=1e-4, atol=1e-7) for a, b in zip(made, whole, strict=True))

    def loss() -> float:
        total = sum(
            float(cross_entropy(model(torch.tensor([ids])).logits[0, start - 1 : -1], torch.tensor(ids[start:]), reduction="sum"))
            for ids, start in texts
        )  # fmt: skip
        return total / sum(len(ids) - start for ids, start in texts)

    layer, neuron, step = 2, 7, 0.5  # norms are taken in float32, so a smaller step drowns in rounding
    experts = view.experts(layer)
    down = experts.down_proj[0] if experts is not None else view.neurons_output(layer).weight
    own = made[layer][neuron, : down.shape[0]]  # the part out of the neuron comes first
    with torch.no_grad():
        down[:, neuron] += step * own
        above = loss()
        down[:, neuron] -= 2 * step * own
        below = loss()
    assert (above - below) / (2 * step) == pytest.approx(float(own @ own), rel=2e-2)


def test_gradients_of_opposite_tasks_conflict() -> None:
    view = ModelView(build("qwen3"))
    sets = {
        "all": [[np.arange(24)] * 3],
        "safety": [[np.arange(2), np.array([], int), np.arange(1)]],
        "random": [[np.array([], int)] * 3],
    }
    texts = [([5, 6, 7, 8, 9], 2)]
    taken = list(gradients.neuron_gradients(view, texts))
    found = {(row["metric"], row["neurons"]): row["estimate"] for row in gradients.gradient_rows(taken, taken, sets)}
    assert found["gradient_conflict", "all"] == pytest.approx(-1, abs=1e-5)  # the same texts: no conflict at all
    assert found["gradient_conflict", "safety"] == pytest.approx(-1, abs=1e-5)
    assert found["gradient_share", "all"] == pytest.approx(1, abs=1e-6)
    assert np.isnan(found["gradient_conflict", "random"])  # an empty set says nothing


def test_a_metric_is_added_by_its_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gradients.METRICS, "neurons_share", lambda sums: sums.neuron_share)
    layers = [torch.ones(24, 4)] * 2
    sets = {"all": [[np.arange(24)] * 2], "safety": [[np.array([0]), np.array([1, 2])]]}
    rows = [row for row in gradients.gradient_rows(layers, layers, sets) if row["metric"] == "neurons_share"]
    assert [(row["neurons"], row["estimate"]) for row in rows] == [("all", 1), ("safety", pytest.approx(3 / 48))]
