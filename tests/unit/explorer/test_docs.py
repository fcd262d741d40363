"""The commands of workflow/docs/replies.md, as written but for the names of the study and its model."""

import re
import shlex
from pathlib import Path

import pytest

from rim.cli import main
from tests import stored_replies
from tests.conftest import ROOT

COMMANDS = [
    line.removeprefix("rim ")
    for block in re.findall(r"```console\n(.*?)```", (ROOT / "workflow/docs/replies.md").read_text(), re.S)
    for line in block.strip().splitlines()
]
NAMES = {"demo": "mine", "associated": "tiny", "multi_hop": "sums"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_does_what_it_says(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    if command.startswith("export-inspect"):
        pytest.importorskip("inspect_ai", reason="needs inspect_ai, in an environment of its own (`make test-inspect`)")
    monkeypatch.chdir(tmp_path)
    stored_replies.write(tmp_path)
    assert main([NAMES.get(word, word) for word in shlex.split(command)]) == 0
    said = capsys.readouterr().out.strip()
    if "--html" in command:
        assert said.startswith((tmp_path / "data/mine/replies.html").as_uri())
        assert (tmp_path / "data/mine/replies.html").is_file()
    else:
        assert said
