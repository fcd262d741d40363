"""Planted neurons in a hand-built model, teacher-forced texts, and checkpoints against their base."""

import math
import zlib
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from rim.analysis import baselines, checkpoints, gradients, metrics, neurons, ras
from rim.analysis import texts as analysis_texts
from rim.analysis.ablation import ablated_neurons, ablated_outputs
from rim.analysis.capture import Row, capture
from rim.analysis.safety_neurons import sets_table
from rim.core import contracts, tables
from rim.core.errors import UserError
from rim.models.chat import render_prompt
from rim.models.families import FAMILIES, ModelView
from rim.report.figures.forgetting import metric_name
from tests.unit import planted, tiny_families

pytestmark = pytest.mark.xdist_group("mechanism")
INTENT, PLACEBO = planted.BAD_TOKEN, planted.FINE_TOKEN  # one word each
READS, REFUSES = (0, 0, 3), (1, 0, 5)  # layer, expert, neuron


def with_neurons() -> tuple[ModelView, Any]:
    """The planted model of heads, but refusing through two neurons: one reads "bad" in layer 0, one in layer 1.

    A neuron here is silu(gate) * up with gate = up = the direction that it reads; the second writes "refuse".
    """
    model, tokenizer = planted.build()
    with torch.no_grad():
        model.model.layers[1].self_attn.o_proj.weight.zero_()  # no refusal head any more
        for layer, neuron, reads, writes, scale in (
            (0, READS[2], planted.BAD, planted.BAD, 0.2),
            (1, REFUSES[2], planted.BAD, planted.REFUSE, 4.0),
        ):
            mlp = model.model.layers[layer].mlp
            mlp.gate_proj.weight[neuron, reads] = 1
            mlp.up_proj.weight[neuron, reads] = 1
            mlp.down_proj.weight[writes, neuron] = scale
    return ModelView(model), tokenizer


def replies(tokenizer: Any, count: int = 12, **changes: Any) -> pl.DataFrame:
    rows = []
    for i, request in enumerate(planted.requests(count, bad=False)):
        prompt = render_prompt(tokenizer, request, "off", "template")
        row = {"benchmark": "restricted", "id": f"r{i}", "think": "off", "prompt": prompt, "reasoning": None, "response": "sure",
               "request": request, "counterfactual": f"{request} {INTENT}", "placebo": f"{request} {PLACEBO}"}  # fmt: skip
        rows.append({**row, **changes})
    return pl.DataFrame(rows, schema_overrides={"reasoning": pl.String})


def found_layers(view: ModelView, tokenizer: Any, batch_size: int = 4) -> list[neurons.Layer]:
    arms = analysis_texts.counterfactual_texts(tokenizer, replies(tokenizer), "off", "template", "all")
    read = [checkpoints.pooled(capture(view, list(rows), [], batch_size), 2) for rows in zip(*arms, strict=True)]
    layers = [neurons.Layer(2) for _ in range(2)]
    for layer, values in zip(layers, zip(*read, strict=True), strict=True):
        layer.add(*values)
    return layers


def says(view: ModelView, tokenizer: Any, bad: bool) -> set[str]:
    words = set()
    for request in planted.requests(8, bad):
        ids = tokenizer(render_prompt(tokenizer, request, "off", "template"), add_special_tokens=False).input_ids
        with torch.inference_mode():
            words.add(int(view.model(torch.tensor([ids])).logits[0, -1].argmax()))
    return set(tokenizer.convert_ids_to_tokens(sorted(words)))


def test_planted_neurons_are_found_and_zeroing_them_changes_the_planted_behaviour_only() -> None:
    view, tokenizer = with_neurons()
    layers = found_layers(view, tokenizer)
    columns = neurons.columns_from([layer.frequency() for layer in layers], 1.0)
    assert [values.tolist() for values in columns] == [[READS[2]], [REFUSES[2]]]
    assert max(layer.frequency("placebo").max() for layer in layers) == 0
    assert (says(view, tokenizer, True), says(view, tokenizer, False)) == ({"cannot"}, {"sure"})
    before = {name: value.clone() for name, value in view.model.state_dict().items()}
    with ablated_neurons(view, [READS, REFUSES]):
        assert (says(view, tokenizer, True), says(view, tokenizer, False)) == ({"sure"}, {"sure"})
    with ablated_neurons(view, [(0, 0, 1), (1, 0, 2)]):
        assert (says(view, tokenizer, True), says(view, tokenizer, False)) == ({"cannot"}, {"sure"})
    assert all(torch.equal(value, before[name]) for name, value in view.model.state_dict().items())


def test_batches_change_no_neuron() -> None:
    view, tokenizer = with_neurons()
    one, many = (found_layers(view, tokenizer, size) for size in (1, 12))
    for first, second in zip(one, many, strict=True):
        assert np.array_equal(first.frequency(), second.frequency())
        np.testing.assert_allclose(first.magnitude(), second.magnitude(), atol=1e-5)


def test_arms_share_the_reply_and_differ_in_the_sentence_only() -> None:
    _, tokenizer = with_neurons()
    request, intent, placebo = analysis_texts.counterfactual_texts(
        tokenizer, replies(tokenizer, 1), "off", "template", "request"
    )[0]
    assert len(intent.ids) == len(placebo.ids) == len(request.ids) + 1
    assert sum(a != b for a, b in zip(intent.ids, placebo.ids, strict=True)) == 1
    assert tokenizer.decode(request.ids[request.query :]).strip() == "sure"
    assert request.pool == (0, request.query)
    thought = analysis_texts.forced_text(tokenizer, "user", {"reasoning": "so it is", "response": "ok"}, "r", "all")
    assert tokenizer.convert_ids_to_tokens(thought.ids[thought.query]) == "<think>"
    assert thought.pool == (0, len(thought.ids))
    assert tokenizer.decode(thought.ids[thought.query :]).split() == ["<think>", "so", "it", "is", "</think>", "ok"]
    unfinished = analysis_texts.forced_text(tokenizer, "user", {"reasoning": "so it is", "response": None}, "r", "all")
    assert tokenizer.decode(unfinished.ids[unfinished.query :]).split() == ["<think>", "so", "it", "is"]


def test_a_dataset_without_counterfactuals_gets_sentences_of_as_many_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(len(intent.split()) == len(placebo.split()) for intent, placebo in analysis_texts.SENTENCES)
    monkeypatch.setattr(
        analysis_texts, "SENTENCES", ((INTENT, PLACEBO), (PLACEBO, INTENT))
    )  # words that the tokenizer knows
    _, tokenizer = with_neurons()
    own = replies(tokenizer, 2, placebo=None)
    for number, (request, intent, placebo) in enumerate(
        analysis_texts.counterfactual_texts(tokenizer, own, "off", "template", "all")
    ):
        asked = own["request"][number]
        chosen = analysis_texts.SENTENCES[zlib.crc32(asked.encode()) % 2]  # by the request, wherever it stands
        wordings = [f"{asked} {sentence}" for sentence in chosen]
        prompts = [
            own["prompt"][number],
            *(render_prompt(tokenizer, wording, "off", "template") for wording in wordings),
        ]
        for row, prompt in zip((request, intent, placebo), prompts, strict=True):
            assert row.ids[: row.query] == tokenizer(prompt, add_special_tokens=False).input_ids


def test_ids_that_do_not_match_are_named() -> None:
    _, tokenizer = with_neurons()
    own = replies(tokenizer, 3)
    dataset = own.select("id", "counterfactual", "placebo", prompt="request", split=pl.lit("calibration"))
    assert (
        analysis_texts.base_replies(
            own.drop("counterfactual", "placebo", "request"), "restricted", "off", dataset
        ).height
        == 3
    )
    with pytest.raises(UserError, match="of 3 replies with think off, 2 have the id of a row"):
        analysis_texts.base_replies(
            own.drop("counterfactual", "placebo", "request"), "restricted", "off", dataset.head(2)
        )
    with pytest.raises(UserError, match="of 0 replies with think on"):
        analysis_texts.base_replies(own.drop("counterfactual", "placebo", "request"), "restricted", "on", dataset)


@pytest.fixture(params=["qwen3", "qwen3_moe"])
def view(request: pytest.FixtureRequest) -> ModelView:
    return ModelView(tiny_families.build(request.param))


def rows(count: int = 5, seed: int = 0) -> list[Row]:
    rng = np.random.default_rng(seed)
    made = [rng.integers(3, 96, size=6 + i).tolist() for i in range(count)]
    return [Row(f"t{i}", ids, {}, (0, len(ids)), 4) for i, ids in enumerate(made)]


def changed(view: ModelView, scale: float = 0.1) -> ModelView:
    """The same model with noise on every matrix."""
    other = tiny_families.build(view.model.config.model_type)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn_like(parameter) * scale * parameter.std())
    return ModelView(other)


def test_ablating_neurons_is_as_setting_them_to_zero(view: ModelView) -> None:
    ids = torch.tensor([rows(1)[0].ids])
    members = [(0, 0, 3), (0, 0, 5), (2, 0, 1)]

    def hook(module: Any, inputs: Any) -> Any:
        inputs[0][..., [3, 5] if module is view.neurons_output(0) else [1]] = 0

    if view.experts(0) is None:
        handles = [view.neurons_output(layer).register_forward_pre_hook(hook) for layer in (0, 2)]
        with torch.inference_mode():
            expected = view.model(ids).logits
        for handle in handles:
            handle.remove()
    else:  # experts are no modules: zero what the neurons would write, by their gates
        other = tiny_families.build("qwen3_moe")
        with torch.no_grad():
            for layer, expert, neuron in members:
                other.model.layers[layer].mlp.experts.gate_up_proj[expert, neuron] = 0
        with torch.inference_mode():
            expected = other(ids).logits
    with torch.inference_mode(), ablated_neurons(view, members):
        found = view.model(ids).logits
    torch.testing.assert_close(found, expected)
    with torch.inference_mode():
        assert not torch.allclose(view.model(ids).logits, expected, atol=1e-4)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_outputs_of_an_mlp_are_read_and_ablated(family: str) -> None:
    """Against hooks: what is read is the MLP's own output, and zeroed dimensions are what a hook would zero."""
    view = ModelView(tiny_families.build(family))
    texts = rows(3)
    found = checkpoints.read(view, texts, "mlp_out", 2)
    seen: list[Any] = []

    def hook(module: Any, inputs: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        seen.append(hidden.amax(1)[0].clone())
        hidden[..., [3, 9]] = 0

    handle = view.mlp(1).register_forward_hook(hook)
    with torch.inference_mode():
        expected = [view.model(torch.tensor([row.ids])).logits for row in texts]
    handle.remove()
    np.testing.assert_allclose(found[1], torch.stack(seen).numpy(), rtol=1e-4, atol=1e-5)
    with torch.inference_mode(), ablated_outputs(view, [(1, 0, 9), (1, 0, 3)]):
        ablated = [view.model(torch.tensor([row.ids])).logits for row in texts]
    for own, other in zip(ablated, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)
    with torch.inference_mode():
        assert not torch.allclose(view.model(torch.tensor([texts[0].ids])).logits, expected[0], atol=1e-3)


def test_an_attached_adapter_is_refused() -> None:
    from peft import LoraConfig, get_peft_model

    model = tiny_families.build("qwen3")
    get_peft_model(model, LoraConfig(r=2, target_modules=["down_proj"]))
    with (
        pytest.raises(UserError, match="merge adapters into the weights first"),
        ablated_neurons(ModelView(model), [(0, 0, 1)]),
    ):
        pass


def test_a_model_is_at_no_distance_from_itself_and_at_some_from_another(view: ModelView) -> None:
    snapshots = [checkpoints.snapshot(model, rows(), rows(seed=1), "neurons", 2) for model in (view, changed(view))]
    widths = checkpoints.expert_widths(view, "neurons")
    sizes = [values.shape[1] for values in snapshots[0].safety]
    sets = checkpoints.neuron_sets(pl.DataFrame(schema=dict(contracts.NEURONS)), sizes, widths)
    assert set(sets) == {"all"}

    def measured(after: metrics.Snapshot, tuned: ModelView) -> dict[str, float]:
        found = [
            *checkpoints.ras_rows(snapshots[0], after, sets),
            *checkpoints.baseline_rows(snapshots[0], after, view, tuned),
        ]
        return {row["metric"]: row["estimate"] for row in found}

    same, other = measured(snapshots[0], view), measured(snapshots[1], changed(view))
    assert list(same) == ["ras", "ras_relative", "ras_symmetric", "kl", "weights", "activation_l2", "activation_cosine"]
    assert all(value == pytest.approx(0, abs=1e-6) for value in same.values())
    assert all(value > 1e-4 for value in other.values())
    again = checkpoints.snapshot(changed(view), rows(), rows(seed=1), "neurons", 5)  # another batch size
    assert measured(again, changed(view)) == pytest.approx(other, rel=1e-3)


def test_kl_is_that_of_whole_distributions(view: ModelView) -> None:
    texts, tuned = rows(3), changed(view)
    states = [baselines.reply_states(model, texts, 2) for model in (view, tuned)]
    heads = [baselines.unembedding(model) for model in (view, tuned)]
    totals, tokens = baselines.divergences(*states, *heads, torch.device("cpu"))
    assert tokens.tolist() == [2, 3, 4]
    for text, total in zip(texts, totals, strict=True):
        with torch.inference_mode():
            p, q = (model.model(torch.tensor([text.ids])).logits[0, 3:-1].log_softmax(-1) for model in (view, tuned))
        expected = torch.nn.functional.kl_div(q, p, log_target=True, reduction="sum")
        assert total == pytest.approx(float(expected), rel=1e-4)


def test_weights_by_hand_and_other_architectures() -> None:
    base, tuned = torch.nn.Linear(2, 1, bias=False), torch.nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        base.weight.copy_(torch.tensor([[3.0, 4.0]]))
        tuned.weight.copy_(torch.tensor([[3.0, 5.0]]))
    assert baselines.weight_distance(base, tuned) == pytest.approx(0.2)
    baselines.check_architecture(base, tuned, "step1")
    for other in (torch.nn.Linear(3, 1, bias=False), torch.nn.Linear(2, 1)):
        with pytest.raises(UserError, match=r"step1: its parameter '(weight|bias)' is not as that of its base"):
            baselines.check_architecture(base, other, "step1")


def test_activation_shifts_by_hand() -> None:
    before, after = np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 1.0]])
    layers = [(before[:, :1], after[:, :1]), (before[:, 1:], after[:, 1:])]
    assert baselines.activation_distances(layers).tolist() == pytest.approx([0, math.sqrt(2)])
    assert baselines.activation_angles(layers).tolist() == pytest.approx([0, 1])


def test_experts_lie_side_by_side_and_come_back_from_the_table() -> None:
    view = ModelView(tiny_families.build("qwen3_moe"))
    widths = checkpoints.expert_widths(view, "neurons")
    assert widths == [24, 24, 24]
    values = checkpoints.pooled(capture(view, rows(), [], 2), 3, math.nan)
    assert [each.shape for each in values] == [(5, 96), (5, 24), (5, 96)]  # the middle layer is dense
    assert np.isnan(values[0]).any()
    layers = [neurons.Layer(4) for _ in values]
    for layer, each in zip(layers, values, strict=True):
        layer.add(each, each + np.arange(each.shape[1]), each)
    made = sets_table({("found", 0): [np.array([0, 24, 95]), np.array([7]), np.array([], int)], ("random", 0): [np.array([1]), np.array([], int), np.array([50])]}, layers, widths)  # fmt: skip
    tables.check(made, contracts.NEURONS, None)  # type: ignore[arg-type]
    assert made.filter(pl.col("kind") == "found").select("layer", "expert", "neuron").rows() == [(0, 0, 0), (0, 1, 0), (0, 3, 23), (1, 0, 7)]  # fmt: skip
    sets = checkpoints.neuron_sets(made, [96, 24, 96], widths)
    assert [columns.tolist() for columns in sets["safety"][0]] == [[0, 24, 95], [7], []]
    assert [columns.tolist() for columns in sets["random"][0]] == [[1], [], [50]]


def test_random_sets_are_averaged_and_the_found_set_has_all_metrics() -> None:
    rng = np.random.default_rng(0)
    before, after = (
        metrics.Snapshot([rng.random((8, 6)) + 1], [rng.random((8, 6)) + 1], [], torch.nn.Identity()) for _ in range(2)
    )
    sets = {"safety": [[np.array([0, 1])]], "random": [[np.array([2, 3])], [np.array([4, 5])]]}
    found = {(row["neurons"], row["metric"]): row for row in checkpoints.ras_rows(before, after, sets, draws=20)}
    shifts = {name: how for name, how in metrics.METRICS.items() if isinstance(how, metrics.Shift)}
    assert {metric for kind, metric in found if kind == "safety"} == set(shifts)
    assert {metric for kind, metric in found if kind == "random"} == {"ras", "ras_relative", "ras_symmetric"}
    pair = [(before.safety[0], after.safety[0])], [(before.task[0], after.task[0])]
    alone = [ras.deltas(*pair, {"x": one})["x", "published"].metric("harmonic")[0] for one in sets["random"]]
    assert found["random", "ras"]["estimate"] == pytest.approx(np.mean(alone))
    assert found["safety", "ras"]["ci_low"] <= found["safety", "ras"]["estimate"] <= found["safety", "ras"]["ci_high"]


def test_intervals_of_one_sided_shifts_lie_around_their_estimate() -> None:
    """Two readings of the same noise: each resample of the few texts shifts more than their mean does."""
    rng = np.random.default_rng(0)
    before, after = (
        metrics.Snapshot([rng.random((5, 400)) + 1], [rng.random((5, 400)) + 1], [], torch.nn.Identity())
        for _ in range(2)
    )
    pair = list(zip(before.safety, after.safety, strict=True)), list(zip(before.task, after.task, strict=True))
    sets = {"all": [np.arange(400)]}
    drawn = ras.deltas(*pair, sets, draws=200)["all", "published"].metric("harmonic")
    assert (drawn[1:] > drawn[0]).mean() > 0.95  # the plain quantiles would leave the estimate out
    row = next(checkpoints.ras_rows(before, after, {"all": [sets["all"]]}))
    assert 0 <= row["ci_low"] < row["estimate"] < row["ci_high"]


def test_every_metric_has_a_title() -> None:
    assert sorted(metrics.TITLES) == sorted([*metrics.METRICS, *gradients.METRICS])


def test_a_metric_is_added_by_its_entry(view: ModelView, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of each sort, seen in the rows that its sort is measured in, and in the report's words."""
    added = {
        "log_ras": metrics.Shift("symmetric", "geometric", on_every_set=True),
        "texts": metrics.Distance(lambda one: one.weights.sum(1)),
    }
    for name, how in added.items():
        monkeypatch.setitem(metrics.METRICS, name, how)
        monkeypatch.setitem(metrics.TITLES, name, f"the {name}")
    before = checkpoints.snapshot(view, rows(), rows(seed=1), "neurons", 2)
    sizes = [values.shape[1] for values in before.safety]
    sets = {"all": [[np.arange(size) for size in sizes]], "safety": [[np.array([0]) for _ in sizes]]}
    found = {
        (row["metric"], row["neurons"]): row["estimate"]
        for row in (
            *checkpoints.ras_rows(before, before, sets),
            *checkpoints.baseline_rows(before, before, view, view),
        )
    }
    assert found["log_ras", "all"] == found["log_ras", "safety"] == pytest.approx(0, abs=1e-6)
    assert found["texts", ""] == pytest.approx(1)  # the weights of a resample add up to one
    assert metric_name("log_ras", "safety") == "the log_ras, safety neurons"
