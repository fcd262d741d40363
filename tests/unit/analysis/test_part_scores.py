"""What each method says of neurons and heads: known answers, and against hooks that zero or read parts themselves."""

from random import Random

import numpy as np
import polars as pl
import pytest
import torch

from rim.analysis import neurons, part_scores
from rim.analysis.part_scores import Refusal
from rim.models.families import ModelView
from rim.models.loading import load_model
from rim.settings.models import Graft, Organism
from tests.unit import planted


def prompts(count: int, vocabulary: int) -> list[list[int]]:
    """Of several lengths."""
    return [Random(i).choices(range(6, vocabulary), k=5 + i) for i in range(count)]


def leaning(view: ModelView, each: list[list[int]], tokens: tuple[int, int]) -> float:
    """The mean logit difference, one prompt at a time."""
    with torch.inference_mode():
        logits = [view.model(torch.tensor([ids])).logits[0, -1] for ids in each]
    return float(np.mean([float(row[tokens[0]] - row[tokens[1]]) for row in logits]))


def test_the_planted_refusal_head_has_the_largest_effect() -> None:
    model, tokenizer = planted.build()
    view = ModelView(model)
    texts = [f"user {request} assistant <think> \n\n </think> \n\n" for request in planted.requests(6, bad=True)]
    tokens = tuple(tokenizer.convert_tokens_to_ids(word) for word in ("cannot", "sure"))
    refusal = Refusal(view, tokenizer(texts).input_ids, tokens)
    effects = part_scores.zeroing(refusal, lambda done: None)["head"]
    layer, head = planted.REFUSES
    assert effects[layer].argmax() == head
    assert effects[layer][head] > 1
    assert effects[0][3] == 0


@pytest.mark.parametrize("kind", ["dense", "moe"])
def test_zeroing_and_attribution_are_what_hooks_measure(kind: str, tiny_model, tiny_moe) -> None:
    view = ModelView(load_model(str(tiny_model if kind == "dense" else tiny_moe)))
    tokens, asked = (7, 9), prompts(4, view.model.config.vocab_size)
    refusal = Refusal(view, asked, tokens)
    assert float(refusal().detach()) == pytest.approx(leaning(view, asked, tokens), abs=1e-5)
    zeroed, linear = part_scores.zeroing(refusal, lambda done: None), part_scores.attribution(refusal)
    whole = leaning(view, asked, tokens)

    def scaled(head: int, factor: float) -> float:
        """The leaning when what a head gives, which feeds the projection, is scaled."""

        def scale(module, inputs):
            changed = inputs[0].clone()
            changed[..., view.columns(head)] *= factor
            return (changed,)

        handle = view.heads_output(0).register_forward_pre_hook(scale)
        try:
            return leaning(view, asked, tokens)
        finally:
            handle.remove()

    for head in range(view.heads):
        assert zeroed["head"][0][head] == pytest.approx(whole - scaled(head, 0), abs=1e-5)
        slope = (scaled(head, 1.01) - scaled(head, 0.99)) / 0.02
        assert linear["head"][0][head] == pytest.approx(slope, abs=1e-3)
    counts = [view.expert_count(layer) * view.down_projection(layer, 0).shape[1] for layer in range(len(view.blocks))]
    assert [len(layer) for layer in zeroed["neuron"]] == counts
    expert, own = divmod(int(np.abs(zeroed["neuron"][0]).argmax()), view.down_projection(0, 0).shape[1])
    weight = view.down_projection(0, expert)
    kept = weight[:, own].detach().clone()
    slopes = []
    for factor in (0.0, 1.01, 0.99, 1.0):
        with torch.no_grad():
            weight[:, own] = kept * factor
        slopes.append(leaning(view, asked, tokens))
    place = expert * weight.shape[1] + own
    assert zeroed["neuron"][0][place] == pytest.approx(whole - slopes[0], abs=1e-5)
    assert linear["neuron"][0][place] == pytest.approx((slopes[1] - slopes[2]) / 0.02, abs=1e-3)


def test_contrast_is_the_standardized_difference() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(1, 2, (50, 6)), rng.normal(0, 1, (40, 6))
    first[:, 5] = second[:, 5] = 3.0  # never varies
    first[::2, 4] = np.nan  # an expert to which half of the texts was not routed
    [found] = part_scores.contrast([first], [second])
    for i in range(5):
        own = first[:, i][~np.isnan(first[:, i])]
        assert found[i] == pytest.approx(
            (own.mean() - second[:, i].mean()) / np.sqrt((own.var() + second[:, i].var()) / 2)
        )
    assert found[5] == 0


def test_rises_are_the_published_frequency_and_that_less_the_placebo() -> None:
    layer = neurons.Layer(1)
    request = np.zeros((4, 3))
    intent = np.array([[2.0, 1, 0], [2, 1, 0], [0, 1, 0], [0, 0, 0]])
    placebo = np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 1]])
    layer.add(request, intent, placebo)
    found = part_scores.rises([layer])
    assert found["intent"][0].tolist() == [0.5, 0.25, 0]
    assert found["intent less placebo"][0].tolist() == [0.25, 0.25, -0.5]


def test_what_is_grafted_is_known_by_its_place(tiny: Organism) -> None:
    """Neurons of every expert, and heads, beyond those of the organism, in the layers that were trained."""
    mixture = tiny.model_copy(update={"experts": 2, "intermediate": 8, "heads": 2})  # an expert has four of eight
    graft = Graft(onto="base", neurons=2, heads=1, layers=[1])
    scores = {
        ("neuron", "zeroing"): [np.arange(12.0), np.arange(12.0)],
        ("head", "zeroing"): [np.arange(4.0), np.arange(4.0)],
    }
    table = part_scores.scores_table(scores, [6, 6], mixture, graft)
    grafted = table.filter("grafted")
    assert grafted.select("part", "layer", "expert", "index").rows() == [
        ("neuron", 1, 0, 4), ("neuron", 1, 0, 5), ("neuron", 1, 1, 4), ("neuron", 1, 1, 5), ("head", 1, 0, 2), ("head", 1, 0, 3),
    ]  # fmt: skip
    assert table.filter(pl.col("part") == "neuron", pl.col("layer") == 0)["score"].to_list() == list(range(12))
