"""The report as its readers see it, in a real browser (skipped where there is none)."""

import csv
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from rim.config.study import Study
from rim.report.figures.catalogue import FIGURES
from rim.settings.models import Model
from tests.browser.conftest import shipped, written

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
Open = Callable[..., Any]
MARKS = ".live svg g[role=graphics-symbol] path, .live svg .mark-symbol path, .live svg .mark-rect path"


def drawn(page: Any) -> dict[str, int]:
    """Open all folds, bring every figure into view, wait until it is drawn, and count its marks."""
    page.evaluate("document.querySelectorAll('main details').forEach(details => { details.open = true; })")
    counts = {}
    for figure in page.query_selector_all("figure[data-name]"):
        figure.scroll_into_view_if_needed()
        page.wait_for_function("figure => figure.classList.contains('drawn')", arg=figure, timeout=30_000)
        counts[figure.get_attribute("data-name")] = len(figure.query_selector_all(MARKS))
    return counts


def reach(page: Any) -> tuple[float, float]:
    """How far down the first screen goes, and how wide the page is, in pixels."""
    found: list[float] = page.evaluate(
        "[document.getElementById('first').getBoundingClientRect().bottom, document.documentElement.scrollWidth]"
    )
    return found[0], found[1]


def test_every_figure_is_drawn_where_a_label_looks_like_a_script(tmp_path: Path, opened: Open) -> None:
    study = shipped("demo", title="<!--<script>")
    labelled = {
        name: each.model_copy(update={"label": f"{name} <!--<script>"}) for name, each in study.variants.items()
    }
    counts = drawn(opened(written(tmp_path, study.model_copy(update={"variants": labelled}))))
    assert min(counts.values()) > 0


def test_every_figure_is_drawn_and_none_is_an_empty_box(demo: Path, opened: Open) -> None:
    counts = drawn(opened(demo))
    assert set(counts) == {figure.name for figure in FIGURES} - {"method_grades"}
    assert {name for name, marks in counts.items() if marks < 3} == set()


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_the_first_screen_holds_the_answer(demo: Path, opened: Open, width: int, height: int) -> None:
    page = opened(demo, width, height)
    assert reach(page)[0] <= height
    assert page.inner_text(".answer").startswith("Yes, in these tiny test models, each trained once: ")
    drawn(page)
    assert reach(page)[1] <= width  # wide figures and tables scroll by themselves


def test_the_report_is_small_and_its_first_figure_is_there_before_any_is_drawn(demo: Path, opened: Open) -> None:
    assert demo.stat().st_size < 4_000_000
    page = opened(demo)
    page.wait_for_function("document.querySelector('.still').complete")
    assert page.evaluate("document.querySelector('.still').naturalWidth") > 300


CUT = """figure => {
  const box = figure.querySelector(".live svg").getBoundingClientRect();
  const marks = [...figure.querySelectorAll(".live svg .mark-symbol path, .live svg .mark-rect path, .live svg .mark-rule line, .live svg text")];
  const past = marks.filter(mark => mark.getAttribute("opacity") !== "0").map(mark => mark.getBoundingClientRect()).map(at =>
    Math.max(box.left - at.left, box.top - at.top, at.right - box.right, at.bottom - box.bottom));
  return Math.max(...past);
}"""  # by how many pixels the farthest mark or word lies outside its drawing
SETTLED = "figure => new Promise(done => figure.view.runAsync().then(() => requestAnimationFrame(() => requestAnimationFrame(done))))"


@pytest.mark.parametrize("width", [1280, 390])
def test_a_figure_keeps_its_right_size_after_every_filter(demo: Path, opened: Open, width: int) -> None:
    page = opened(demo, width)
    drawn(page)
    tried = 0
    for figure in page.query_selector_all("figure[data-name]"):
        name = figure.get_attribute("data-name")
        for select in [None, *figure.query_selector_all("select")]:
            options = (
                [None]
                if select is None
                else [each.get_attribute("value") for each in select.query_selector_all("option")]
            )
            first = select and select.input_value()
            for option in options:
                if select is not None:
                    select.select_option(option)
                    figure.evaluate(SETTLED)
                size = figure.query_selector(".live svg").bounding_box()
                assert figure.query_selector_all(MARKS), (name, option)  # nothing is left blank
                assert figure.evaluate(CUT) < 2, (name, option)
                assert size["width"] <= width or width < 600, (name, option)
                tried += 1
            if select is not None:
                select.select_option(first)
                figure.evaluate(SETTLED)
    assert tried > 100
    assert reach(page)[1] <= width


def test_the_article_is_short_and_its_details_are_behind_folds(demo: Path, opened: Open) -> None:
    page = opened(demo)
    shown = [figure for figure in page.query_selector_all("figure[data-name]") if figure.is_visible()]
    for figure in shown:
        figure.scroll_into_view_if_needed()
        page.wait_for_function("figure => figure.classList.contains('drawn')", arg=figure, timeout=30_000)
    assert 10 <= len(shown) <= 16
    assert page.evaluate("document.documentElement.scrollHeight") < 11 * 800
    assert not any(table.is_visible() for table in page.query_selector_all("table"))


def test_it_is_dark_where_the_window_is(demo: Path, opened: Open) -> None:
    page = opened(demo)
    page.emulate_media(color_scheme="dark")
    drawn(page)
    lightness = "style => style.match(/[0-9.]+/g).slice(0, 3).reduce((sum, each) => sum + Number(each), 0) / 3"
    paper = page.evaluate(f"({lightness})(getComputedStyle(document.body).backgroundColor)")
    words = page.evaluate(
        f"[...document.querySelectorAll('.live svg text')].map(text => ({lightness})(getComputedStyle(text).fill))"
    )
    assert paper < 50
    assert min(words) > 130
    hollow = page.evaluate(
        f"[...document.querySelectorAll('.live svg path[fill=white]')].map(mark => ({lightness})(getComputedStyle(mark).fill))"
    )
    assert set(hollow) <= {paper}


def test_contents_close_behind_what_was_chosen(demo: Path, opened: Open) -> None:
    page = opened(demo)
    page.click("nav summary")
    page.click("nav a[href='#finetune']")
    assert page.evaluate("location.hash") == "#finetune"
    assert not page.is_visible("nav ol")


def test_a_word_tells_what_it_means_where_it_is_tapped(demo: Path, opened: Open) -> None:
    page = opened(demo, 390, 844)
    word = page.query_selector("main abbr")
    word.focus()
    meaning = page.evaluate("getComputedStyle(document.activeElement, '::after').content")
    assert meaning.strip('"') == word.get_attribute("title")


def test_filters_leave_only_what_was_chosen(demo: Path, opened: Open) -> None:
    page = opened(demo)
    drawn(page)
    figure = page.query_selector("figure[data-name=overview]")
    everything = len(figure.query_selector_all(MARKS))
    model, arm, _ = figure.query_selector_all("select")
    model.select_option("null")
    page.wait_for_function(
        "figure => !figure.querySelector('.live svg').textContent.includes('associated')", arg=figure
    )
    some = len(figure.query_selector_all(MARKS))
    arm.select_option("literal questions (no reasoning)")
    page.wait_for_function("figure => !figure.querySelector('.live svg').textContent.includes('careful')", arg=figure)
    assert 0 < len(figure.query_selector_all(MARKS)) < some < everything
    model.select_option("all")
    arm.select_option("all")
    page.wait_for_function(f"figure => figure.querySelectorAll('{MARKS}').length == {everything}", arg=figure)


def test_pointing_at_an_estimate_tells_n_and_interval(demo: Path, opened: Open) -> None:
    page = opened(demo)
    drawn(page)
    page.query_selector("figure[data-name=overview] .live svg .mark-symbol path").hover()
    page.wait_for_selector("#vg-tooltip-element.visible")
    told = page.inner_text("#vg-tooltip-element").split()
    assert {"n", "300", "incomplete", "95", "p"} <= set(told)


def test_data_and_drawing_are_one_key_away(demo: Path, opened: Open) -> None:
    page = opened(demo)
    drawn(page)
    with page.expect_download() as data:
        page.focus("figure[data-name=overview] .csv")
        page.keyboard.press("Enter")
    assert data.value.suggested_filename == "overview.csv"
    rows = list(csv.DictReader(StringIO(Path(data.value.path()).read_text())))
    assert {"model", "variant", "n", "incomplete", "estimate", "ci_low", "ci_high"} <= set(rows[0])
    study = shipped("demo")  # thinking in three models; two modes of every arm of each
    assert len(rows) == 3 + 2 * sum(len(study.variants_of(model)) for model in study.models)
    with page.expect_download() as picture:
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
    assert Path(picture.value.path()).read_text().startswith("<svg")


def test_everything_can_be_reached_by_keyboard_and_has_words(demo: Path, opened: Open) -> None:
    page = opened(demo)
    drawn(page)
    reached = set()
    for _ in range(150):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName"))
    assert {"A", "SELECT", "BUTTON"} <= reached
    assert page.evaluate("[...document.images].every(image => image.alt.length > 60)")
    assert page.evaluate("[...document.querySelectorAll('button')].every(button => button.ariaLabel)")
    assert page.evaluate("[...document.querySelectorAll('nav a')].every(link => document.querySelector(link.hash))")


def test_what_is_not_significant_looks_it(tmp_path: Path, opened: Open) -> None:
    page = opened(written(tmp_path, shipped("demo"), effect=0.0))
    drawn(page)
    assert page.inner_text(".answer").startswith("No: ")
    fills = page.evaluate(
        "[...document.querySelectorAll('figure[data-name=overview] .live .mark-symbol.role-mark path')].map(path => path.getAttribute('fill'))"
    )
    assert set(fills) == {"white"}
    assert page.query_selector("#finetune td.unclear") is not None


def test_on_paper_stands_what_is_open_and_nothing_is_left_to_click(demo: Path, opened: Open) -> None:
    page = opened(demo)
    drawn(page)
    page.query_selector("#finetune details.fold").evaluate("fold => { fold.open = false; }")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert not page.is_visible("#finetune table")
    assert page.is_visible("#think table")
    assert not page.is_visible("nav")
    assert not page.is_visible("button")
    assert page.is_visible("figure[data-name=overview] .still")
    assert not page.is_visible("figure[data-name=overview] .live")


def lone() -> Study:
    """One model, one arm, one think mode, and no analysis of its insides."""
    demo = shipped("demo")
    return shipped(
        "demo",
        models={"associated": demo.models["associated"]},
        variants={"gsm8k": demo.variants["gsm8k"]},
        inference=demo.inference.model_copy(update={"think": ["off"]}),
        **dict.fromkeys(("mechanism", "forgetting", "injection")),
        pairs=[],
        annotators={},
    )


def untrained() -> Study:
    models = {name: model for name, model in shipped("demo").models.items() if model.variants is None}
    return shipped("demo", models=models, variants={}, pairs=[], mechanism=None, forgetting=None)


def hub() -> Study:
    demo = shipped("demo")
    return shipped("demo", models={"qwen": Model(hub="Qwen/Qwen3-4B"), "null": demo.models["null"]}, pairs=[])


@pytest.mark.parametrize(
    ("make", "figures"),
    [
        (lone, {"overview", "think", "frontier", "arms", "finetune", "categories"}),
        (untrained, {"overview", "think", "injection", "checklist"}),
        (hub, {figure.name for figure in FIGURES} - {"pair", "method_grades"}),
    ],
)
def test_small_and_odd_studies_stay_readable(
    make: Callable[[], Study], figures: set[str], tmp_path: Path, opened: Open
) -> None:
    path = written(tmp_path, make())
    for width, height in ((1280, 800), (390, 844)):
        page = opened(path, width, height)
        assert reach(page)[0] <= height
        counts = drawn(page)
        assert all(counts.values())
        assert set(counts) == figures
        assert reach(page)[1] <= width


def test_ten_models_in_seven_variants_stay_readable(tmp_path: Path, opened: Open) -> None:
    path = written(tmp_path, shipped("paper"), layers=36, heads=32)
    assert path.stat().st_size < 20_000_000
    for width, height in ((1280, 800), (390, 844)):
        page = opened(path, width, height)
        assert reach(page)[0] <= height
        counts = drawn(page)
        assert set(counts) == {figure.name for figure in FIGURES} - {"pair", "doses", "mitigation", "method_grades"}
        assert all(counts.values())
        assert reach(page)[1] <= width
        probes = page.query_selector("figure[data-name=probes]")
        assert probes.query_selector("select").input_value() == "qwen3_4b"  # one model at a time
        assert "mixtral" not in probes.query_selector(".live svg").text_content()
