import json
from pathlib import Path

import pytest

from rim.core.errors import UserError
from rim.core.receipts import write_receipt
from rim.models import loading
from rim.models.lora import read_adapter
from tests.conftest import model_reference


def adapter(folder: Path, **config: object) -> Path:
    folder.mkdir(parents=True)
    known = {"base_model_name_or_path": "org/base", "r": 8, "bias": "none", "use_dora": False}
    (folder / "adapter_config.json").write_text(json.dumps({**known, **config}))
    write_receipt(folder)
    return folder


def test_an_ordinary_model_has_no_adapter(tmp_path: Path) -> None:
    assert read_adapter(str(tmp_path)) is None
    assert read_adapter("org/base") is None


@pytest.mark.parametrize(("rank", "room"), [(1, 1), (2, 8), (8, 8), (20, 32), (32, 32), (257, 320), (512, 512)])
def test_room_is_the_smallest_that_an_adapter_fits_into(tmp_path: Path, rank: int, room: int) -> None:
    found = read_adapter(str(adapter(tmp_path / "a", r=rank)))
    assert found is not None
    assert found.max_lora_rank == room
    found.check_servable()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"bias": "all"}, "trains biases"),
        ({"lora_bias": True}, "trains biases"),
        ({"use_dora": True}, "uses DoRA"),
        ({"modules_to_save": ["lm_head"]}, "holds whole modules"),
        ({"r": 8, "rank_pattern": {"q_proj": 600}}, "is of rank 600"),
    ],
)
def test_what_cannot_be_served_beside_the_weights_is_refused_in_one_line(
    tmp_path: Path, config: dict, words: str
) -> None:
    found = read_adapter(str(adapter(tmp_path / "a", **config)))
    assert found is not None
    with pytest.raises(UserError, match=words) as error:
        found.check_servable()
    assert "inference.vllm.merge_adapters" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_adapter_of_another_base_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    receipt = Path(f"{adapter(tmp_path / 'a')}.receipt.json")
    assert loading.resolve_model(model_reference("org/base", receipt)) == (str(tmp_path / "a"), None)
    with pytest.raises(UserError, match="trained on 'org/base' and not on 'org/other'"):
        loading.resolve_model(model_reference("org/other", receipt))


def test_a_damaged_configuration_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(UserError, match="is not the configuration of a low-rank adapter"):
        read_adapter(str(tmp_path))
