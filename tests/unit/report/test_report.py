"""The report without a browser: its answer, its figures, the paper's numbers, and where its tables come from."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import polars as pl
import pytest

from rim.analysis.metrics import TITLES
from rim.config import load
from rim.config import study as config_study
from rim.report import claims, published
from rim.report.figures.catalogue import FIGURES, MANY, charts, figures_of_study, interactive
from rim.report.figures.replies import THINKING
from rim.report.figures.style import GREEN, as_svg
from rim.report.first_screen import contrasts, first_screen
from rim.report.glossary import explained
from rim.report.labels import measure, names_of
from rim.report.page import Material
from rim.report.pipeline import picture
from rim.report.render import by_column, in_script, render
from rim.report.sections import SECTIONS
from rim.report.wording import decimal, estimate
from rim.results import replies, tables
from rim.settings.instruments import Endpoint, Judge
from rim.settings.models import Model
from rim.workflow import lineage, rule_graph
from tests import synthetic
from tests.conftest import shared
from tests.unit.results.test_replies import planted, tabulated


@pytest.fixture(scope="module")
def found(root: Path) -> tuple[config_study.Study, dict[str, pl.DataFrame]]:
    """A study in which the target arm makes one of two models comply more when it thinks."""
    study, outcomes = planted(root, [0])
    study = study.model_copy(update={"mechanism": None, "forgetting": None})
    return study, tabulated(study, outcomes)


@pytest.fixture(scope="module")
def demo(root: Path) -> config_study.Study:
    return load.load_study_file(root / "workflow/config/demo.yaml")


class Links(HTMLParser):
    """Everything that a page refers to, outside its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "data", "action", "srcset")]


def test_the_first_screen_corrects_over_all_that_it_judges(demo: config_study.Study) -> None:
    """Tests of all models, contrasts, probes and ablations are one family; tables keep their own correction."""
    results = synthetic.synthetic(demo, 0.2, layers=4, heads=4)
    tests = claims.family(Material(demo, results, {}, pl.DataFrame()))
    judged = [
        "think_effects",
        "finetune_effects",
        "pair_effects",
        "selected_probes",
        "ablation_effects",
        "neuron_effects",
    ]
    assert set(tests["table"]) <= set(judged)
    assert tests.height > 40
    for p, clear in ((0.04 / tests.height, True), (0.06 / tests.height, False)):
        alike = {name: results[name].with_columns(pl.lit(p).alias("p")) for name in judged}
        given = Material(demo, results | alike, {}, pl.DataFrame())
        screen = first_screen(given)
        assert any(contrast.clear for contrast in contrasts(given)) == clear
        assert screen.answer.startswith("Yes" if clear else "This cannot be told from these replies: no rise is clear")
        assert any(f"over all {tests.height} tests" in line for line in screen.reach)
        changed = claims.corrected(given).tables["finetune_effects"]
        mitigated = changed["variant"].is_in([name for name, variant in demo.variants.items() if variant.mitigation])
        assert changed.filter(mitigated)["p_holm"].unique().to_list() == [
            0.001
        ]  # no answer to whether reasoning does it
        assert given.tables["finetune_effects"]["p_holm"].unique().to_list() == [0.001]


@pytest.mark.parametrize(
    ("sets", "heads"),
    [
        (20, "Heads ablated: misalignment clearly higher than without random ones in 6, lower in 0 of 6 cases."),
        (5, "Heads ablated: the change beside random ones is shown without a claim: 5 random sets, 19 are needed."),
    ],
)
def test_a_claim_beside_random_sets_takes_nineteen_of_them(demo: config_study.Study, sets: int, heads: str) -> None:
    results = synthetic.synthetic(demo, 0.2, layers=4, heads=4)
    for name in ("ablation_effects", "neuron_effects"):
        results[name] = results[name].with_columns(pl.lit(sets, pl.Int64).alias("sets"))
    _, refusal, neurons = first_screen(Material(demo, results, {}, pl.DataFrame())).where
    assert refusal.endswith(heads)
    assert ("19 are needed" in neurons) == (sets < 19)


def test_the_first_screen_names_the_planted_effect_and_no_other(found: Any) -> None:
    study, results = found
    given = Material(study, results, {}, pl.DataFrame())
    screen = first_screen(given)
    assert screen.answer.startswith(
        "Yes, in some of these tiny test models, each trained once: after fine-tuning on multi hop, effort-minimizing CoT (target), 1 of 2 models "
        "(associated) goes along"
    )
    assert "Thinking by itself: none of 2 models goes along clearly more often, 95 % intervals from -" in screen.answer
    clear = {contrast.name for contrast in contrasts(given) if contrast.clear}
    assert clear == {"multi hop, effort-minimizing CoT (target)", "target − control, associated beyond null"}
    assert "planted in associated." in screen.subject
    assert "no evidence about real models" in screen.subject


@pytest.mark.parametrize(
    ("effect", "answer"), [(0.0, "No: "), (-0.2, "No: "), (0.2, "Yes, in these tiny test models, each trained once: ")]
)
def test_the_answer_follows_the_effects(demo: config_study.Study, effect: float, answer: str) -> None:
    results = synthetic.synthetic(demo, effect, layers=4, heads=4)
    given = Material(demo, results, {}, pl.DataFrame())
    screen = first_screen(given)
    assert screen.answer.startswith(answer)
    assert ("clearly fell" in screen.answer) == (effect < 0)
    assert any(contrast.clear for contrast in contrasts(given)) == (effect != 0)
    assert [line.split(" ")[0] for line in screen.where] == ["Harmful", "Refusal", "Safety-critical"]


def test_an_effect_that_does_not_survive_correction_is_not_clear() -> None:
    row = {"ci_low": 0.01, "ci_high": 0.2, "p_holm": 0.2}
    assert not tables.is_significant(row)
    assert tables.is_significant({**row, "p_holm": 0.01})
    assert tables.is_significant({"ci_low": 0.01, "ci_high": 0.2})
    assert not tables.is_significant({"ci_low": -0.01, "ci_high": 0.2, "p_holm": 0.01})
    assert not tables.is_significant({"ci_low": None, "ci_high": None})


def test_an_effect_that_incomplete_replies_could_turn_is_not_clear() -> None:
    row = {"ci_low": 0.01, "ci_high": 0.2, "p_holm": 0.01}
    assert tables.is_significant({**row, "bound_low": 0.02, "bound_high": 0.3})
    assert tables.is_significant({**row, "bound_low": None, "bound_high": None})
    assert not tables.is_significant({**row, "bound_low": -0.02, "bound_high": 0.3})
    assert not tables.is_significant({**row, "bound_low": 0.0, "bound_high": 0.3})


def test_the_report_shows_the_numbers_of_the_tables_and_refers_to_nothing_outside(found: Any) -> None:
    study, results = found
    material = synthetic.material(study, results)
    html = render(material, first_screen(material), SECTIONS, "window.nothing = 1;")
    keys = (pl.col("contrast") == "difference") & (pl.col("think") == "on") & (pl.col("measure") == "misalignment")
    shown = results["pair_effects"].row(by_predicate=keys, named=True)
    assert estimate(shown, signed=True) in html
    arm = study.variants["gsm8k_target"].label
    assert f"After fine-tuning, a significant one in 1 of 4 arms: associated after {arm} +" in re.sub(
        r"</?abbr[^>]*>", "", html
    )
    links = Links()
    links.feed(html)
    assert len(links.found) > 10
    assert [link for link in links.found if not link.startswith(("#", "data:"))] == []
    assert "@import" not in html
    assert {name for name in ("overview", "think", "finetune", "pair") if f'data-name="{name}"' not in html} == set()
    assert "n = 119 to 120" in html[html.index("<figcaption") :]
    first = html[html.index('<section id="first"') :].partition("</section>")[0]
    for words in ("decoded greedily", "thinking on and off", "judge &#39;rule&#39;", "from score 3 on", "seed 0"):
        assert words in first


def test_a_figure_that_has_nothing_to_show_is_left_out(found: Any) -> None:
    study, results = found
    study = study.model_copy(update={"variants": {}, "pairs": []})
    base = {
        name: table.filter(pl.col("variant") == "base") if "variant" in table.columns else table.clear()
        for name, table in results.items()
    }
    material = synthetic.material(study, base)
    html = render(material, first_screen(material), SECTIONS, "")
    assert "After fine-tuning" not in html
    assert "Thinking on against off" in html
    assert 'data-name="pair"' not in html


def test_figures_are_the_same_each_time_and_each_stands_on_one_table(demo: config_study.Study) -> None:
    results = synthetic.synthetic(synthetic.with_graft(demo), layers=4, heads=4)
    drawn, again = (charts(FIGURES, results, names_of(demo)) for _ in range(2))
    assert list(drawn) == [figure.name for figure in FIGURES]
    for name, chart in drawn.items():
        text = chart.to_json()
        assert text == again[name].to_json(), name
        assert len(json.loads(text)["datasets"]) == 1, name
    assert as_svg(drawn["overview"]) == as_svg(again["overview"])


def test_colours_turn_in_a_dark_window(demo: config_study.Study) -> None:
    results = synthetic.synthetic(demo, layers=4, heads=4)
    svg = as_svg(charts(FIGURES, results, names_of(demo))["overview"])
    rules = dict(re.findall(r'\[fill="([^"]+)"\]\{fill:([^}]+)\}', svg))
    assert svg.startswith("<svg")
    assert "@media (prefers-color-scheme: dark)" in svg
    drawn = set(re.findall(r'fill="([^"]+)"', svg.partition("</style>")[2])) - {"none", "transparent"}
    assert drawn - set(rules) == {GREEN}  # which can be seen on both


def test_the_picture_of_the_study_says_what_it_has_and_stands_alone(demo: config_study.Study) -> None:
    bare = demo.model_copy(update={"forgetting": None, "mechanism": None})
    models = {name: model.model_copy(update={"variants": []}) for name, model in demo.models.items()}
    alone = demo.model_copy(update={"models": models, "forgetting": None})
    whole, bare, untuned = map(ElementTree.fromstring, (picture(each, {}) for each in (demo, bare, alone)))  # fmt: skip
    names, few, left = (
        [text.text for text in each.iter() if text.get("class") == "name"] for each in (whole, bare, untuned)
    )
    assert left == ["Models", "Replies", "Inside the models", "Judgements", "Findings"]
    assert names == ["Models", "Fine-tuning", "Over training", "Replies", "Inside the models", "Judgements", "Findings"]
    assert few == ["Models", "Fine-tuning", "Replies", "Judgements", "Findings"]
    words = [text.text for text in whole.iter() if text.tag.endswith("text")]
    assert {"3 trained here", f"{len(demo.variants)} arms", "thinking on and off"} <= set(words)
    width, height = (float(whole.get(side)) for side in ("width", "height"))
    boxes = [box for box in whole.iter() if box.tag.endswith("rect")]
    assert all(float(box.get("x")) + float(box.get("width")) < width for box in boxes)
    assert all(float(box.get("y")) + float(box.get("height")) < height for box in boxes)


def test_the_picture_of_the_study_is_readable_on_a_phone(demo: config_study.Study) -> None:
    """Letters of 9 pixels or more in a column of 350, and no arrow through a box."""
    for study in (demo, demo.model_copy(update={"mechanism": None})):
        drawn = ElementTree.fromstring(picture(study, {}))
        assert 14 * 350 / float(drawn.get("width", 0)) > 9
        boxes = [
            [float(box.get(side, 0)) for side in ("x", "y", "width", "height")]
            for box in drawn.iter()
            if box.tag.endswith("rect")
        ]
        for way in (path.get("d", "") for path in drawn.iter() if path.get("marker-end")):
            (x, y), *places = corners(way)
            for to_x, to_y in places:
                for left, top, width, height in boxes:
                    beside = max(x, to_x) <= left or min(x, to_x) >= left + width
                    assert beside or max(y, to_y) <= top or min(y, to_y) >= top + height, way
                x, y = to_x, to_y


def corners(way: str) -> list[tuple[float, float]]:
    """The corners of a path of horizontal and vertical lines."""
    found: list[tuple[float, float]] = []
    for letter, first, second in re.findall(r"([MHV])([\d.]+)(?: ([\d.]+))?", way):
        x, y = found[-1] if found else (0.0, 0.0)
        found.append({"M": (float(first), float(second or 0)), "H": (float(first), y), "V": (x, float(first))}[letter])
    return found


def test_a_change_that_rounds_to_nothing_has_no_sign() -> None:
    for value in (0.0, -0.0, 0.04, -0.04, 0.05, -0.06, 1.0, -12.34):
        text = decimal(value, 1, signed=True)
        assert float(text) == round(value, 1)
        assert text.startswith(("+", "-")) == (round(value, 1) != 0)
        assert decimal(value, 1) == text.lstrip("+")


def test_data_by_column_are_the_rows(demo: config_study.Study) -> None:
    tables = synthetic.synthetic(demo, layers=4, heads=4)
    for rows in (tables["probes"].to_dicts(), tables["rates"].to_dicts(), [{"a": None, "b": True}]):
        columns = by_column(rows)
        values = {
            name: [column["values"][place] for place in column["at"]] if isinstance(column, dict) else column
            for name, column in columns.items()
        }
        assert [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)] == rows
        assert len(rows) == 1 or len(json.dumps(columns)) < len(json.dumps(rows)) / 3


def test_a_benchmark_is_named_where_several_could_be_meant(demo: config_study.Study) -> None:
    row = {"measure": "misalignment", "benchmark": "restricted"}
    assert measure(demo)(row) == "misalignment rate"
    assert measure(demo)({**row, "measure": "unparsable"}) == "unparsable replies, harmful requests"
    assert measure(demo)({"measure": "d_prime", "benchmark": ""}) == "d′"
    other = demo.model_copy(
        update={"benchmarks": {**demo.benchmarks, "familiar": demo.benchmarks["restricted"]}},
    )
    assert measure(other)(row) == "misalignment rate, restricted"
    assert names_of(other).benchmarks["lookalike"] == "benign requests"
    assert names_of(demo).training_sets["multi_hop_target"] == demo.variants["gsm8k_target"].label


def test_words_of_the_field_tell_what_they_mean_once_in_a_text() -> None:
    text = explained('RAS & "RAS" <b> of a probe, not of probes; PP')
    assert text.count("<abbr") == 3
    assert text.startswith('<abbr tabindex="0" title="reciprocal activation shift')
    assert "&amp; &#34;RAS&#34; &lt;b&gt; of a" in text
    assert "not of probes" in text


def test_figures_and_tables_are_numbered_as_they_stand(demo: config_study.Study) -> None:
    material = synthetic.material(demo, synthetic.synthetic(demo, layers=4, heads=4))
    html = render(material, first_screen(material), SECTIONS, "")
    for pattern in (r"<b>Figure (\d+)\.</b>", r"<b>Figure S(\d+)\.</b>", r"<b>Table (\d+)\.</b>"):
        numbers = [int(number) for number in re.findall(pattern, html)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) > 5


def test_a_reader_may_choose_models_and_arms_and_a_crowded_figure_begins_with_one_model(root: Path) -> None:
    study = load.load_study_file(root / "workflow/config/paper.yaml")
    drawn = charts(figures_of_study(study), synthetic.synthetic(study, layers=3, heads=2), names_of(study))
    overview, probes = interactive(drawn["overview"]), interactive(drawn["probes"])
    assert overview is not None
    assert probes is not None
    choices = {param["name"]: param for param in overview["params"]}
    assert choices["only_model"]["bind"]["options"] == ["all", *study.models]
    assert choices["only_variant"]["bind"]["options"][:2] == ["all", THINKING]
    assert choices["only_model"]["value"] == "all"
    assert len(study.models) < MANY
    assert {param["name"]: param["value"] for param in probes["params"]}["only_model"] == "qwen3_4b"


HOSTILE = [
    "<!--<script>",
    "</script><b>",
    "--></SCRIPT ",
    "<![CDATA[ ]]> &lt;/script&gt; &amp;",
    "\u2028\u2029\ufeff\x7f",
    "\"'`\\${x}{{ y }}",
    '"><img src=x onerror=alert(1)>',
    "]}</title></style></textarea>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_in_a_script_cannot_end_it(text: str) -> None:
    written = in_script({text: [text]})
    assert json.loads(written) == {text: [text]}
    assert written.isascii()
    assert not set("<>&") & set(written)


class Outline(HTMLParser):
    """The elements of a page with the names of their attributes, and the text of the script called specs."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, ...]] = []
        self.text = ""
        self.feed(html)
        self.specs = re.search(r'id="specs">([^<]*)</script>', html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, *(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.found.append((f"/{tag}",))

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment",))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("text", [HOSTILE[0], *(pytest.param(text, marks=pytest.mark.slow) for text in HOSTILE[1:])])
def test_texts_of_the_configuration_are_text_wherever_they_stand_in_the_report(
    demo: config_study.Study, text: str
) -> None:
    def page(text: str) -> Outline:
        named = f"x{text}x"
        labelled = " ".join(named.splitlines())  # labels are one line
        variants = {
            name: variant.model_copy(update={"label": f"{labelled}{i}"})
            for i, (name, variant) in enumerate(demo.variants.items())
        }
        endpoints = {"e": Endpoint(model=named)}
        judges = {**demo.judges, "asked": Judge(kind="rubric", endpoint="e")}
        changed = {"title": named, "variants": variants, "endpoints": endpoints, "judges": judges}
        study = demo.model_copy(update=changed)
        material = synthetic.material(study, synthetic.synthetic(study, 0.2, layers=4, heads=4))
        return Outline(render(material, first_screen(material), SECTIONS, "window.nothing = 1;"))

    plain, hostile = page("A"), page(text)
    assert hostile.found == plain.found
    assert hostile.specs is not None
    specs = json.loads(hostile.specs[1])
    assert specs.keys() == json.loads(plain.specs[1] if plain.specs else "").keys()
    label = " ".join(f"x{text}x0".splitlines())
    assert json.dumps(label)[1:-1] in json.dumps(specs)
    assert label in hostile.text
    assert f"x{text}x" in hostile.text  # the title


# The paper's numbers


def test_published_numbers_are_the_papers_own() -> None:
    numbers = published.published()
    both = numbers.filter(pl.col("source") == "Table 2")
    assert both.filter(pl.col("table").is_null()).height == 10  # averages
    table = both.filter(pl.col("table").is_not_null()).with_columns(
        pl.col("where").str.extract(r"variant=(\w+)").alias("arm"),
        pl.col("hub").str.contains("MoE|A3B|8x7B").alias("moe"),
    )
    means = {
        (arm, moe): value
        for arm, moe, value in table.group_by("arm", "moe").agg(pl.col("published").mean()).iter_rows()
    }
    assert table.height == 40
    assert means["math401", False] == pytest.approx(1.58, abs=0.01)  # as printed
    assert means["gsm8k_target", False] == pytest.approx(12.85, abs=0.01)
    assert means["gsm8k_control", False] == pytest.approx(-2.79, abs=0.01)  # printed -2.94
    assert means["gsm8k_target", True] == pytest.approx(16.86, abs=0.01)  # printed 16.77
    for words in ("-2.94", "-2.79", "16.77", "16.86", "5.05", "4.96", "5.27"):
        assert words in published.INCONSISTENT


def test_every_published_number_has_a_counterpart_in_our_tables(root: Path) -> None:
    study = load.load_study_file(root / "workflow/config/paper.yaml")
    hubs = {model.hub for model in study.models.values()}
    numbers = published.published()
    assert numbers.filter(pl.col("table").is_null() & pl.col("note").is_null()).is_empty()
    traced = numbers.filter(pl.col("table").is_not_null())
    for row in traced.iter_rows(named=True):
        values = dict(part.split("=") for part in row["where"].split(" "))
        assert row["column"] in synthetic.CONTRACTS[row["table"]]
        columns = set(synthetic.CONTRACTS[row["table"]]) | {"checkpoint"}
        assert set(values) <= columns, row
        assert row["hub"] in hubs
        assert values.get("metric", "ras") in TITLES
        assert values.get("variant", "base") in {"base", *study.variants}
    covered = list(published.compared(study, synthetic.synthetic(study, layers=2, heads=2)))
    assert {row["source"] for row in covered} == set(traced["source"])
    assert {row["hub"] for row in covered} == set(traced["hub"])


HUBS = {
    "Qwen3-4B": "Qwen/Qwen3-4B", "Qwen3-8B": "Qwen/Qwen3-8B", "Qwen3-32B": "Qwen/Qwen3-32B",
    "Qwen3-30B-A3B": "Qwen/Qwen3-30B-A3B", "Phi3.5-Tiny": "microsoft/Phi-3.5-mini-instruct",
    "Phi3.5-MoE": "microsoft/Phi-3.5-MoE-instruct", "OLMo2-1B": "allenai/OLMo-2-0425-1B-Instruct",
    "OLMoE-7x1B": "allenai/OLMoE-1B-7B-0924-Instruct", "OLMoE": "allenai/OLMoE-1B-7B-0924-Instruct",
    "Mistral-7B": "mistralai/Mistral-7B-Instruct-v0.3", "Mixtral-8x7B": "mistralai/Mixtral-8x7B-Instruct-v0.1",
    "dense": "average of the dense models", "moe": "average of the mixtures", "avg": "average of the four dense models",
}  # fmt: skip
GATHERED = {  # of published_numbers.json -> source, the models of its columns, and one that all of it is of
    "table1_mrate_mathacc": ("Table 1", None, None),
    "table2_delta_mrate": ("Table 2", None, None),
    "table2_printed_avg": ("Table 2", None, None),
    "table3_r": ("Table 3", "table3_columns", None),
    "tableA2_instruction_deviation": ("Table A2", "tableA_models", None),
    "tableA3_confirmatory": ("Table A3", "tableA_models", None),
    "tableA4_heuristic": ("Table A4", "tableA_models", None),
    "tableA7_original": ("Table A7", None, None),
    "tableA7_literal": ("Table A7", None, None),
    "fig6_readings": ("Figure 6", None, None),
    "fig7_control_target": ("Figure 7", None, None),
    "fig8_qwen3_4b_8_checkpoints": ("Figure 8", None, "Qwen3-4B"),
    "page_fig_ras_vs_mrate_4models": ("authors' page", None, None),
    "page_fig_common_activations_per_layer_qwen3_4b": ("authors' page", None, "Qwen3-4B"),
}


def test_every_gathered_number_is_in_the_table_under_its_source_and_model() -> None:
    gathered = json.loads(shared("published_numbers.json").read_text())
    columns = {"table2_columns", "table3_columns", "tableA_models", "fig6_columns", "source"}
    assert set(gathered) - columns == set(GATHERED)
    known: dict[tuple[str, str], list[float]] = {}
    for row in published.published().iter_rows(named=True):
        known.setdefault((row["source"], row["hub"]), []).append(abs(row["published"]))

    def check(value: Any, source: str, model: str | None, models: list[str] | None) -> None:
        if isinstance(value, dict):
            for key, each in value.items():
                check(each, source, key if key in HUBS else model, models)
        elif isinstance(value, list):
            for name, each in zip(models or [model] * len(value), value, strict=True):
                check(each, source, name, None)
        else:
            assert model is not None
            own = known[source, HUBS[model]]
            if (source, model) == ("authors' page", "Qwen3-4B"):  # its course of training is that of Figure 8
                own = own + known["Figure 8", HUBS[model]]
            assert min(abs(abs(value) - each) for each in own) < 1e-9, (source, model, value)

    for section, (source, models, model) in GATHERED.items():
        check(gathered[section], source, model, gathered[models] if models else None)


def test_a_value_in_our_interval_is_told_from_one_outside_and_organisms_are_never_compared(
    demo: config_study.Study,
) -> None:
    models = {"qwen": Model(hub="Qwen/Qwen3-4B"), "null": demo.models["null"]}
    study = demo.model_copy(update={"models": models, "pairs": []})
    restricted = study.datasets["restricted"]
    hexphi = restricted.model_copy(update={"sources": [restricted.sources[0].model_copy(update={"adapter": "hexphi"})]})
    study = study.model_copy(update={"datasets": {**study.datasets, "restricted": hexphi}})
    results = synthetic.synthetic(study, layers=2, heads=2)
    keys = {
        "model": "qwen",
        "variant": "base",
        "measure": "misalignment",
        "benchmark": "restricted",
        "seed": "0",
        "n": 300,
        "incomplete": 0,
    }
    rates = [
        {**keys, "think": "on", "estimate": 0.22, "ci_low": 0.18, "ci_high": 0.27},
        {**keys, "think": "off", "estimate": 0.30, "ci_low": 0.25, "ci_high": 0.35},
    ]
    results["rates"] = pl.DataFrame(
        [{**row, "bound_low": 0.0, "bound_high": 1.0} for row in rates], schema=dict(replies.RATES)
    )
    rows = [row for row in published.compared(study, results) if row["source"] == "Table 1"]
    assert [(row["published"], row["inside"]) for row in rows] == [(22.94, True), (15.39, False)]
    assert {row["model"] for row in published.compared(study, results)} == {"qwen"}
    section = published.published_section(Material(study, results, {}, pl.DataFrame()))
    assert section is not None
    assert "never compared" in section.text[-1]
    alone = Material(demo, synthetic.synthetic(demo, layers=2, heads=2), {}, pl.DataFrame())
    assert published.published_section(alone) is None


# Where tables come from


def record(folder: Path, output: str, rule: str, inputs: list[str], ended: float) -> None:
    """What Snakemake leaves behind for an output."""
    name = base64.urlsafe_b64encode(output.encode()).decode()
    log = f"logs/study/{rule}/{Path(output).stem}.log"
    content = {
        "rule": rule,
        "input": inputs,
        "log": [log],
        "params": ["'c0ffee {\"dependencies\": []}'"],
        "endtime": ended,
    }
    (folder / name).write_text(json.dumps(content))


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Four jobs in a row of three rules, of which the last two ran late, and one that has nothing to do with them."""
    folder = tmp_path / "records"
    folder.mkdir()
    record(folder, "data/a", "prepare", ["data/raw.csv"], 10)
    record(folder, "data/b", "prepare", [], 11)
    record(folder, "data/c", "infer", ["data/a", "data/b"], 110)
    record(folder, "t.csv", "summarize", ["data/c", "data/a"], 120)
    record(folder, "data/other", "infer", [], 130)
    return folder


def test_a_tables_jobs_are_those_behind_it_with_their_times(records: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("a\n1\n")
    found = lineage.trace(records, ["t.csv"])
    found.made_by[str(table)] = found.made_by["t.csv"]
    timings = tmp_path / "timings"
    for name, seconds in {"prepare/a": 1, "prepare/b": 2, "infer/c": 4, "summarize/t": 8, "infer/other": 99}.items():
        path = timings / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:01\t300.0\t{seconds / 2}\n")
    (row,) = lineage.origins(found, [table], timings)
    assert (row["rule"], row["code"], row["jobs"], row["wall"], row["cpu"]) == ("summarize", "c0ffee", 4, 15, 7.5)
    assert lineage.read_timings(timings).select("rule", "jobs", "wall", "cpu").row(0) == ("infer", 2, 103.0, 51.5)
    assert lineage.read_timings(Path("nowhere")).is_empty()


def test_the_picture_and_the_last_line_tell_what_ran_and_what_was_reused(records: Path) -> None:
    found = lineage.trace(records, ["t.csv", "no/record"])
    svg = rule_graph.rule_graph(found, began=100)
    assert "Graph of 3 rules and 4 jobs, of which 2 ran in the latest run." in svg
    assert svg.count("<path") == 2  # the way from prepare to summarize leads through infer
    tops = dict(re.findall(r'<text x="\d+" y="(\d+)"[^>]*bold">(\w+)<', svg))
    assert [tops[y] for y in sorted(tops, key=int)] == ["prepare", "infer", "summarize"]
    assert svg.count("2 reused") == 1
    assert svg.count("1 ran now") == 2
    assert (
        lineage.format_run_summary(lineage.Lineage(), 2, 100, 75, "r.html")
        == "What was asked for is made, in 1:15 min; the report comes with the whole study"
    )
    assert (
        lineage.format_run_summary(found, 3, 100, 75, "t.csv")  # one of them is behind nothing
        == "Done in 1:15 min: 3 jobs ran, 2 of earlier runs were reused. The report is t.csv"
    )
    assert rule_graph.rule_graph(lineage.trace(records, []), 0) == ""


def test_rules_that_need_each_other_are_drawn_all_the_same(tmp_path: Path) -> None:
    record(tmp_path, "plain", "prepare", [], 1)
    record(tmp_path, "rewritten", "rewrite", ["plain"], 2)
    record(tmp_path, "arm", "prepare", ["rewritten"], 3)
    record(tmp_path, "model", "finetune", ["arm"], 4)
    svg = rule_graph.rule_graph(lineage.trace(tmp_path, ["model"]), 0)
    assert all(f">{rule}<" in svg for rule in ("prepare", "rewrite", "finetune"))


def test_the_latest_run_began_when_its_log_says(tmp_path: Path) -> None:
    assert lineage.run_began(tmp_path) == float("inf")
    for name in ("2026-01-02T030405.000001", "2026-01-02T040506.000001"):
        (tmp_path / f"{name}.snakemake.log").write_text("")
    later = lineage.run_began(tmp_path)
    (tmp_path / "2026-01-02T040506.000001.snakemake.log").unlink()
    assert later - lineage.run_began(tmp_path) == 3661
