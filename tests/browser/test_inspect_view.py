"""Logs of Inspect in Inspect's own viewer (`make test-inspect`; skipped where inspect_ai or a browser is not there)."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rim.cli import main
from tests import stored_replies

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.fixture
def viewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the viewer with the logs of a small study, as `inspect view bundle` makes it."""
    log = pytest.importorskip("inspect_ai.log", reason="needs inspect_ai, see `make test-inspect`")
    monkeypatch.chdir(tmp_path)
    stored_replies.write(tmp_path)
    assert main(["export-inspect", "mine"]) == 0
    log.bundle_log_dir("data/mine/inspect", str(tmp_path / "site"))
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_viewer_lists_every_log_and_shows_thought_and_response(browser: Any, viewer: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(viewer)
    page.wait_for_selector("text=24 items", timeout=60_000)  # none is taken for an earlier try of another
    page.goto(f"{viewer}/#/logs/restricted-on-tiny-gsm8k_target-seed0.eval/samples/sample/restricted-1/1/")
    page.get_by_text(stored_replies.HEURISTIC).first.wait_for(timeout=60_000)
    shown = page.inner_text("body")
    assert "REASONING" in shown.upper()
    assert "sure, done. </script>" in shown
    assert "judge_prefix" in shown.lower()
    assert problems == []
    page.close()
