"""Looking models up and downloading them, from a double of the hub; each case in a process of its own, as in a job."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rim.models import hub
from tests.conftest import RIM, ROOT
from tests.hub import COMMIT, TOKEN, Hub

pytestmark = pytest.mark.xdist_group("organism")
LOAD = """\
from pathlib import Path
from rim.models import loading
from rim.settings.jobs import ModelReference
from rim.settings.models import UNTOLD
model = ModelReference(
    label="m", base="some/other", revision=None, dtype="float32", think_switch="template", prompt=UNTOLD, seed=0,
    checkpoints=[Path("m.json.receipt.json")],
)
place, revision = loading.resolve_model(model)
loading.load_tokenizer(place, revision)
print(place, revision, sum(p.numel() for p in loading.load_model(place, revision=revision).parameters()) > 1000)
"""


@pytest.fixture
def served(tiny_model: Path, tmp_path: Path) -> Iterator[Hub]:
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text("{}")
    (pickled / "pytorch_model.bin").write_text("")
    models = {"lab/tiny": tiny_model, "lab/closed": tiny_model, "lab/pickled": pickled}
    with Hub(models, gated=("lab/closed",)) as hub:
        yield hub


def run(tmp_path: Path, url: str, *code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": "1",
        "HOME": str(tmp_path),
    }
    environment |= {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "cache"), **variables}
    return subprocess.run(
        [sys.executable, *code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )


def fetch(
    tmp_path: Path, url: str, name: str, revision: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    job = {"inputs": [], "outputs": [], "hub": name, "revision": revision, "content": {}, "manifest": "m.json"}
    (tmp_path / "job.json").write_text(json.dumps(job))
    return run(tmp_path, url, RIM, "fetch_model", "job.json", **variables)


def test_a_model_is_downloaded_once_and_then_loaded_without_a_network(served: Hub, tmp_path: Path) -> None:
    done = fetch(tmp_path, served.url, "lab/tiny")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "m.json").read_text())
    assert (manifest["hub"], manifest["commit"]) == ("lab/tiny", COMMIT)
    assert manifest["files"]["model.safetensors"] == (served.models["lab/tiny"] / "model.safetensors").stat().st_size
    files = [line for line in served.asked if line.startswith("GET lab/tiny/resolve/")]
    assert len(files) == len(manifest["files"])
    asked = len(served.asked)
    loaded = run(tmp_path, served.url, "-c", LOAD, HF_HUB_OFFLINE="1")
    assert loaded.stdout.split() == ["lab/tiny", COMMIT, "True"], loaded.stderr
    assert len(served.asked) == asked
    before = (tmp_path / "m.json").read_bytes()
    assert fetch(tmp_path, served.url, "lab/tiny", HF_HUB_OFFLINE="1").returncode == 0  # from the cache
    assert (tmp_path / "m.json").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "revision", "line"),
    [
        ("lab/missing", None, "model 'lab/missing': the hub knows no such model, and no such folder is here; correct 'hub', or log in with `hf auth login`"),
        ("lab/closed", None, "model 'lab/closed': is gated and you are not let in; ask for access at https://huggingface.co/lab/closed"),
        ("lab/tiny", "v9", "model 'lab/tiny': has no revision 'v9'; correct 'revision'"),
        ("lab/pickled", None, "model 'lab/pickled': has no weights in safetensors"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_one_line(
    served: Hub, tmp_path: Path, name: str, revision: str | None, line: str
) -> None:
    done = fetch(tmp_path, served.url, name, revision)
    assert done.returncode == 1
    assert line in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "m.json").exists()


def test_a_token_opens_a_gated_model_and_is_written_nowhere(served: Hub, tmp_path: Path) -> None:
    done = fetch(tmp_path, served.url, "lab/closed", HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert written == []
    assert TOKEN not in done.stdout + done.stderr


def test_a_local_folder_is_known_by_its_content_and_loaded_only_as_it_was(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "own")
    weights = tmp_path / "own/model.safetensors"
    told = hub.content(tmp_path / "own")
    assert told["model.safetensors"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert fetch(tmp_path, "http://127.0.0.1:9", "own").returncode == 0
    assert json.loads((tmp_path / "m.json").read_text())["content"] == told
    assert run(tmp_path, "http://127.0.0.1:9", "-c", LOAD).stdout.split() == ["own", "None", "True"]
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)  # as large as before
    assert hub.content(tmp_path / "own") != told
    done = run(tmp_path, "http://127.0.0.1:9", "-c", LOAD)
    line = "own/model.safetensors: was changed, added or removed after the workflow took up this model; run it again"
    assert done.stderr.splitlines()[-1] == f"rim.core.errors.UserError: {line}"
    weights.unlink()
    assert line in run(tmp_path, "http://127.0.0.1:9", "-c", LOAD).stderr


def test_a_hub_out_of_reach_is_one_line(tmp_path: Path) -> None:
    done = fetch(tmp_path, "http://127.0.0.1:9", "lab/tiny")
    assert done.returncode == 1
    assert "model 'lab/tiny': is neither in reach nor in the cache" in done.stderr
    assert "Traceback" not in done.stderr
