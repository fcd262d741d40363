"""The check of a machine, here of the CPU with itself."""

import pytest

from rim.analysis import capture
from rim.cli import main
from rim.workflow import device_check


def test_the_cpu_agrees_with_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-gpu"]) == 0
    shown = capsys.readouterr().out
    assert "No GPU: the CPU is measured" in shown
    assert shown.count(" holds ") == 5
    assert "ms a step" in shown


def test_a_device_that_computes_otherwise_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    def off(*arguments: object) -> capture.Records:
        calls.append(arguments)
        records = capture.capture(*arguments)  # type: ignore[arg-type]
        return {name: values * (1.01 if len(calls) == 2 else 1) for name, values in records.items()}

    monkeypatch.setattr(device_check, "capture", off)
    monkeypatch.setattr(device_check, "speed", lambda *arguments: [])
    assert main(["check-gpu"]) == 1
    shown = capsys.readouterr().out
    assert [line.split()[2] for line in shown.splitlines() if "activations" in line] == ["FAILS", "holds"]
