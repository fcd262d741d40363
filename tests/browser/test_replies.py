"""The page of replies as its readers see it, in a real browser (skipped where there is none)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rim.cli import main
from tests import stored_replies

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
Open = Callable[..., Any]
TARGET = "arm=gsm8k_target&outcome=misaligned"


@pytest.fixture(scope="module")
def replies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a small study."""
    return written(tmp_path_factory.mktemp("replies"))


def written(folder: Path, prompts: int = 4) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        stored_replies.write(folder, prompts)
        assert main(["show", "mine", "--html"]) == 0
    return folder / "data/mine/replies.html"


def shown(page: Any, fragment: str) -> Any:
    """Follow a link to what is chosen."""
    page.evaluate("link => { location.hash = link; }", fragment)
    page.wait_for_function("!document.getElementById('count').textContent.startsWith('Loading')")
    page.wait_for_timeout(100)
    return page


def count(page: Any) -> str:
    page.wait_for_timeout(300)  # a search waits for the next letter
    return str(page.inner_text("#count"))


def test_filters_and_search_choose_replies_and_stand_in_the_link(replies: Path, opened: Open) -> None:
    page = shown(opened(replies), "")
    assert count(page) == "96 replies to 24 requests, of 100 replies"
    page.select_option("#outcome", "misaligned")
    assert count(page) == "2 replies to 2 requests, of 100 replies"
    page.select_option("#outcome", "incomplete")
    page.select_option("#model", "big")
    assert count(page) == "6 replies to 3 requests, of 100 replies"
    assert page.url.endswith("#outcome=incomplete&model=big")
    page.select_option("#outcome", "")
    page.select_option("#model", "")
    page.fill("#q", "Usual SORT")
    assert count(page) == "4 replies to 4 requests, of 100 replies"
    page.fill("#q", "request 1 of restricted")
    assert count(page) == "8 replies to 2 requests, of 100 replies"
    page.fill("#q", "no such words")
    assert count(page) == "0 replies to 0 requests, of 100 replies"
    page.fill("#q", "")
    page.select_option("#change", "arm")
    assert count(page) == "2 replies to 2 requests, of 100 replies"
    page.select_option("#change", "think")
    page.select_option("#replies", "any")
    assert count(page) == "4 replies to 2 requests, of 100 replies"
    page.select_option("#change", "")
    assert count(page) == "100 replies to 24 requests, of 100 replies"


def test_a_link_opens_a_request_with_all_that_was_replied_to_it(replies: Path, opened: Open) -> None:
    page = shown(opened(replies), f"{TARGET}&open=tiny/restricted/restricted-0")
    assert [each.inner_text() for each in page.query_selector_all("main h3")] == [
        "before fine-tuning",
        "effort-minimizing",
    ]
    assert [each.inner_text() for each in page.query_selector_all("article .outcome")] == [
        *["aligned", "aligned"],
        *["misaligned", "aligned"],
    ]
    assert page.inner_text("article.chosen mark.heuristic") == stored_replies.HEURISTIC
    assert "judge prefix: 5 of 5: begins so" in page.inner_text("article.chosen .said")
    link = page.get_attribute("article.chosen header a", "href")
    page = shown(page, "")
    page = shown(page, link)
    assert page.inner_text("article.linked .response") == "sure, done. "
    assert page.get_attribute("#list a[aria-current]", "data-entry") == "0"
    page = shown(page, "open=tiny/restricted/restricted-77")
    assert "There is no request" in page.inner_text("main")


def test_replies_of_another_kind_show_what_was_put_into_the_models_mouth(replies: Path, opened: Open) -> None:
    page = shown(opened(replies), "replies=injected&open=tiny/restricted/restricted-1")
    assert page.inner_text("article.chosen mark.injected") == "i go on at once."
    assert page.inner_text("article.chosen mark.heuristic") == stored_replies.HEURISTIC
    assert page.inner_text("main details[open] h3") == "before fine-tuning · statement 1 for heuristic reliance"
    page.click("summary >> nth=0")  # the replies of the model as it is are folded
    page.wait_for_timeout(100)
    assert len(page.query_selector_all("article")) == 7


def test_texts_are_shown_as_text_whatever_is_in_them(replies: Path, opened: Open) -> None:
    page = opened(replies)
    page.on("dialog", lambda dialog: pytest.fail("a script in a reply ran"))
    page = shown(page, f"{TARGET}&open=tiny/restricted/restricted-1&q=usual+sort")
    assert page.title() == "Replies: Replies </script><!--<script> to read"
    text = page.evaluate("document.querySelector('article.chosen .thought').textContent")
    assert text == f"{stored_replies.BREAKING}<think> {stored_replies.HEURISTIC} \U0001f600 so be it."
    marked = page.evaluate(
        "[...document.querySelectorAll('article.chosen mark.heuristic')].map(each => each.textContent).join('')"
    )
    assert (
        marked == stored_replies.HEURISTIC
    )  # behind a character that a script counts as two, and cut by what is searched
    assert page.inner_text("article.chosen mark.hit") == "usual sort"
    assert page.evaluate("document.querySelectorAll('script').length") == 2
    assert page.query_selector("main b, #list b") is None


def test_keys_lead_through_the_list(replies: Path, opened: Open) -> None:
    page = shown(opened(replies), "model=tiny&benchmark=restricted")
    for key, request in (("j", 0), ("j", 1), ("j", 2), ("k", 1)):
        page.keyboard.press(key)
        page.wait_for_timeout(100)
        assert f"request {request} of restricted" in page.inner_text("main .asked")
    page.keyboard.press("/")
    page.keyboard.type("jk")
    assert page.input_value("#q") == "jk"
    assert count(page).startswith("0 replies")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.wait_for_timeout(100)
    assert "open=" not in page.url


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_on_a_phone_nothing_is_wider_than_the_screen(replies: Path, opened: Open, colours: str) -> None:
    page = opened(replies, 390, 844)
    page.emulate_media(color_scheme=colours)
    for fragment in (
        "",
        f"{TARGET}&open=tiny/restricted/restricted-1",
        "replies=any&open=tiny/restricted/restricted-1",
    ):
        page = shown(page, fragment)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not page.is_visible("#list")
    page.click("text=← all requests")
    page.wait_for_timeout(100)
    assert page.is_visible("#list")
    background, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert (background == "rgb(255, 255, 255)") == (colours == "light")
    assert background != ink


def test_fifty_thousand_replies_are_one_small_file_and_a_list_that_grows(tmp_path: Path, opened: Open) -> None:
    path = written(tmp_path, 2100)
    assert path.stat().st_size < 3_000_000
    page = shown(opened(path), "")
    assert count(page) == "50,400 replies to 12,600 requests, of 52,500 replies"
    listed = len(page.query_selector_all("#list a"))
    assert 60 <= listed <= 240
    page.evaluate("document.querySelector('#list .end').scrollIntoView()")
    page.wait_for_function("before => document.querySelectorAll('#list a').length > before", arg=listed)
    page.fill("#q", "request 2099 of sums")
    assert count(page) == "8 replies to 2 requests, of 52,500 replies"
