"""How large a model is, from the headers of its weights, and what that changes."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from rim.config.load import load_study_file
from rim.models import headers
from rim.models.headers import Size
from rim.settings.models import Model
from rim.workflow import costs, plan, speed
from tests.unit.preflight.conftest import model_folder


def test_parameters_are_counted_in_the_headers(tmp_path: Path) -> None:
    model_folder(tmp_path / "m")
    assert headers.size(str(tmp_path / "m"), None) == Size(126 / 1e9, None)


def test_of_a_mixture_those_of_one_token_are_counted_too(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    tensors = {f"layers.0.mlp.experts.{n}.up_proj.weight": (10, 10) for n in range(8)} | {"embed": (5, 10)}
    save_file({name: np.zeros(shape, np.float32) for name, shape in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"num_experts": 8, "num_experts_per_tok": 2}))
    assert headers.size(str(folder), None) == Size(850 / 1e9, 250 / 1e9)


@pytest.mark.parametrize("missing", ["one.safetensors", "config.json"])
def test_a_model_that_is_not_whole_has_no_size(missing: str, tmp_path: Path) -> None:
    (model_folder(tmp_path / "m") / missing).unlink()
    assert headers.size(str(tmp_path / "m"), None) is None
    assert costs.weights(Model(hub=str(tmp_path / "m"))) == 0


def test_the_bill_of_a_model_on_this_machine_needs_no_key(root: Path, tmp_path: Path) -> None:
    paper = load_study_file(root / "workflow/config/paper.yaml")
    here = Model(hub=str(model_folder(tmp_path / "m")), dtype="bfloat16", variants=[])
    study = paper.model_copy(update={"models": {"m": here}})
    assert costs.weights(here) == pytest.approx(126 * 2)
    assert plan.sized(study) == ["m"]
    assert len([line for line in plan.bill(study) if line.startswith("m ")]) > 3
    assert speed.size(here.model_copy(update={"parameters": 4.0})) == Size(4.0, None)  # what is said counts
