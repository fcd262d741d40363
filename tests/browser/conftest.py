"""A headless Chromium for the tests of the report, and reports to look at with it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rim.config.load import load_study_file
from rim.config.study import Study
from rim.report import render
from rim.report.first_screen import first_screen
from rim.report.sections import SECTIONS
from tests import synthetic
from tests.conftest import ROOT

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="module")  # no longer: it keeps an event loop running, which other tests cannot have
def browser() -> Iterator[Any]:
    """Chromium or Chrome as it is installed, or the one that Playwright brought (`playwright install chromium`)."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install -e '.[dev]')")
    with api.sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, NAMES)), None)
        if found is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("needs chromium or google-chrome on PATH, or `playwright install chromium`")
        started = playwright.chromium.launch(executable_path=found)
        yield started
        started.close()


def shipped(name: str, **changes: Any) -> Study:
    """A shipped configuration with some settings changed."""
    return load_study_file(ROOT / f"workflow/config/{name}.yaml").model_copy(update=changes)


def written(folder: Path, study: Study, effect: float = 0.2, layers: int = 4, heads: int = 4) -> Path:
    """The report of a study with made-up results."""
    material = synthetic.material(study, synthetic.synthetic(study, effect, layers, heads))
    path = folder / "report.html"
    path.write_text(render.render(material, first_screen(material), SECTIONS, render.vega()))
    return path


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the demo study's configuration."""
    return written(tmp_path_factory.mktemp("report"), shipped("demo"))


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a report in a window of some size; at the end nothing may have gone wrong in any of them."""
    pages: list[tuple[Any, list[str], list[str]]] = []

    def open_(path: Path, width: int = 1280, height: int = 800) -> Any:
        page = browser.new_page(viewport={"width": width, "height": height}, accept_downloads=True)
        problems: list[str] = []
        requests: list[str] = []
        page.on(
            "console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        pages.append((page, problems, requests))
        return page

    yield open_
    for page, problems, requests in pages:
        page.close()
        assert problems == []
        assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [requests[0]]  # the file itself
