"""Which GPUs a job sees, tried with names alone: no GPU is needed to lock one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rim.core import gpus
from rim.core.errors import UserError
from rim.models import loading
from tests.unit import tiny_families

HOLD = "import sys; from rim.core import gpus; gpus.claim(int(sys.argv[1])); print(gpus.visible(), flush=True); sys.stdin.read()"


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(gpus.VISIBLE, "0,1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def hold(count: int) -> tuple[subprocess.Popen[str], str]:
    """A job that holds so many GPUs until its input ends, and what it sees."""
    job = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert job.stdout
    return job, job.stdout.readline().strip()


def end(job: subprocess.Popen[str]) -> None:
    job.communicate("")
    assert job.returncode == 0


def test_two_jobs_see_different_gpus_and_a_third_waits_for_one(two: None) -> None:
    first, saw = hold(1)
    second, saw_too = hold(1)
    assert {saw, saw_too} == {"['0']", "['1']"}
    third = subprocess.Popen(
        [sys.executable, "-c", "from rim.core import gpus; gpus.claim(1, every=0.05); print(gpus.visible())"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        third.wait(timeout=1)
    end(second)
    saw_third, said = third.communicate()
    assert saw_third.strip() == saw_too
    assert said.strip() == "waits for 1 of 2 GPUs, which other jobs of yours are using"
    end(first)


def test_a_job_killed_gives_its_gpus_back(two: None) -> None:
    job, _ = hold(1)
    job.kill()
    job.wait()
    again, saw = hold(1)
    assert saw == "['0']"
    end(again)


def test_a_killed_job_gives_its_gpus_back_though_a_forked_child_lives_on(two: None) -> None:
    forks = "import os, time; from rim.core import gpus; gpus.claim(1); child = os.fork(); child or time.sleep(600); print(child, flush=True); time.sleep(600)"
    job = subprocess.Popen([sys.executable, "-c", forks], stdout=subprocess.PIPE, text=True)
    assert job.stdout
    child = int(job.stdout.readline())
    try:
        job.kill()
        job.wait()
        again, saw = hold(1)
        assert saw == "['0']"
        end(again)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_job_without_gpus_sees_none_and_one_that_wants_all_locks_none(two: None, tmp_path: Path) -> None:
    job, saw = hold(0)
    assert saw == "[]"
    end(job)
    job, saw = hold(2)
    assert saw == "['0', '1']"
    assert not list(tmp_path.iterdir())
    end(job)


def test_gpus_are_those_that_the_driver_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    driver = tmp_path / "nvidia-smi"
    driver.write_text('#!/bin/sh\n[ "$1" = --query-gpu=index ] && echo 0 && echo 1\n')
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert gpus.visible() == ["0", "1"]
    with monkeypatch.context() as context:
        context.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
        context.setenv(gpus.VISIBLE, "")
        context.delenv(gpus.VISIBLE)
        gpus.claim(2)
        assert (os.environ[gpus.VISIBLE], os.environ[gpus.ORDER]) == ("0,1", "PCI_BUS_ID")  # as the driver counts
    driver.write_text("#!/bin/sh\nexit 9\n")
    assert gpus.visible() == []
    gpus.claim(1)
    assert gpus.VISIBLE not in os.environ  # whatever GPUs there are stay in sight


def test_a_model_that_its_gpus_cannot_hold_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two GPUs are pretended, neither of which has any memory, so that accelerate would leave the model on the CPU."""
    import torch

    tiny_families.build("qwen3").save_pretrained(tmp_path)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="does not fit into the memory of 2 GPUs; correct its 'parameters'"):
        loading.load_model(str(tmp_path))
    assert loading.load_model(str(tmp_path), device="cpu").device.type == "cpu"
