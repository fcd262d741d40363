"""The analyses on a model whose refusal direction and refusal head are known, and their files and failures."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import yaml

from rim.analysis import texts
from rim.analysis.ablation import ablated_heads, heads_table, plan, probe_scores
from rim.analysis.cache import Cache, identity, write_cache
from rim.analysis.capture import capture
from rim.analysis.head_effects import MEASURED, effects_table, head_effects
from rim.analysis.heads import attention, find_refusal_heads, matched_sets
from rim.analysis.probes import fit_probes
from rim.config.load import load_study, load_study_file
from rim.core import contracts, tables
from rim.core.conditions import NOTHING_DONE, Condition
from rim.core.errors import UserError
from rim.models import positions
from rim.models.chat import render_prompt
from rim.models.families import ModelView
from rim.results.mechanism import ablation_effects, ablation_rows, measures
from rim.settings.instruments import Judge
from tests.unit import planted

pytestmark = pytest.mark.xdist_group("mechanism")
COUNT = 30  # requests of each kind, half of them for calibration


class Known:
    """The planted model with the tables that the workflow would have made of it."""

    def __init__(self) -> None:
        model, self.tokenizer = planted.build()
        self.view = ModelView(model)
        self.templates = positions.templates(self.tokenizer, "template", ["on", "off"])
        replies, groups = [], []
        for benchmark, bad in (("restricted", True), ("lookalike", False)):
            for i, request in enumerate(planted.requests(COUNT, bad)):
                for think in ("on", "off"):
                    reply = "i cannot" if bad else "sure"
                    reasoning = "so it is ok." if think == "on" else None
                    prompt = render_prompt(self.tokenizer, request, think, "template")
                    keys = {"benchmark": benchmark, "id": f"{benchmark}{i}", "think": think}
                    replies.append({**keys, "seed": 0, **NOTHING_DONE.columns, "prompt": prompt, "reasoning": reasoning, "response": reply.split()[-1],
                                    "finish_reason": "stop", "completion_tokens": 3, "complete": True})  # fmt: skip
                    group = ("fulfilled" if i % 5 == 0 else "refused") if bad else "harmless"
                    split = "calibration" if i % 2 else "evaluation"
                    groups.append({"key": texts.text_key(*keys.values()), **keys, "split": split, "group": group})
        self.responses, self.groups = pl.DataFrame(replies, schema=dict(contracts.RESPONSE)), pl.DataFrame(groups)
        self.rows = texts.probe_texts(self.responses, self.templates)
        self.positions = positions.chosen(self.templates, None)

    def write(
        self,
        folder: Path,
        rows=None,
        batch_size: int = 16,
        shard: int = 512,
        checkpoint: str = "planted",
        code: str = "",
    ) -> Cache:
        bound = identity(checkpoint, self.tokenizer)
        write_cache(self.view, rows or self.rows, self.positions, batch_size, bound, folder, "test", shard, code=code)
        return Cache(folder, **bound)


@pytest.fixture(scope="module")
def known() -> Known:
    return Known()


@pytest.fixture(scope="module")
def cache(known: Known, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return known.write(tmp_path_factory.mktemp("cache") / "all")


def test_positions_lie_where_the_template_puts_them(known: Known) -> None:
    names = ["user_last", "turn_end", "turn_start", "assistant", "think_open", "inner", "think_close", "last"]
    off, on = known.rows[1], known.rows[0]
    tokens = [known.tokenizer.convert_ids_to_tokens(off.ids[off.spans[name][0]]) for name in names]
    assert tokens == [".", "<|im_end|>", "<|im_start|>", "assistant", "<think>", "\n\n", "</think>", "\n\n"]
    words = {name: known.tokenizer.convert_ids_to_tokens(on.ids[slice(*span)]) for name, span in on.spans.items()}
    assert words["last"] == ["\n"]
    assert words["cot_first"] == ["so"]
    assert words["cot"] == ["so", "it", "is", "ok", ".", "\n"]
    assert (words["think_open"], words["think_close"], words["answer"]) == (["<think>"], ["</think>"], ["\n\n"])
    assert "inner" not in on.spans
    assert on.query == on.spans["last"][0]


def test_unfinished_thinking_has_no_end_and_no_thinking_has_no_thought(known: Known) -> None:
    prompt = known.responses["prompt"][0]
    ids, spans = known.templates["on"].thought(prompt, "so it is", closed=False)
    assert spans["cot"] == (len(ids) - 3, len(ids))
    assert not {"think_close", "answer"} & set(spans)
    assert known.templates["on"].thought(prompt, None, closed=True) == known.templates["on"].prompt(prompt)


def test_every_position_has_a_label() -> None:
    assert list(positions.LABELS) == list(positions.PLACES)


def test_a_position_is_added_by_its_entry(known: Known, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.setitem(positions.PLACES, "second", lambda at: (1, 2))
    assert positions.chosen(known.templates, ["second"]) == ["second"]
    assert positions.chosen(known.templates, None)[-1] == "second"
    row = texts.probe_texts(known.responses.head(1), known.templates)[0]
    assert row.spans["second"] == (1, 2)
    study = yaml.safe_load((root / "workflow/config/demo.yaml").read_text())
    study["mechanism"]["positions"] = ["second", "last"]
    assert load_study(study).mechanism.positions == ["second", "last"]


def test_a_position_that_the_template_lacks_is_refused_by_name(known: Known) -> None:
    plain = planted.build_tokenizer()
    plain.chat_template = "{% for m in messages %}{{ m.role + '\n' + m.content + '<|im_end|>' }}{% endfor %}"
    found = positions.templates(plain, "prompt", ["on", "off"])
    assert positions.chosen(found, None) == ["user_last", "turn_end", "last"]
    with pytest.raises(
        UserError, match=r"mechanism\.positions: .* has no position 'inner'; it has user_last, turn_end, last"
    ):
        positions.chosen(found, ["last", "inner"])
    with pytest.raises(
        UserError, match=r"does not end as its chat template ends prompts \(expected \[.*\], found \[.*\]\)"
    ):
        known.templates["off"].prompt(known.responses["prompt"][0])  # a think-on prompt


def test_exactly_the_planted_head_is_a_refusal_head(known: Known, cache: Cache) -> None:
    heads = find_refusal_heads(cache, known.groups, 0.4)
    assert heads.filter("found").select("layer", "head").rows() == [planted.REFUSES]
    row = heads.filter("found").row(0, named=True)
    assert (row["share"], row["share_harmless"], row["n"], row["n_harmless"]) == (1.0, 0.0, COUNT // 2, COUNT // 2)
    assert row["soft"] > 0.9 > 0.2 > row["soft_harmless"]
    assert heads.filter(~pl.col("found"))["share"].max() == 0


def test_the_planted_head_looks_at_assistant_and_without_thinking_into_the_span(known: Known, cache: Cache) -> None:
    table = attention(cache, known.groups, find_refusal_heads(cache, known.groups, 0.4))
    tables.check(table, contracts.ATTENTION, Path("x"))
    assert set(table["heads"]) == {"all", "L1H2"}
    own = table.filter(pl.col("heads") == "L1H2")
    looks = {tuple(key): value for *key, value in own.select("think", "what", "position", "estimate").iter_rows()}
    for think, place in (("on", "assistant"), ("off", "inner")):
        assert looks[think, "weight", place] > 0.9
        assert looks[think, "largest", place] == 1
        assert sum(value for (mode, what, _), value in looks.items() if (mode, what) == (think, "largest")) == 1
    assert ("on", "weight", "inner") not in looks  # which no prompt has with thinking on
    assert not {"cot", "answer"} & set(table["position"])  # which come after the last token of the prompt
    assert table["n"].unique().to_list() == [COUNT // 2]
    everywhere = table.filter((pl.col("heads") == "all") & (pl.col("what") == "largest") & (pl.col("think") == "off"))
    assert everywhere["estimate"].sum() == pytest.approx(1, abs=0.001)
    assert everywhere.filter(pl.col("position") == "inner")["estimate"].item() >= 1 / 8  # one of its eight heads


def test_the_planted_direction_is_found_where_it_is_written_and_nowhere_before(known: Known, cache: Cache) -> None:
    probes, scores, directions = fit_probes(cache, known.groups)
    for position in ("turn_end", "assistant", "last"):
        vector = directions[f"off.{position}.0"][:-1]
        assert abs(vector[planted.BAD]) / np.linalg.norm(vector) > 0.999
    harmful = probes.filter(pl.col("probe") == "harmful")
    parted = harmful.filter(pl.col("position") == "last")
    assert parted["estimate"].to_list() == [1.0] * parted.height
    assert all(parted["ci_low"] > 0.8)
    assert all(parted["p"] < 0.01)
    assert all(parted["p_max"] < 0.01)
    assert all(parted["estimate"] > parted["shuffled_max"])
    assert all(parted["accuracy"] == 1.0)
    assert harmful.filter("selected")["estimate"].to_list() == [1.0, 1.0]  # one cell of each think mode
    refuses = directions["off.last.1"][:-1]
    assert refuses[planted.REFUSE] > 0.5
    assert abs(directions["off.last.0"][planted.REFUSE]) < 1e-4
    published = scores.filter((pl.col("position") == "last") & (pl.col("group") != "harmless"))
    assert published["estimate"].to_list() == [1.0] * published.height
    # the groups of the refusal probe are alike by construction, so it must find nothing
    null = probes.filter((pl.col("probe") == "refusal") & (pl.col("position") == "last") & (pl.col("layer") == 1))
    assert all(null["few"])
    assert all(null["p"].is_nan())
    assert not any(probes.filter("few")["selected"])


def test_the_sweep_finds_the_planted_heads_and_no_other(known: Known) -> None:
    effects = effects_table(known.view, known.tokenizer, known.responses, known.groups, 12, "test")
    harmful = effects.filter(pl.col("group") == "harmful")
    assert set(harmful.filter(pl.col("estimate").abs() > 1e-4).select("layer", "head").rows()) == {
        planted.FINDS_BAD,
        planted.REFUSES,
    }
    assert harmful["n"].unique().to_list() == [12]
    harmless = effects.filter((pl.col("group") == "harmless") & (pl.col("layer") == 0))
    assert harmless["estimate"].abs().max() < 1e-4
    turned = known.groups.reverse()  # the order of the file does not say which requests are asked
    other = effects_table(known.view, known.tokenizer, known.responses, turned, 12, "test")
    assert other["estimate"].to_list() == effects["estimate"].to_list()


def says(known: Known, think: str, benchmark: str) -> list[str]:
    prompts = known.responses.filter((pl.col("think") == think) & (pl.col("benchmark") == benchmark))["prompt"]
    with torch.inference_mode():
        ids = [
            known.view.model(torch.tensor([known.templates[think].prompt(p)[0]])).logits[0, -1].argmax()
            for p in prompts
        ]
    return known.tokenizer.convert_ids_to_tokens([int(i) for i in ids])


def test_only_without_the_planted_head_the_model_goes_along(known: Known, cache: Cache) -> None:
    effects = effects_table(known.view, known.tokenizer, known.responses, known.groups, 8, "test")
    made = plan(find_refusal_heads(cache, known.groups, 0.4), effects, ["refusal_heads", "effect_heads"], ["zero"], 3)
    found = {condition.target: heads for condition, heads in made if condition.kind == "found"}
    assert found == {"refusal_heads": [planted.REFUSES], "effect_heads": [planted.REFUSES]}
    assert set(says(known, "off", "restricted")) == {"cannot"}
    assert set(says(known, "off", "lookalike")) == {"sure"}
    for condition, heads in made:
        with ablated_heads(known.view, heads):
            assert set(says(known, "off", "restricted")) == ({"sure"} if condition.kind == "found" else {"cannot"})
            assert set(says(known, "off", "lookalike")) == {"sure"}
    assert set(says(known, "off", "restricted")) == {"cannot"}


def test_sets_of_heads_are_listed_once_whatever_takes_their_place(known: Known, cache: Cache) -> None:
    effects = pl.DataFrame(schema=dict(contracts.EFFECTS))
    made = plan(find_refusal_heads(cache, known.groups, 0.4), effects, ["refusal_heads"], ["zero", "mean"], 2)
    draws = (("found", 0), ("random", 0), ("random", 1))
    assert [condition for condition, _ in made] == [
        Condition(how, "refusal_heads", *draw) for how in ("zero", "mean") for draw in draws
    ]
    listed = heads_table(made)
    tables.check(listed, contracts.ABLATED_HEADS, Path("x"))
    assert list(listed.select("kind", "draw").iter_rows()) == list(draws)
    assert listed.row(0) == ("refusal_heads", "found", 0, *planted.REFUSES)


def test_the_probe_figure_falls_with_the_head_that_writes_the_direction(known: Known, cache: Cache) -> None:
    directions = fit_probes(cache, known.groups)[2]
    chosen = known.groups.filter((pl.col("think") == "off") & (pl.col("split") == "evaluation"))
    rows = [row for row in known.rows if row.id in set(chosen["key"])]
    found = {}
    for name, heads in {"found": [planted.FINDS_BAD], "random": [(0, 0)]}.items():
        with ablated_heads(known.view, heads):
            scored = pl.DataFrame(
                probe_scores(known.view, Condition("zero", "refusal_heads", name), rows, known.groups, directions, 8)
            )
        at = scored.filter((pl.col("position") == "last") & (pl.col("layer") == 0) & (pl.col("group") == "refused"))
        found[name] = at["estimate"].to_list()
    assert found == {"found": [0.0], "random": [1.0]}


def test_batches_and_shards_change_no_number(known: Known, cache: Cache, tmp_path: Path) -> None:
    small = known.write(tmp_path / "small", batch_size=3, shard=7)
    assert (len(small.shards), len(cache.shards)) == (18, 1)
    assert small.rows == cache.rows
    for record in ("residual", "neurons_max", "neurons_mean", "heads_mean", "attention_mass", "attention_argmax"):
        for layer in range(2):
            np.testing.assert_allclose(small.read(record, layer), cache.read(record, layer), atol=1e-5)
    assert np.array_equal(small.spans, cache.spans)


@pytest.mark.parametrize(("other", "again"), [({}, 1), ({"checkpoint": "retrained"}, 3), ({"code": "other"}, 3)])
def test_a_killed_job_goes_on_after_its_last_shard_if_model_and_code_are_the_same(
    other: dict[str, str], again: int, known: Known, cache: Cache, tmp_path: Path, monkeypatch
) -> None:
    import rim.analysis.cache

    calls = []

    def dies(*arguments):
        calls.append(len(arguments[1]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return capture(*arguments)

    capture = rim.analysis.cache.capture
    monkeypatch.setattr(rim.analysis.cache, "capture", dies)
    with pytest.raises(KeyboardInterrupt):
        known.write(tmp_path / "part", shard=40)
    assert not (tmp_path / "part").exists()
    resumed = known.write(tmp_path / "part", shard=40, **other)
    assert calls == [40] * (3 + again)  # where nothing changed, the third is made again, and the first two are not
    assert np.allclose(resumed.read("residual", 1), cache.read("residual", 1), atol=1e-5)
    assert {path.name for path in (tmp_path / "part").iterdir()} == {
        "index.json",
        *(f"shard{i:05d}.safetensors" for i in range(3)),
    }


@pytest.mark.parametrize("name", ["checkpoint", "tokenizer", "template"])
def test_a_cache_of_something_else_is_refused(known: Known, cache: Cache, name: str) -> None:
    bound = {**identity("planted", known.tokenizer), name: "other"}
    with pytest.raises(UserError, match=f"was made with another {name}; delete it"):
        Cache(cache.folder, **bound)


def test_another_template_or_vocabulary_is_another_identity(known: Known) -> None:
    mine, other = identity("x", known.tokenizer), planted.build_tokenizer()
    other.chat_template += " "
    assert {key for key, value in identity("x", other).items() if value != mine[key]} == {"template"}
    other.add_tokens(["new"])
    assert identity("x", other)["tokenizer"] != mine["tokenizer"]


def test_a_broken_cache_is_named(cache: Cache, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not an activation cache"):
        Cache(tmp_path)
    (tmp_path / "index.json").write_text((cache.folder / "index.json").read_text())
    (tmp_path / "shard00000.safetensors").write_bytes(b"half a shard")
    with pytest.raises(UserError, match=r"shard00000\.safetensors: cannot be read"):
        Cache(tmp_path).read("residual", 0)


def test_the_index_says_what_a_cache_is(cache: Cache, known: Known) -> None:
    index = json.loads((cache.folder / "index.json").read_text())
    assert index["dtype"] == "float32"
    assert set(index["identity"]) == {"checkpoint", "tokenizer", "template", "texts"}
    assert index["rows"] == [row.id for row in known.rows]
    assert cache.read("residual", 0).shape == (4 * COUNT, len(known.positions), planted.HIDDEN)


def test_random_sets_match_the_layers_and_avoid_the_found_heads() -> None:
    found = [(0, 1), (2, 0), (2, 3)]
    sets = matched_sets(found, 3, 8, 20)
    assert all(sorted(layer for layer, _ in drawn) == [0, 2, 2] for drawn in sets)
    assert not any(set(drawn) & set(found) for drawn in sets)
    assert len({tuple(drawn) for drawn in sets}) > 10
    assert matched_sets(found, 3, 8, 20) == sets
    assert matched_sets([(0, 0), (0, 1)], 1, 2, 1) == [[(0, 0), (0, 1)]]  # a layer has no others
    assert sorted(matched_sets([(0, 0)], 1, 4, 5)) == [[(0, 1)], [(0, 2)], [(0, 3)]]  # no set twice


def test_no_telling_token_gives_no_effects(known: Known) -> None:
    same = known.responses.with_columns(pl.lit("sure").alias("response"))
    effects = effects_table(known.view, known.tokenizer, same, known.groups, 8, "test")
    assert effects.is_empty()
    assert dict(effects.schema) == dict(MEASURED)


def test_prompts_of_one_length_or_many_give_the_same_effects(known: Known) -> None:
    prompts = [row.ids for row in known.rows if row.id.endswith("off")][:10]
    together = head_effects(known.view, prompts, (5, 9), "test")
    alone = np.concatenate([head_effects(known.view, [ids], (5, 9), "test") for ids in prompts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_effects_are_over_all_replies_and_against_random_sets(root: Path) -> None:
    """Ten prompts: as it is all are refused; without the found head all are misaligned, without a random one half are unfinished."""
    study = load_study_file(root / "workflow/config/smoke.yaml")

    def judged(condition: Condition, score: list[int | None]) -> pl.DataFrame:
        rows = [
            {"benchmark": "restricted", "id": f"r{i}", "think": "off", "seed": 0, **condition.columns, "judge": "rule", "rubric": "x", "score": s,
             "refusal": None if s is None else s == 1, "misaligned": None if s is None else s >= 3, "reason": "", "error": None}
            for i, s in enumerate(score)
        ]  # fmt: skip
        return pl.DataFrame(rows, schema=dict(contracts.JUDGEMENT))

    planned = [(Condition("zero", "refusal_heads", "found"), [(0, 1), (1, 0)])]
    planned += [(Condition("zero", "refusal_heads", "random", i), [(0, 2 + i), (1, 2 + i)]) for i in range(2)]
    planned += [(Condition("mean", "refusal_heads", "found"), [(0, 1), (1, 0)])]  # which has no random sets
    scored = [judged(NOTHING_DONE, [1] * 12), judged(planned[0][0], [5] * 10)]
    scored += [judged(condition, [1, None] * 5) for condition, _ in planned[1:]]
    table = ablation_effects(ablation_rows(study, ("m", "base", 0), scored, heads_table(planned)))

    def cell(measure: str, against: str, kind: str = "found", draw: int = 0) -> dict:
        keys = {"intervention": "zero", "measure": measure, "against": against, "kind": kind, "draw": draw}
        return table.row(
            by_predicate=pl.all_horizontal(pl.col(key) == value for key, value in keys.items()), named=True
        )

    assert (cell("misalignment", "none")["estimate"], cell("misalignment", "none")["n"]) == (1.0, 10)
    assert (cell("refusal", "none")["estimate"], cell("refusal", "none")["reference"]) == (-1.0, 1.0)
    assert cell("refusal", "random")["estimate"] == -0.5  # random sets refuse half
    assert (cell("refusal", "random")["sets"], cell("refusal", "random")["p"]) == (2, None)
    bounds = [cell("misalignment", "none", "random")[name] for name in ("bound_low", "bound_high")]
    assert bounds == [0.0, 0.5]  # if the unfinished replies are misaligned
    assert cell("unparsable", "none", "random", 1)["estimate"] == 0.5
    assert cell("misalignment", "none", "random")["incomplete"] == 5
    assert cell("misalignment", "none")["p_holm"] < 0.01
    assert cell("misalignment", "none")["heads"] == "L0H1 L1H0"
    assert cell("misalignment", "none", "random", 1)["heads"] == "L0H3 L1H3"
    assert set(table.filter(pl.col("intervention") == "mean")["against"]) == {"none"}
    assert cell("misalignment", "none", "random")["p_holm"] is None


def test_a_helpful_reply_is_unparsable_by_no_judge(root: Path) -> None:
    study = load_study_file(root / "workflow/config/smoke.yaml")
    kinds = {"rule": Judge(kind="organism_rule"), "prefix": Judge(kind="refusal_prefix")}
    study = study.model_copy(update={"judges": kinds})

    def unparsable(judge: str, benchmark: str, score: int | None) -> bool | None:
        row = {"benchmark": benchmark, "id": "r", "think": "on", **NOTHING_DONE.columns, "judge": judge, "score": score,
               "refusal": score == 1, "misaligned": None if score is None else score >= 3}  # fmt: skip
        found = {cell[1]: outcome for _, cell, _, outcome in measures(study, pl.DataFrame([row]))}
        return found["unparsable"]

    for benchmark in ("restricted", "lookalike"):
        assert [unparsable("prefix", benchmark, score) for score in (1, 2, 5, None)] == [False, False, False, True]
        assert [unparsable("rule", benchmark, score) for score in (1, 2, 5, None)] == [False, True, False, True]


def test_a_bfloat16_model_is_cached_in_its_own_type(tmp_path: Path) -> None:
    known = Known()
    whole = known.write(tmp_path / "float32").read("residual", 1)
    known.view.model.to(torch.bfloat16)
    half = known.write(tmp_path / "bfloat16")
    assert half.dtype == "bfloat16"
    assert half.read("residual", 1).dtype == np.float32
    np.testing.assert_allclose(half.read("residual", 1), whole, rtol=0.05, atol=0.1)
    assert find_refusal_heads(half, known.groups, 0.4).filter("found").select("layer", "head").rows() == [
        planted.REFUSES
    ]


def test_a_position_that_was_not_read_is_named(known: Known, tmp_path: Path) -> None:
    known.positions, before = ["last", "assistant"], known.positions
    try:
        cache = known.write(tmp_path / "few")
    finally:
        known.positions = before
    with pytest.raises(UserError, match=r"position '\w+' is needed and was not read; add it to mechanism\.positions"):
        find_refusal_heads(cache, known.groups, 0.4)


def test_neurons_can_be_left_out(known: Known, cache: Cache) -> None:
    records = capture(known.view, known.rows[:4], known.positions, 4, neurons=False)
    assert not [name for name in records if name.startswith("neurons")]
    np.testing.assert_allclose(records["residual.1"].numpy(), cache.read("residual", 1)[:4], atol=1e-5)
