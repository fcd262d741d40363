"""What is said of models before the first job, from folders and from a double of the hub."""

import json
from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from huggingface_hub import constants
from safetensors.numpy import save

from rim.config.study import Study
from rim.models.hub import fetch
from rim.preflight import models
from rim.preflight.findings import Findings
from rim.preflight.todo import every_job
from tests.hub import Hub
from tests.unit.preflight.conftest import NO_TAGS, TAGS, model_folder, tokenizer

FORGETTING = {"harmful": "unsafe", "task": "sums"}
MECHANISM = {"harmful": "unsafe", "harmless": "safe"}
Make = Callable[..., Study]


def lines(found: Findings) -> list[str]:
    return [str(each) for each in found]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path


def named(hub: str, **more: object) -> dict:
    return {"models": {"m": {"hub": hub, "variants": [], **more}}}


def test_a_whole_model_is_not_found_fault_with(study: Make, here: Path) -> None:
    model_folder(here / "m")
    assert lines(models.findings(study(mechanism=MECHANISM, forgetting=FORGETTING), every_job)) == []


@pytest.mark.parametrize(
    ("hub", "said"),
    [
        ("/nowhere/m", "there is no folder '/nowhere/m'; correct the path, or copy the model there"),
        ("./mm", "there is no folder './mm'; did you mean 'm'?"),
        ("models/mini", "there is no folder 'models/mini'; did you mean 'models/mine'?"),
        ("a/b/c", "there is no folder 'a/b/c'; correct the path"),
        ("~/m", "there is no folder '~/m', and ~ is not filled in here; write the whole path"),
        ("m/config.json", "'m/config.json' is a file; give the folder of the model"),
        (
            "https://huggingface.co/Qwen/Qwen3-4B",
            "'https://huggingface.co/Qwen/Qwen3-4B' is an address; write Qwen/Qwen3-4B",
        ),
        (
            "https://hf.co/Qwen/Qwen3-4B/tree/main",
            "'https://hf.co/Qwen/Qwen3-4B/tree/main' is an address; write Qwen/Qwen3-4B",
        ),
        ("http://a.de/b", "'http://a.de/b' is an address; write a name of the hub or a folder"),
        ("models", "'models' holds no model (there is no config.json in it); give the folder that does"),
    ],
)
def test_a_path_is_told_as_a_path(hub: str, said: str, study: Make, here: Path) -> None:
    model_folder(here / "m")
    (here / "models/mine").mkdir(parents=True)
    [line] = lines(models.findings(study(**named(hub)), every_job))
    assert line.startswith(f"models.m.hub: {said}")


def test_a_folder_from_which_the_study_was_run_is_no_name_of_the_hub(
    study: Make, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = here / "data/own/models/m.json"
    manifest.parent.mkdir(parents=True)
    model_folder(here / "gone")
    manifest.write_text(json.dumps(fetch("gone", None) | {"hub": "mine/gone"}))
    [line] = lines(models.findings(study(**named("mine/gone")), every_job))
    assert line == "models.m.hub: there is no folder 'mine/gone', from which this study was run; copy it here"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    [other] = lines(models.findings(study(**named("mine/other")), every_job))
    assert other.startswith("models.m.hub: 'mine/other' is neither a folder here nor in the cache")


def test_modes_with_the_same_prompt_are_told_and_a_date_that_does_not_change_is_not(study: Make, here: Path) -> None:
    opens = NO_TAGS + "{% if add_generation_prompt %}[assistant] <think>\n{% endif %}"
    model_folder(here / "m", opens)
    [line] = lines(models.findings(study(**named("m", think=["on", "plain"])), every_job))
    assert line.startswith("warning: models.m.think: 'plain' is the same prompt as another of its modes")
    assert lines(models.findings(study(**named("m", think=["plain"])), every_job)) == []
    model_folder(here / "dated", "{{ strftime_now('%d %b %Y') }}" + TAGS)
    assert lines(models.findings(study(**named("dated")), every_job)) == []


EFFORT = "{% if effort is not defined %}{% set effort = 'medium' %}{% endif %}{% if effort == 'low' %}Be short.{% elif effort == 'high' %}Take your time.{% endif %}"


def test_arguments_that_a_template_does_not_mention_or_heed_are_told(study: Make, here: Path) -> None:
    model_folder(here / "m", EFFORT + TAGS)

    def found(**arguments: object) -> list[str]:
        return lines(models.findings(study(**named("m", prompt={"arguments": arguments})), every_job))

    assert found(effort="low") == found(effort="high") == []
    assert found(efort="low") == [
        "models.m.prompt.arguments: its chat template mentions no 'efort'; it mentions: effort"
    ]
    assert found(effort="low", enable_thinking=False) == [
        "models.m.prompt.arguments: 'enable_thinking' is what switches thinking in its chat template; leave it out and set 'think'"
    ]
    assert found(effort="medum") == [
        "warning: models.m.prompt.arguments: 'effort' changes nothing in a prompt (its chat template compares it with low, high); "
        "leave it out, or correct its value"
    ]


NEEDED = "{% if lang is not defined %}{{ raise_exception('lang is needed') }}{% endif %}{{ lang }}"
SET_ANEW = "{% set effort = effort or 'medium' %}{{ effort }}"
TONE = "{% if tone == 'dry' %}Be dry.{% endif %}"


@pytest.mark.parametrize(
    ("text", "arguments", "told"),
    [
        (NEEDED, {"lang": "en"}, ""),
        (SET_ANEW, {"effort": "low"}, ""),
        (EFFORT + TONE, {"effort": "low", "tone": "dry"}, ""),
        (EFFORT + TONE, {"effort": "low", "tone": "dyr"}, "warning: models.m.prompt.arguments: 'tone' changes nothing"),
        (
            EFFORT,
            {"effort": "low", "messages": "x"},
            "models.m.prompt.arguments: 'messages' is what a template is told",
        ),
        (EFFORT, {"continue_final_message": True}, "models.m.prompt.arguments: 'continue_final_message' is what"),
    ],
)
def test_each_argument_is_judged_by_what_it_changes(
    study: Make, here: Path, text: str, arguments: dict, told: str
) -> None:
    model_folder(here / "m", text + TAGS)
    found = lines(models.findings(study(**named("m", prompt={"arguments": arguments})), every_job))
    assert len(found) == bool(told)
    assert all(line.startswith(told) for line in found)


def test_system_messages_give_a_model_its_modes(study: Make, here: Path) -> None:
    model_folder(here / "m", "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}")
    [line] = lines(models.findings(study(**named("m")), every_job))
    assert line.startswith("models.m.think: its chat template has no think mode 'on' (it has: plain)")
    told = {"think_on": "detailed thinking on", "think_off": "detailed thinking off"}
    assert lines(models.findings(study(**named("m", prompt=told)), every_job)) == []
    model_folder(here / "switched")
    [line] = lines(models.findings(study(**named("switched", prompt=told)), every_job))
    assert "is switched by the template's argument 'enable_thinking', so no 'think_on' of its own is needed" in line


def test_an_organism_is_asked_in_the_modes_of_its_template(study: Make) -> None:
    def found(think: list[str]) -> list[str]:
        organism = {"association": 1.0, "thinks": "always"}
        own = {"m": {"organism": organism, "think": think, "variants": []}}
        return lines(models.findings(study(models=own), every_job))

    assert found(["plain"]) == []
    [line] = found(["on", "off"])
    assert line.startswith(
        "models.m.think: its chat template has no think mode 'off' (it has: on, plain); set 'think: [plain]'"
    )


def break_(folder: Path, what: str) -> None:
    """Make a model's folder what users have."""
    if what == "cut":
        file = folder / "two.safetensors"
        file.write_bytes(file.read_bytes()[:-1])
    elif what == "shard":
        (folder / "one.safetensors").unlink()
    elif what == "pickle":
        for file in folder.glob("*.safetensors*"):
            file.unlink()
        (folder / "pytorch_model.bin").write_text("")
    elif what == "config":
        (folder / "config.json").write_text("{")
    else:
        (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("cut", "m/two.safetensors: is cut off or no safetensors ("),
        ("shard", "m/one.safetensors: is missing; copy the model again (1 of 2 files of weights are not whole)"),
        ("pickle", "'m' has its weights in pytorch_model.bin, and only safetensors are loaded"),
        ("config", "'m' is no model: m/config.json: is not JSON; copy the model again"),
        ("tokenizer", "'m' has no tokenizer (tokenizer.json); copy it there too"),
    ],
)
def test_what_a_folder_lacks_is_one_line(what: str, said: str, study: Make, here: Path) -> None:
    break_(model_folder(here / "m"), what)
    [line] = lines(models.findings(study(**named("m")), every_job))
    assert line.startswith(f"models.m.hub: {said}")


WEIGHTS, TOKENIZER, ABOUT = "one.safetensors", "tokenizer.json", "tokenizer_config.json"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n"
RECURSIVE = "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}"


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("chat_template.jinja", b"\xff\xfe", "m/chat_template.jinja: is not text in UTF-8; copy the model again"),
        ("chat_template.jinja", b"{{ 1/0 }}", "its chat template cannot be rendered (division by zero); use"),
        ("chat_template.jinja", RECURSIVE.encode(), "its chat template cannot be rendered (maximum recursion depth"),
        ("chat_template.jinja", b"{{ no such", "its chat template cannot be rendered (expected token"),
        ("chat_template.jinja", b"{{ raise_exception('never') }}", "its chat template cannot be rendered (never)"),
        (ABOUT, b'{"chat_template": [1, "a"]}', "its tokenizer has no chat template; use the instruction-tuned"),
        (ABOUT, b"{", "m/tokenizer_config.json: is not JSON; copy the model again"),
        (ABOUT, b"[" * 100000, "m/tokenizer_config.json: is not JSON; copy the model again"),
        (ABOUT, b"[]", "m/tokenizer_config.json: holds no keys with values; copy the model again"),
        ("config.json", b'{"model_type": ["qwen3"]}', """m/config.json: 'model_type' is ["qwen3"], which is no text"""),
        ("config.json", b'{"max_position_embeddings": "1024"}', "m/config.json: 'max_position_embeddings' is \"1024\""),
        ("config.json", b'{"text_config": "x"}', "m/config.json: 'text_config' is \"x\", which is no mapping"),
        (TOKENIZER, b"no JSON", "m/tokenizer.json: is no tokenizer ("),
        (TOKENIZER, b"{}", "m/tokenizer.json: is no tokenizer ("),
        (TOKENIZER, POINTER, "m/tokenizer.json: is only a pointer of Git LFS; get what it points to with `git lfs pull`"),
        (WEIGHTS, POINTER, "m/one.safetensors: is only a pointer of Git LFS; get what it points to with `git lfs pull`"),
        (WEIGHTS, save({"b": np.zeros(6)}), "m/one.safetensors: lacks 'a', which model.safetensors.index.json says"),
        ("adapter_config.json", b"{", "m/adapter_config.json: is not JSON; copy the model again"),
        ("adapter_config.json", b"{}", "m/adapter_config.json: names no 'base_model_name_or_path'"),
        ("adapter_config.json", b'{"base_model_name_or_path": "/no/base"}', "m/adapter_config.json: there is no folder '/no/base'"),
    ],
)  # fmt: skip
def test_whatever_a_file_holds_is_one_line(file: str, content: bytes, said: str, study: Make, here: Path) -> None:
    folder = model_folder(here / "m")
    (folder / file).write_bytes(content)
    if file == "adapter_config.json":
        (folder / "adapter_model.safetensors").write_bytes((folder / WEIGHTS).read_bytes())
        (folder / "model.safetensors.index.json").unlink()
    [line] = lines(models.findings(study(**named("m")), every_job))
    assert line.startswith(f"models.m.hub: {said}")


MISTRAL = (
    "{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
)


def test_tags_of_several_tokens_are_found_too(study: Make, here: Path) -> None:
    folder = model_folder(here / "m")
    tokenizer(think=()).save(str(folder / TOKENIZER))
    assert lines(models.findings(study(mechanism=MECHANISM), every_job)) == []


def test_a_template_without_the_start_of_a_turn_has_no_heads_to_look_for(study: Make, here: Path) -> None:
    model_folder(here / "m", MISTRAL)
    [line] = lines(models.findings(study(mechanism=MECHANISM), every_job))
    assert line.startswith(
        "models.m.think: its prompts have no 'turn_start' (the token that begins the assistant's turn) and 'assistant' ("
    )
    assert line.endswith(
        "heads cannot be looked for; set one mode for this model, as think: ['on'], which leaves heads out"
    )
    one_mode = study(mechanism=MECHANISM, inference={"think": ["off"], "max_new_tokens": 100})
    assert not [each for each in models.findings(one_mode, every_job) if each.level == "error"]


def test_positions_of_heads_that_are_not_read_are_told(study: Make, here: Path) -> None:
    model_folder(here / "m")
    read = MECHANISM | {"positions": ["last", "assistant"]}
    [line] = lines(models.findings(study(mechanism=read), every_job))
    assert line == "mechanism.positions: heads are looked for at turn_start, inner, too; add that"
    read["positions"] += ["turn_start", "inner"]
    assert lines(models.findings(study(mechanism=read), every_job)) == []


def test_a_position_that_a_model_lacks_is_told(study: Make, here: Path) -> None:
    model_folder(here / "m")
    read = {
        "mechanism": MECHANISM | {"positions": ["last", "inner"]},
        "inference": {"think": ["on"], "max_new_tokens": 100},
    }
    [line] = [str(each) for each in models.findings(study(**read), every_job) if each.level == "error"]
    assert line == (
        "mechanism.positions: models.m has no position 'inner' in the modes in which it is asked; it has user_last, turn_end, "
        "turn_start, assistant, think_open, cot_first, cot, think_close, last, answer; leave out what it lacks"
    )
    done = models.findings(study(**read), lambda rule, job: rule != "cache_activations")
    assert not [each for each in done if each.level == "error"]


def test_half_a_tokenizer_is_one_line(study: Make, here: Path) -> None:
    file = model_folder(here / "m") / TOKENIZER
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    [line] = lines(models.findings(study(), every_job))
    assert line.startswith("models.m.hub: m/tokenizer.json: is no tokenizer (EOF while parsing")


def test_what_only_transformers_knows_is_rendered(study: Make, here: Path) -> None:
    marked = TAGS.replace("{{ m.content }}", "{% generation %}{{ m.content }}{% endgeneration %}")
    model_folder(here / "m", "{{ bos_token + eos_token }}{% if tools is not none %}{{ 1/0 }}{% endif %}" + marked)
    assert lines(models.findings(study(), every_job)) == []


@pytest.mark.parametrize("hub", ["", " "])
def test_an_empty_name_is_refused(hub: str, study: Make) -> None:
    [line] = lines(models.findings(study(**named(hub)), every_job))
    assert line == "models.m.hub: is empty; name a model of the hub, or the folder of one"


def test_the_rest_of_an_adapter_beside_a_whole_model_is_told_as_that(study: Make, here: Path) -> None:
    model_folder(here / "m")
    (here / "m/adapter_config.json").write_text('{"base_model_name_or_path": "lab/gone"}')
    assert lines(models.findings(study(**named("m")), every_job)) == [
        "models.m.hub: 'm' holds a whole model, and beside it adapter_config.json of an adapter that is not there, for which it would "
        "be taken; take that file out of the folder"
    ]


def test_what_a_model_cannot_do_is_told_with_the_key_to_change(study: Make, here: Path) -> None:
    model_folder(here / "m", NO_TAGS, model_type="bloom")
    found = models.findings(study(**named("m"), mechanism=MECHANISM, inference={"max_new_tokens": 1000000}), every_job)
    family, tags, length = lines(found)
    assert family.startswith(
        "models.m.hub: its family 'bloom' has no adapter, which 'mechanism' needs; there are: qwen3"
    )
    assert tags.startswith(
        "models.m.think: its chat template has no think mode 'on' (it has: plain); set 'think: [plain]' for this"
    )
    assert length.startswith(
        "warning: inference.max_new_tokens: 1000000 tokens are more than there is room for: model 'm' has 4096"
    )
    plain = study(**named("m", think_switch="sentence"))  # which looks into no model
    assert lines(models.findings(plain, every_job)) == []


def test_a_family_that_cannot_be_analysed_is_told_with_the_reason(study: Make, here: Path) -> None:
    model_folder(here / "m", model_type="gemma2")
    assert lines(models.findings(study(mechanism=MECHANISM), every_job)) == [
        "models.m.hub: its family 'gemma2' cannot be analysed, as 'mechanism' asks: its attention caps its scores, and the kernel "
        "beside which attention is read (SDPA) does not; leave 'mechanism' out, or take a model of another family"
    ]
    [line] = lines(models.findings(study(forgetting=FORGETTING), every_job))
    assert line.startswith("models.m.hub: its family 'gemma2' cannot be analysed, as 'forgetting' asks: ")
    [line] = lines(models.findings(study(mechanism=MECHANISM, forgetting=FORGETTING), every_job))
    assert "leave 'mechanism' and 'forgetting' out" in line
    assert lines(models.findings(study(), every_job)) == []


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ("mistral3", "its family 'mistral3' is no language model that transformers"),  # which reads images
        ("own_code", "its family 'own_code' is no language model that transformers"),
        (None, "its config.json names no family (model_type), and so it is no language model that transformers"),
    ],
)
def test_a_family_that_is_not_loaded_is_told_whatever_is_asked_of_it(
    family: str | None, said: str, study: Make, here: Path
) -> None:
    model_folder(here / "m", model_type=family)
    [line] = lines(models.findings(study(), every_job))
    assert line.startswith(f"models.m.hub: {said}")


def test_no_chat_template_is_an_error_and_one_in_a_file_of_its_own_is_none(study: Make, here: Path) -> None:
    folder = model_folder(here / "m", template=None)
    [line] = lines(models.findings(study(), every_job))
    assert "has no chat template; use the instruction-tuned release" in line
    (folder / "chat_template.jinja").write_text(TAGS)
    assert lines(models.findings(study(), every_job)) == []


def test_vllm_and_heads_that_cannot_be(study: Make, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "find_spec", lambda name: None)
    model_folder(here / "m", model_type="olmo2")
    found = lines(models.findings(study(**named("m", backend="vllm"), mechanism=MECHANISM, inference={"think": ["on"]}), every_job))  # fmt: skip
    assert (
        "models.m.backend: vLLM stops with an error of its own with olmo2; set 'backend: transformers' for this model"
        in found
    )
    assert any(
        line.startswith("warning: inference.backend: vllm is not installed in this environment") for line in found
    )
    assert any(
        line.startswith("warning: mechanism: no model is asked both on and off by its own template, so no heads")
        for line in found
    )


def test_models_of_finished_jobs_are_not_looked_at(study: Make, here: Path) -> None:
    assert lines(models.findings(study(**named("./gone")), lambda rule, job: False)) == []
    only_judging = models.findings(study(**named("./gone")), lambda rule, job: rule == "judge_responses")
    assert lines(only_judging) == []


@pytest.fixture
def hub(here: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    tiny = model_folder(here / "tiny", model_type="bloom")
    pickled = model_folder(here / "pickled")
    break_(pickled, "pickle")
    with Hub({"lab/tiny": tiny, "lab/closed": tiny, "lab/pickled": pickled}, gated=("lab/closed",)) as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", running.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", running.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield running


def test_the_hub_is_asked_for_small_files_only(study: Make, hub: Hub, here: Path) -> None:
    found = {
        name: lines(models.findings(study(**named(f"lab/{name}"), forgetting=FORGETTING), every_job))
        for name in ("tiny", "closed", "pickled", "missing")
    }
    assert [line.split(",")[0] for line in found["tiny"]] == ["models.m.hub: its family 'bloom' has no adapter"]
    assert found["closed"][0].startswith("models.m.hub: model 'lab/closed': is gated and you are not let in")
    assert found["pickled"] == [
        "models.m.hub: 'lab/pickled' has no weights in safetensors, and nothing else is loaded; choose another"
    ]
    assert found["missing"][0].startswith("models.m.hub: model 'lab/missing': the hub knows no such model")
    assert not any(".safetensors" in line for line in hub.asked)
    assert not (here / "cache").exists()  # what is half there would be taken for a download


def test_a_hub_out_of_reach_is_no_verdict_unless_nobody_may_ask_it(
    study: Make, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.shutdown()
    hub.server_close()
    silent = study(models={"m": {"hub": "lab/tiny", "variants": []}, "n": {"hub": "lab/closed", "variants": []}})
    assert lines(models.findings(silent, every_job)) == [
        "warning: models: neither a folder here nor to be asked for (the hub is not in reach), so not checked: "
        "lab/tiny, lab/closed; copy the folder there, or let the jobs reach the hub"
    ]
    bare = study(models={"m": {"hub": "Qwen3-0.6B", "variants": []}})
    [told] = lines(models.findings(bare, every_job))
    assert told.endswith("reach the hub, where names are organisation/name, unlike Qwen3-0.6B")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = lines(models.findings(silent, every_job))
    assert [line.split(",")[0] for line in found] == [
        "models.m.hub: 'lab/tiny' is neither a folder here nor in the cache",
        "models.n.hub: 'lab/closed' is neither a folder here nor in the cache",
    ]


def test_a_hub_that_never_answers_is_given_up(study: Make, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    ends, answered = Event(), list[bool]()

    def model_info(*_: object, **__: object) -> None:
        answered.append(ends.wait(60))

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", model_info)
    monkeypatch.setattr("rim.preflight.model_files.TIMEOUT", 0.05)
    [line] = lines(models.findings(study(models={"m": {"hub": "lab/tiny", "variants": []}}), every_job))
    assert "(the hub is not in reach), so not checked: lab/tiny;" in line
    assert not answered
    ends.set()


def test_a_model_in_the_cache_is_known_without_the_hub(study: Make, here: Path) -> None:
    stored = here / "cache/models--lab--tiny"
    (stored / "refs").mkdir(parents=True)
    (stored / "refs/main").write_text("abc")
    (stored / "snapshots").mkdir()
    model_folder(stored / "snapshots/abc", model_type="bloom")
    fetched = models.findings(
        study(**named("lab/tiny"), forgetting=FORGETTING), lambda rule, job: rule != "fetch_model"
    )
    assert [line.split(",")[0] for line in lines(fetched)] == ["models.m.hub: its family 'bloom' has no adapter"]
    (stored / "snapshots/abc/two.safetensors").write_bytes(b"")
    [line] = lines(models.findings(study(**named("lab/tiny")), lambda rule, job: rule != "fetch_model"))
    assert "two.safetensors: is cut off" in line


def test_a_local_model_of_an_instrument_is_looked_at_too(study: Make, here: Path) -> None:
    model_folder(here / "m")
    own = {"endpoints": {"e": {"kind": "transformers", "model": "./judge"}}}
    judged = study(judges={"p": {"kind": "refusal_prefix"}, "r": {"kind": "rubric", "endpoint": "e"}}, **own)
    [line] = lines(models.findings(judged, every_job))
    assert line.startswith("endpoints.e.model: there is no folder './judge'")
    assert lines(models.findings(study(**own), every_job)) == []  # nobody asks it


def test_a_model_that_continues_a_published_template_needs_none_of_its_own(study: Make, here: Path) -> None:
    model_folder(here / "m")
    model_folder(here / "judge", template=None)
    first = {"p": {"kind": "refusal_prefix"}}
    own = {"endpoints": {"e": {"kind": "transformers", "model": "./judge"}}}
    harmbench = {"kind": "harmbench", "endpoint": "e", "template": "{behavior} {generation}"}
    assert lines(models.findings(study(judges={**first, "h": harmbench}, **own), every_job)) == []
    for asks in ({"kind": "llama_guard", "endpoint": "e"}, {"kind": "rubric", "endpoint": "e"}):
        [line] = lines(models.findings(study(judges={**first, "h": harmbench, "x": asks}, **own), every_job))
        assert line.startswith("endpoints.e.model: its tokenizer has no chat template")


def test_an_unreadable_index_is_one_line(study: Make, here: Path) -> None:
    folder = model_folder(here / "m")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": []}))
    [line] = lines(models.findings(study(), every_job))
    assert line.startswith("models.m.hub: ")
