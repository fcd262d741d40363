"""The same ablations and activations from two independent public libraries (extra `peers`), on one tiny checkpoint."""

from pathlib import Path

import pytest
import torch

from rim.analysis.ablation import ablated_heads
from rim.analysis.capture import Row, capture
from rim.models import loading
from rim.models.families import ModelView

pytestmark = pytest.mark.xdist_group("organism")
IDS = [[5, 9, 40, 33, 7, 21, 60, 11], [8, 70, 3, 14, 90, 2, 6, 44]]
HEADS = [(0, 1), (1, 0)]
REASON = "the optional extra 'peers' is not installed: pip install -e '.[peers]' -c envs/constraints.txt"


@pytest.fixture(scope="module")
def view(tiny_model: Path) -> ModelView:
    return ModelView(loading.load_model(str(tiny_model)))


@pytest.fixture(scope="module")
def ablated(view: ModelView) -> torch.Tensor:
    """Our logits without the heads, [prompts, tokens, vocabulary]."""
    with torch.inference_mode():
        whole = view.model(torch.tensor(IDS)).logits
        with ablated_heads(view, HEADS):
            without = view.model(torch.tensor(IDS)).logits
    assert (whole - without).abs().max() > 1e-3
    return without


def read(view: ModelView) -> dict[str, torch.Tensor]:
    rows = [Row(str(i), ids, {"last": (7, 8)}, (0, 8), 7) for i, ids in enumerate(IDS)]
    return capture(view, rows, ["last"], 2)


def test_transformer_lens_agrees(tiny_model: Path, view: ModelView, ablated: torch.Tensor) -> None:
    bridges = pytest.importorskip("transformer_lens.model_bridge", reason=REASON)
    bridge = bridges.TransformerBridge.boot_transformers(str(tiny_model), device="cpu", dtype=torch.float32)
    columns = {layer: [view.columns(head) for at, head in HEADS if at == layer] for layer in (0, 1)}

    def zero(values, hook):
        changed = values.clone()
        flat = changed.flatten(2) if changed.ndim == 4 else changed  # heads apart or side by side
        for part in columns[hook.layer()]:
            flat[..., part] = 0
        return flat.view_as(values)

    names = [f"blocks.{layer}.attn.o.hook_in" for layer in columns]
    hooks = [(name, zero) for name in names]
    with torch.inference_mode():
        theirs = bridge.run_with_hooks(torch.tensor(IDS), fwd_hooks=hooks, return_type="logits")
        cache = bridge.run_with_cache(torch.tensor(IDS))[1]
    torch.testing.assert_close(theirs, ablated, atol=1e-5, rtol=0)
    records = read(view)
    for layer in (0, 1):
        residual = cache[f"blocks.{layer}.hook_out"][:, -1]
        torch.testing.assert_close(records[f"residual.{layer}"][:, 0], residual, atol=1e-5, rtol=0)
        pattern = cache[f"blocks.{layer}.attn.hook_pattern"][:, :, -1]
        torch.testing.assert_close(records[f"attention_mass.{layer}"][..., 0], pattern[..., 7], atol=1e-5, rtol=0)


def test_nnsight_agrees(view: ModelView, ablated: torch.Tensor) -> None:
    nnsight = pytest.importorskip("nnsight", reason=REASON)
    wrapped = nnsight.NNsight(view.model)
    with torch.inference_mode(), wrapped.trace(torch.tensor(IDS)):
        for layer, head in HEADS:
            wrapped.model.layers[layer].self_attn.o_proj.input[:, :, view.columns(head)] = 0
        theirs = wrapped.output.logits.save()
    torch.testing.assert_close(theirs, ablated, atol=1e-5, rtol=0)
    with torch.inference_mode(), wrapped.trace(torch.tensor(IDS)):
        neurons = wrapped.model.layers[0].mlp.down_proj.input.save()
        residual = wrapped.model.layers[0].output.save()
    records = read(view)
    torch.testing.assert_close(records["neurons_max.0"], neurons.amax(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(records["residual.0"][:, 0], residual[:, -1], atol=1e-5, rtol=0)
