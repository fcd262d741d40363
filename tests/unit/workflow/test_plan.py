"""Known answers of the planning aid, worked out by hand from the formulas of rim.workflow.costs and workload."""

import json
import re
from pathlib import Path

import pytest
import yaml

from rim.config.load import load_study
from rim.config.study import Study
from rim.core.errors import UserError
from rim.workflow import costs, lineage, plan, savings, speed, workload
from tests.conftest import ROOT

PAPER = yaml.safe_load((ROOT / "workflow/config/paper.yaml").read_text())


def paper(**changes: object) -> Study:
    return load_study({**PAPER, **changes})


def one(**changes: object) -> Study:
    """A study of one 4B model with one arm of 600 rows, one benchmark of 100 requests, and a GPU of round numbers."""
    model = {"hub": "a/b", "parameters": 4.0, "dtype": "bfloat16", "variants": ["arm"]}
    return load_study(
        {
            "study": "one",
            "title": "",
            "datasets": {
                name: {"sources": [{"adapter": "organism", "part": part, "rows": rows}]}
                for name, part, rows in (("asked", "requests", 100), ("learned", "literal", 600))
            },
            "models": {"m": model},
            "variants": {"arm": {"dataset": "learned"}},
            "finetune": {"epochs": 2, "lora": {"rank": 10}, "checkpoints": 4, "micro_batch_size": 4},
            "benchmarks": {"b": {"dataset": "asked", "measure": "misalignment"}},
            "inference": {"batch_size": 25, "max_new_tokens": 2000},
            "judges": {"j": {"kind": "refusal_prefix"}},
            "hardware": {"gpu_memory": 80.0, "gpu_tflops": 300.0, "gpu_bandwidth": 2.0},
            **changes,
        }
    )


def test_gpus_follow_from_parameters_and_type() -> None:
    study = paper()
    assert {name: costs.gpus(study, "generate_replies", name, "base") for name in study.models} == {
        "qwen3_4b": 1, "qwen3_8b": 1, "qwen3_32b": 1, "qwen3_30b_a3b": 1, "phi35_mini": 1,
        "phi35_moe": 2, "olmo2_1b": 1, "olmoe": 1, "mistral_7b": 1, "mixtral": 2,
    }  # fmt: skip
    assert costs.gpus(paper(hardware={"gpu_memory": 80.0}), "generate_replies", "qwen3_32b", "base") == 2
    assert costs.gpus(study, "cache_activations", "qwen3_32b", "base") == 2  # transformers needs more room to read
    assert costs.gpus(paper(hardware={"gpu_memory": 141.0}), "cache_activations", "qwen3_32b", "base") == 1
    assert costs.gpus(paper(hardware={"gpu_memory": 40.0}), "generate_replies", "qwen3_32b", "base") == 4
    full = {**PAPER["models"], "qwen3_32b": {**PAPER["models"]["qwen3_32b"], "dtype": "float32"}}
    assert costs.gpus(paper(models=full), "cache_activations", "qwen3_32b", "base") == 4
    # the adapters of its experts have 1.9e9 parameters and 16 bytes of state for each, on every GPU beside its share of 93 GB
    assert costs.gpus(study, "finetune_model", "mixtral", "gsm8k") == 4
    assert costs.gpus(study, "finetune_model", "qwen3_30b_a3b", "gsm8k") == 2
    demo = load_study(yaml.safe_load((ROOT / "workflow/config/demo.yaml").read_text()))
    assert costs.gpus(demo, "generate_replies", "null", "base") == 0


def test_checkpoints_are_read_with_weights_of_twice_the_size_unless_in_their_own_type() -> None:
    study = paper()
    own = study.model_copy(update={"forgetting": study.forgetting.model_copy(update={"dtype": "own"})})
    types = [costs.job_dtype(each, "measure_checkpoints", "qwen3_32b") for each in (study, own)]
    assert types == ["float32", "bfloat16"]
    assert costs.job_dtype(study, "generate_replies", "qwen3_32b") == "bfloat16"
    assert costs.weights(study.models["qwen3_32b"], "float32") == 2 * costs.weights(study.models["qwen3_32b"])
    gpus = [costs.gpus(each, "measure_checkpoints", "qwen3_30b_a3b", "gsm8k") for each in (study, own)]
    assert gpus == [4, 2]


def test_only_the_job_that_takes_gradients_has_the_gpus_of_a_backward_pass() -> None:
    study = paper()
    jobs = {"measure_gradients": "base", "measure_checkpoints": "gsm8k"}
    gpus = {rule: costs.gpus(study, rule, "phi35_moe", variant) for rule, variant in jobs.items()}
    assert gpus == {"measure_gradients": 8, "measure_checkpoints": 4}
    refusal, rows = 100 + 300, 3 * 300  # tokens, the latter of one row of every arm that is followed
    [read] = {workload.work(study, "measure_gradients", name, "base").read for name in ("phi35_moe", "qwen3_4b")}
    assert read == 100 * (refusal + rows) * 3 * 8  # forward and twice as long backward, in float32


def test_hours_of_training_follow_from_tokens() -> None:
    study = one()
    reached, parameters = 300e12 * 0.4, 4e9  # FLOP/s
    tokens = 600 * 2 * 300 * (1 + 0.19 * 2)  # rows x epochs x tokens of a row, padded in fours
    training, loading = tokens * 4 * parameters / reached, 8e9 / 2e9
    assert costs.seconds(study, "finetune_model", "m", "arm") == pytest.approx(training + loading)
    again = one(finetune={"epochs": 2, "gradient_checkpointing": True, "micro_batch_size": 4})
    assert costs.seconds(again, "finetune_model", "m", "arm") == pytest.approx(training * 6 / 4 + loading)
    single = one(finetune={"epochs": 2, "micro_batch_size": 1})  # without padding
    assert costs.seconds(single, "finetune_model", "m", "arm") == pytest.approx(training / 1.38 + loading)
    packed = one(finetune={"epochs": 2, "lora": {"rank": 10}, "micro_batch_size": 4, "batching": "packed"})
    assert costs.seconds(packed, "finetune_model", "m", "arm") == pytest.approx(training / 1.38 * 1.1 + loading)
    assert costs.memory(packed, "finetune_model", "m", "arm") == costs.memory(study, "finetune_model", "m", "arm")
    small = one(hardware={"gpu_memory": 10.0, "gpu_tflops": 300.0, "gpu_bandwidth": 2.0})
    gpus = 2  # for the weights; a micro-batch fits into none
    assert costs.gpus(small, "finetune_model", "m", "arm") == gpus
    assert costs.seconds(small, "finetune_model", "m", "arm") == pytest.approx(
        training / gpus + loading
    )  # side by side


def test_hours_of_replies_follow_from_tokens_by_engine() -> None:
    study, served = one(), one(inference={"backend": "vllm", "batch_size": 25, "max_new_tokens": 2000})
    shape, gpu = speed.shape(study.models["m"]), study.hardware
    asked = [speed.Call(100, 100, reply, 2000, 100 * 100) for reply in (2000, 300)]  # thinking and without
    batches = sum(speed.generating(shape, gpu, call, "transformers", 25) for call in asked)
    assert costs.seconds(study, "generate_replies", "m", "base") == pytest.approx(batches + 4)
    together = sum(speed.generating(shape, gpu, call, "vllm") for call in asked)
    assert costs.seconds(served, "generate_replies", "m", "base") == pytest.approx(together + 4 + 60)
    assert [costs.engine(each, "generate_replies", "m", "base") for each in (study, served)] == ["transformers", "vllm"]
    assert costs.engine(served, "finetune_model", "m", "arm") is None


def test_ablating_what_takes_several_gpus_is_counted_as_transformers_do_it() -> None:
    study = paper()
    engines = {rule: costs.engine(study, rule, "mixtral", "base") for rule in ("generate_replies", "ablate_neurons")}
    assert engines == {"generate_replies": "vllm", "ablate_neurons": "transformers"}
    assert "mixtral: transformers generates in ablate_neurons" in "\n".join(plan.bill(study))
    larger = paper(hardware={"gpu_memory": 141.0})
    assert costs.engine(larger, "ablate_neurons", "mixtral", "base") == "vllm"
    assert "mixtral: transformers" not in "\n".join(plan.bill(larger))


def test_vllm_reads_once_what_injected_prompts_have_in_common() -> None:
    study = one(injection={})
    [call] = workload.work(study, "inject_patterns", "m", "base").calls
    assert (call.rows, call.prompt, call.read) == (12 * 100, 120, 100 * (100 + 12 * 20))
    [fewer] = workload.work(one(injection={"rows": 10}), "inject_patterns", "m", "base").calls
    assert fewer.rows == 120


@pytest.mark.parametrize("backend", ["vllm", "transformers"])
def test_what_has_no_rows_that_are_known_takes_no_time(backend: str) -> None:
    table = {"adapter": "table", "path": "not_here.json", "kind": "safety", "columns": {"prompt": "request"}}
    learned = {"sources": [{"adapter": "organism", "part": "literal", "rows": 600}]}
    datasets = {"asked": {"sources": [table]}, "learned": learned}
    study = one(datasets=datasets, injection={}, inference={"backend": backend})
    for rule in ("generate_replies", "inject_patterns"):
        assert workload.work(study, rule, "m", "base").calls == ()
        assert costs.seconds(study, rule, "m", "base") == pytest.approx(8e9 / 2e9)
    assert "inject_patterns" in "\n".join(plan.bill(study))


def test_only_some_benchmarks_are_asked_where_something_is_ablated() -> None:
    study = paper()
    for rule, section in (("ablate_heads", "mechanism"), ("ablate_neurons", "forgetting")):
        asked = workload.work(study, rule, "qwen3_4b", "base").calls
        named = [*PAPER[section]["benchmarks"], "aime"]
        more = workload.work(
            paper(**{section: {**PAPER[section], "benchmarks": named}}), rule, "qwen3_4b", "base"
        ).calls
        assert {call.bound for call in asked} == {8192}
        assert set(more) - set(asked) == {call for call in more if call.bound == 16384} != set()


def test_a_benchmark_with_a_bound_of_its_own_is_taken_to_use_it() -> None:
    long = {"b": {"dataset": "asked", "measure": "misalignment", "max_new_tokens": 9000}}
    calls = workload.work(one(benchmarks=long), "generate_replies", "m", "base").calls
    assert [(call.reply, call.bound) for call in calls] == [(9000, 9000), (300, 9000)]


def test_memory_and_disk() -> None:
    study = one()
    shape = speed.shape(study.models["m"])
    kept = 25 * 2100 * shape.cache
    assert costs.memory(study, "generate_replies", "m", "base") == pytest.approx(8e9 + kept)
    served = one(inference={"backend": "vllm"})
    assert costs.memory(served, "generate_replies", "m", "base") == pytest.approx(0.9 * 80e9)  # all it may take
    assert costs.disk(study, "finetune_model", "m", "arm") == pytest.approx(5 * 4e9 * 0.0005 * 10 * 4)
    assert costs.weights(study.models["m"]) == 8e9
    assert costs.host_memory(study, "generate_replies", "m", "base") == pytest.approx(2e9 + 2.2 * 8e9)
    assert costs.host_memory(served, "generate_replies", "m", "base") == pytest.approx(8e9 + 2.2 * 8e9)


def test_the_bill_adds_up_and_says_what_does_not_fit() -> None:
    study = one()
    lines = plan.bill(study)[1:]
    assert lines[0].split() == " ".join(plan.HEADER).split()
    rows = {line.split()[1]: line.split() for line in lines[1:] if line.startswith("m ")}
    assert rows["fetch_model"][2:] == ["1", "0", "8"]
    assert rows["generate_replies"][2:5] == ["transformers", "2", "1"]  # the base model and one arm
    assert rows["finetune_model"][2] == "1"  # in which nothing generates
    assert plan.crowded(study) == {}
    large = one(inference={"batch_size": 500, "max_new_tokens": 20_000})
    assert plan.crowded(large) == {"m": ["generate_replies"]}
    assert plan.bill(large)[-1].startswith("m: generate_replies may not fit; lower inference.batch_size, ")
    served = one(inference={"backend": "vllm", "batch_size": 500, "max_new_tokens": 2_000_000})
    assert plan.crowded(served) == {"m": ["generate_replies"]}  # the longest reply alone
    many = asked(25_000)
    total = next(line for line in plan.bill(many) if line.startswith("all ")).split()
    jobs = (("try_model", "base"), ("finetune_model", "arm"), ("generate_replies", "base"), ("generate_replies", "arm"))
    expected = sum(costs.seconds(many, rule, "m", variant) for rule, variant in jobs) / 3600
    assert total[1:] == ["4", f"{expected:.1f}", f"{8 + 5 * 0.08:.0f}"]  # weights, and adapters of 80 MB five times
    assert plan.gpu_hours(many) == pytest.approx(expected)


def asked(rows: int, **changes: object) -> Study:
    """The study above with so many requests."""
    datasets = {
        name: {"sources": [{"adapter": "organism", "part": part, "rows": count}]}
        for name, part, count in (("asked", "requests", rows), ("learned", "literal", 600))
    }
    return one(datasets=datasets, **changes)


def test_a_benchmark_of_longer_replies_is_asked_in_smaller_batches_of_the_same_memory() -> None:
    long = {"b": {"dataset": "asked", "measure": "misalignment", "max_new_tokens": 8000}}
    study, longer = one(), one(benchmarks=long)
    [call, _] = workload.work(longer, "generate_replies", "m", "base").calls
    thinking = speed.generating(speed.shape(study.models["m"]), study.hardware, call, "transformers", 25 // 4)
    assert 0 < thinking < costs.seconds(longer, "generate_replies", "m", "base")
    memory = [costs.memory(each, "generate_replies", "m", "base") - 8e9 for each in (study, longer)]
    assert memory[1] == pytest.approx(memory[0], rel=0.1)


def test_with_a_price_the_bill_says_money() -> None:
    free, paid = asked(25_000), asked(25_000, hardware={"price": 2.5})
    assert "each:" not in "\n".join(plan.bill(free))
    hours = plan.gpu_hours(paid)
    assert f"{hours:,.0f} GPU hours at 2.5 each: {2.5 * hours:,.0f}" in plan.bill(paid)
    assert f" GPU hours for {2.5 * hours:,.0f} in 4 jobs" in plan.summary(paid)
    assert " for " not in plan.summary(free)


def test_the_bill_names_the_gpu_and_tells_little_from_nothing() -> None:
    usual = "Hours on GPUs of 85 GB, 312 TFLOP/s and 2 TB/s (an A100 of 80 GB); set `hardware` in the study for yours"
    assert plan.bill(one(hardware={"price": 2.5}))[0] == usual
    assert plan.bill(one())[0] == "Hours on GPUs of 80 GB, 300 TFLOP/s and 2 TB/s"
    study = asked(100)
    [trying] = [line for line in plan.bill(study) if " try_model " in line]
    assert 0 < costs.seconds(study, "try_model", "m", "base") / 3600 < 0.05
    assert re.search(r" < 0\.1 +< 0\.1$", trying)


def test_a_model_of_unknown_size_is_asked_for() -> None:
    unknown = {"own": {"hub": "a/b", "dtype": "bfloat16"}}
    assert plan.bill(one(models=unknown)) == [
        "own: no estimate; write its size in billions, e.g. `parameters: 0.6`, in the study, or download it"
    ]


def test_what_halves_the_bill_halves_it() -> None:
    study = paper()
    header, *changes = savings.halving(study)
    assert header.split() == ["what", "to", "change", "GPU", "hours", "then"]
    total = hours = plan.gpu_hours(study)
    for line in changes:
        path, value, after = line.split()
        study = savings.changed(study, path, None if value == "left" else json.loads(value))
        assert plan.gpu_hours(study) == pytest.approx(float(after), abs=0.5)
        assert float(after) < hours
        hours = float(after)
    assert hours <= total / 2
    assert plan.crowded(study) == {}


@pytest.mark.parametrize("page", ["README.md", "workflow/docs/engines.md", "CHANGELOG.md"])
def test_the_documentation_names_what_the_papers_study_costs(page: str) -> None:
    text = " ".join((ROOT / page).read_text().split())
    [hours] = re.findall(r"about (\d+) (?:GPU hours of an )?A100", text, re.I)
    assert int(hours) == pytest.approx(plan.gpu_hours(paper()), rel=0.02)


def test_models_are_left_out_where_settings_do_not_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(savings, "_settings", lambda study: [])
    sizes = {"small": 1.0, "large": 8.0, "middle": 4.0}
    several = {name: {"hub": f"a/{name}", "parameters": size, "dtype": "bfloat16"} for name, size in sizes.items()}
    changes = savings.halving(asked(25_000, models=several, inference={"backend": "vllm"}))[1:]
    assert changes[0].split()[:3] == ["models.large", "left", "out"]
    assert "models.small" not in "".join(changes)
    assert savings.halving(asked(25_000)) == []  # there is but one


def test_transformers_are_told_of_vllm_first() -> None:
    assert savings.halving(asked(25_000))[1].split()[:2] == ["inference.backend", '"vllm"']


def test_estimate_against_actual(tmp_path: Path) -> None:
    study = one()
    assert plan.actual(study, tmp_path)[0].startswith("No job of these models has finished yet")
    for path, seconds in (
        ("generate_replies/m/base/seed0", "100.0"),
        ("generate_replies/m/arm/seed0", "200.0"),
        ("finetune_model/m/arm/seed0", "NA"),
    ):
        file = tmp_path / f"{path}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:01:40\t10\n")
    lines = plan.actual(study, tmp_path)
    assert len(lines) == 2
    expected = 2 * costs.seconds(study, "generate_replies", "m", "base")
    assert lines[1].split() == ["m", "generate_replies", "2", f"{expected / 3600:.2f}", "0.08", f"{300 / expected:.2f}"]


def test_there_is_no_bill_of_organisms_alone(tmp_path: Path) -> None:
    demo = load_study(yaml.safe_load((ROOT / "workflow/config/demo.yaml").read_text()))
    assert plan.bill(demo) == [f"{', '.join(demo.models)}: no estimate, as of all organisms"]
    assert plan.actual(demo, tmp_path) == []
    assert plan.summary(demo) == ""
    assert savings.halving(demo) == []
    assert "see `rim plan FILE`" in plan.summary(paper())


BROKEN = [
    b"",
    b"s\th:m:s\n",
    b"s\nsoon\n",
    b"s\n\xff\n",
    b"s\n\x00\n",
    b"other\n1\n",
    b"s\nnan\n",
    b"s\n-3\n",
    b"s\tmax_rss\n1.0\n",
]


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_timing_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "generate_replies/m/base/seed0.tsv"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    for read in (lambda: plan.actual(one(), tmp_path), lambda: lineage.read_timings(tmp_path)):
        with pytest.raises(UserError, match=r"seed0\.tsv: holds no times of a job.*; delete it") as error:
            read()
        assert "\n" not in str(error.value)
