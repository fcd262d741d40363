"""Artifacts under DVC: remotes of a lab (an S3 server, a folder), partial pulls, a full disk, merging, publishing."""

import hashlib
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.workflow.conftest import BIN, environment, run, tracked

FILES = {
    "data/mine/checkpoints/a.safetensors": "weights",
    "data/mine/responses/b.parquet": "replies",
    "data/mine/provenance/c": "record",
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with our DVC settings and three small artifacts, pushed to the remote inside it."""
    place = tmp_path / "ours"
    for name, text in FILES.items():
        (place / name).parent.mkdir(parents=True)
        (place / name).write_text(text)
    return tracked(place)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an S3 server (moto's, on loopback) with a bucket called lab."""
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="lab")
    yield f"http://{host}:{port}"
    server.stop()


def add_lab(place: Path, url: str, endpoint: str | None) -> None:
    """What workflow/docs/sharing.md tells a lab to do, as written there."""
    page = (ROOT / "workflow/docs/sharing.md").read_text()
    lines = re.findall(r"^(dvc remote .*?) *#", page, re.M)
    assert len(lines) == 3
    for line in lines if endpoint else lines[:2]:
        words = line.replace("s3://bucket/rim", url).replace("https://s3.example.org", endpoint or "").split()
        run(place, *words)


@pytest.mark.parametrize("kind", ["s3", "folder"])
def test_a_lab_shares_artifacts_through_its_own_remote(kind: str, repository: Path, tmp_path: Path, request) -> None:
    endpoint = request.getfixturevalue("s3") if kind == "s3" else None
    url = "s3://lab/rim" if kind == "s3" else str(tmp_path / "store")
    add_lab(repository, url, endpoint)
    (repository / "data/mine/checkpoints/d.safetensors").write_text("more weights")
    run(repository, "dvc", "add", "--quiet", "data/mine")
    run(repository, "dvc", "push", "--quiet")
    run(repository, "git", "commit", "--quiet", "--all", "--message", "more")
    assert not run(repository, "git", "status", "--porcelain")  # settings and keys of a lab stay out of git
    theirs = tmp_path / "theirs"
    run(tmp_path, "git", "clone", "--quiet", str(repository), str(theirs))
    add_lab(theirs, url, endpoint)
    run(theirs, "dvc", "pull", "--quiet", "data/mine/checkpoints")
    assert (theirs / "data/mine/checkpoints/d.safetensors").read_text() == "more weights"
    assert not (theirs / "data/mine/responses").exists()
    run(theirs, "dvc", "pull", "--quiet")
    assert (theirs / "data/mine/responses/b.parquet").read_text() == "replies"


@pytest.mark.parametrize("lab", [False, True])
def test_a_damaged_object_of_a_remote_is_not_pulled(lab: bool, repository: Path, tmp_path: Path) -> None:
    """Each of the objects in turn, of the remote in the repository and of a lab's, set up as workflow/docs/sharing.md says."""
    store = tmp_path / "store" if lab else repository / ".artifacts"
    if lab:
        add_lab(repository, str(store), None)
        run(repository, "dvc", "push", "--quiet")
    for name, text in FILES.items():
        md5 = hashlib.md5(text.encode()).hexdigest()
        place = store / "files/md5" / md5[:2] / md5[2:]
        place.chmod(0o644)
        place.write_text(text.upper())
        shutil.rmtree(repository / ".dvc/cache")
        shutil.rmtree(repository / "data/mine")
        done = subprocess.run(
            [str(BIN / "dvc"), "pull"],
            cwd=repository,
            capture_output=True,
            text=True,
            check=False,
            env=environment(repository),
        )
        assert done.returncode != 0
        assert not (repository / name).exists()
        place.parent.mkdir(exist_ok=True)
        place.write_text(text)
        run(repository, "dvc", "pull", "--quiet")
        assert (repository / name).read_text() == text


def test_a_full_disk_during_dvc_add_loses_nothing(repository: Path) -> None:
    """A limit on file size stands in for a full disk."""
    big = repository / "data/mine/checkpoints/big.safetensors"
    big.write_bytes(bytes(2_000_000))
    done = subprocess.run(
        [str(BIN / "dvc"), "add", "data/mine"], cwd=repository, capture_output=True, text=True, check=False, env=environment(repository),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)),
    )  # fmt: skip
    assert "ERROR: failed to transfer" in done.stderr
    assert big.stat().st_size == 2_000_000
    assert {name: (repository / name).read_text() for name in FILES} == FILES
    assert "not in cache" in run(repository, "dvc", "status")
    run(repository, "dvc", "add", "--quiet", "data/mine")  # after making room
    assert "up to date" in run(repository, "dvc", "status")


def test_two_branches_merge_as_the_documentation_says(repository: Path) -> None:
    def change(branch: str) -> None:
        run(repository, "git", "checkout", "--quiet", "-B", branch, "start")
        run(repository, "dvc", "checkout", "--quiet")
        (repository / f"data/mine/checkpoints/{branch}").write_text(branch)
        (repository / "data/mine/provenance/c").write_text(branch)
        (repository / "results/mine").mkdir(parents=True, exist_ok=True)
        (repository / "results/mine/rates.csv").write_text(branch)
        run(repository, "dvc", "add", "--quiet", "data/mine")
        run(repository, "dvc", "push", "--quiet")
        run(repository, "git", "add", "--all")
        run(repository, "git", "commit", "--quiet", "--message", branch)

    run(repository, "git", "branch", "start")
    change("theirs")
    change("ours")
    merge = subprocess.run(["git", "merge", "theirs"], cwd=repository, capture_output=True, text=True, check=False)
    assert "CONFLICT (content): Merge conflict in data/mine.dvc" in merge.stdout
    steps = (ROOT / "workflow/docs/sharing.md").read_text().split("<!-- merge -->")[1].split("```")[1].splitlines()[1:]
    for line in steps:
        if not line.startswith("snakemake"):
            run(repository, "bash", "-c", line.partition("#")[0].replace("their-branch", "theirs"))
    assert not run(repository, "git", "status", "--porcelain")
    assert (repository / "results/mine/rates.csv").read_text() == "ours"
    assert (repository / "data/mine/checkpoints/theirs").read_text() == "theirs"
    assert (repository / "data/mine/checkpoints/ours").read_text() == "ours"
    assert (repository / "data/mine/provenance/c").read_text() == "ours"


def test_publishing_leaves_out_caches_and_other_studies(repository: Path, tmp_path: Path) -> None:
    kept = {
        "data/demo/outcomes.parquet",
        "data/demo/checkpoints/m/base/seed0/model.safetensors",
        "data/demo/checkpoints/m/arm/seed0.steps.receipt.json",
        "data/demo/checkpoints/m/arm/seed0.steps/step1/adapter_model.safetensors",
        "data/demo/metrics/m/arm/seed0.parquet",
        "data/demo/checkpoints/m/gsm8k_target/seed0/adapter_model.safetensors",
        "data/demo/checkpoints/m/literal/seed0.receipt.json",
        "data/demo/checkpoints/m/literal/seed0/adapter_model.safetensors",
        "data/demo/provenance/c",
        "data/demo/provenance/sums/results/demo/tables/rates.csv.sha256",
    }
    left = {
        "data/demo/checkpoints/m/arm/.seed0.working/settings.txt",
        "data/demo/checkpoints/m/literal/seed0.steps/step1/adapter_model.safetensors",
        "data/demo/activations/m/base/seed0/residual.safetensors",
        "data/other/responses/m/base/seed0/plain.parquet",
    }
    for name in kept | left:
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(name)
    (repository / "workflow").mkdir()
    shutil.copy(ROOT / "workflow/publish.sh", repository / "workflow")
    run(repository, "workflow/publish.sh")
    run(repository, "git", "add", "--all")
    run(repository, "git", "commit", "--quiet", "--message", "published")
    run(tmp_path, "git", "clone", "--quiet", str(repository), str(tmp_path / "clone"))
    run(tmp_path / "clone", "dvc", "pull", "--quiet")
    found = {
        str(path.relative_to(tmp_path / "clone")) for path in (tmp_path / "clone/data").rglob("*") if path.is_file()
    }
    assert found == {*kept, *FILES, "data/mine.dvc"}  # what was pushed before is still there


def test_dvc_add_of_everything_is_refused(repository: Path) -> None:
    """It would make one pointer of all studies, and the next pull could delete those that it does not name.

    The published study is named beside the README, as the demo is, so by the file that `dvc add data` would replace.
    """
    published = (repository / "data/mine.dvc").rename(repository / "data.dvc")
    published.write_text(published.read_text().replace("path: mine", "path: data/mine"))
    before = published.read_text()
    for name in ("README.md", "README.md.dvc"):
        shutil.copy(ROOT / "data" / name, repository / "data")
    assert "up to date" in run(repository, "dvc", "status")  # what the pointer says of the file is right
    run(repository, "git", "add", "--all")
    run(repository, "git", "commit", "--quiet", "--message", "what lies here")
    done = subprocess.run(
        [str(BIN / "dvc"), "add", "data"], cwd=repository, capture_output=True, text=True, check=False, env=environment(repository)
    )  # fmt: skip
    assert done.returncode != 0
    assert "overlapping" in done.stderr
    assert published.read_text() == before


@pytest.mark.parametrize("tracked_too", [False, True])
@pytest.mark.parametrize(
    "line", [["pull", "--force"], ["checkout", "--force"], ["gc", "--workspace", "--force"], ["pull"]]
)
def test_nothing_of_dvcs_own_loses_a_study(line: list[str], tracked_too: bool, repository: Path) -> None:
    """One of one's own beside a published one, with changes that were not added."""
    own = repository / "data/own/replies.parquet"
    own.parent.mkdir()
    own.write_text("a reply")
    if tracked_too:
        run(repository, "dvc", "add", "--quiet", "data/own")
    run(repository, "dvc", *line)
    assert own.read_text() == "a reply"
