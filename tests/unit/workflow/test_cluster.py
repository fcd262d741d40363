"""The question to sbatch, with a double of it that knows the partitions `cpu` and `gpu` and the account `ours`."""

from pathlib import Path

import pytest

from rim.core.errors import UserError
from rim.workflow import cluster

SBATCH = """\
#!/bin/sh
# A double of sbatch, with the words of the real one.
echo "$@" >> "$0.asked"
case "$*" in
  *"--partition nowhere"*) echo "sbatch: error: invalid partition specified: nowhere" >&2; exit 1;;
  *"--account theirs"*) echo "allocation failure: Invalid account or account/partition combination specified" >&2; exit 1;;
  *"--partition busy"*) echo "allocation failure: Requested node configuration is not available" >&2; exit 1;;
esac
"""


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sbatch").write_text(SBATCH)
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    path = tmp_path / "partitions.yaml"
    path.write_text("partitions:\n  cpu: {max_runtime: 60}\n  gpu: {max_gpu: 8}\n")
    return path


def test_nothing_is_submitted_and_known_names_pass(profile: Path) -> None:
    cluster.check(profile, "ours")
    asked = (profile.parent / "sbatch.asked").read_text().splitlines()
    assert len(asked) == 2
    assert all(line.startswith("--test-only") and "--account ours" in line for line in asked)
    assert "--gpus 1" in asked[1]
    assert "--gpus" not in asked[0]


def test_an_unknown_partition_or_account_is_sbatchs_own_words(profile: Path) -> None:
    with pytest.raises(UserError, match=r"partition 'cpu', account 'theirs': allocation failure: Invalid account"):
        cluster.check(profile, "theirs")
    profile.write_text("partitions:\n  nowhere: {max_runtime: 60}\n")
    with pytest.raises(UserError, match=r"partition 'nowhere': sbatch: error: invalid partition specified: nowhere"):
        cluster.check(profile, None)
    profile.write_text("partitions:\n  busy: {}\n")  # a refusal that depends on the job comes with the job
    cluster.check(profile, None)
