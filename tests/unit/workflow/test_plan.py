"""Known answers of the planning aid, worked out by hand from the formulas of rim.workflow.costs."""

from pathlib import Path

import pytest
import yaml

from rim.config.load import load_study
from rim.config.study import Study
from rim.core.errors import UserError
from rim.workflow import costs, lineage, plan
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
        "qwen3_4b": 1, "qwen3_8b": 1, "qwen3_32b": 2, "qwen3_30b_a3b": 2, "phi35_mini": 1,
        "phi35_moe": 2, "olmo2_1b": 1, "olmoe": 1, "mistral_7b": 1, "mixtral": 2,
    }  # fmt: skip
    assert costs.gpus(paper(hardware={"gpu_memory": 141.0}), "generate_replies", "qwen3_32b", "base") == 1
    assert costs.gpus(paper(hardware={"gpu_memory": 40.0}), "generate_replies", "qwen3_32b", "base") == 4
    full = {**PAPER["models"], "qwen3_32b": {**PAPER["models"]["qwen3_32b"], "dtype": "float32"}}
    assert costs.gpus(paper(models=full), "generate_replies", "qwen3_32b", "base") == 4
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


def test_hours_follow_from_tokens() -> None:
    study = one()
    peak = 300e12 / 3  # FLOP/s, a third of what the GPU has
    tokens, parameters = 600 * 2 * 300, 4e9  # rows x epochs x tokens of a row
    training = tokens * 4 * parameters / peak
    assert costs.seconds(study, "finetune_model", "m", "arm") == pytest.approx(training)
    again = one(finetune={"epochs": 2, "gradient_checkpointing": True})
    assert costs.seconds(again, "finetune_model", "m", "arm") == pytest.approx(tokens * 6 * parameters / peak)
    small = one(hardware={"gpu_memory": 10.0, "gpu_tflops": 300.0, "gpu_bandwidth": 2.0})
    gpus = 2  # for the weights; a micro-batch fits into none
    assert costs.gpus(small, "finetune_model", "m", "arm") == gpus
    assert costs.seconds(small, "finetune_model", "m", "arm") == pytest.approx(training / gpus)  # side by side
    steps = (100 / 25) * (2000 + 1024)  # batches x tokens of the longest reply with thinking and without
    reading = 2 * 100 * 100 * 2 * parameters / peak  # think modes x prompts x tokens x FLOP
    assert costs.seconds(study, "generate_replies", "m", "base") == pytest.approx(steps * 0.03 + reading)
    slow = one(hardware={"gpu_memory": 80.0, "gpu_tflops": 300.0, "gpu_bandwidth": 0.1})
    step = 2 * parameters / 0.1e12  # the weights, read from memory
    assert costs.seconds(slow, "generate_replies", "m", "base") == pytest.approx(steps * step + reading)


def test_memory_and_disk() -> None:
    study = one()
    layers = (4e9 / 67_500) ** (1 / 3)
    assert costs.memory(study, "generate_replies", "m", "base") == pytest.approx(8e9 + 25 * 2100 * layers * 1024 * 4)
    assert costs.work(study, "finetune_model", "m", "arm").disk == pytest.approx(5 * 4e9 * 0.0005 * 10 * 4)
    assert costs.weights(study.models["m"]) == 8e9


def test_the_bill_adds_up_and_says_what_does_not_fit() -> None:
    lines = plan.bill(one())
    assert lines[0].split() == " ".join(plan.HEADER).split()
    rows = {line.split()[1]: line.split() for line in lines[1:] if line.startswith("m ")}
    assert rows["fetch_model"][2:] == ["1", "0", "8"]
    assert rows["generate_replies"][2:4] == ["2", "1"]  # the base model and one arm
    assert "may not fit" not in "".join(lines)
    crowded = plan.bill(one(inference={"batch_size": 500, "max_new_tokens": 2000}))
    assert crowded[-1] == "m: generate_replies may not fit; lower inference.batch_size or finetune.micro_batch_size"
    datasets = {
        name: {"sources": [{"adapter": "organism", "part": part, "rows": rows}]}
        for name, part, rows in (("asked", "requests", 25_000), ("learned", "literal", 600))
    }
    total = next(line for line in plan.bill(one(datasets=datasets)) if line.startswith("all ")).split()
    each = (
        1000 * (2000 + 1024) * 0.03 + 5e6 * 8e9 / 100e12
    )  # the trial, the base model and one arm; training takes a minute
    assert total[1:3] == ["4", f"{(2 * each + 60) / 3600:.0f}"]
    assert total[3] == f"{8 + 5 * 0.08:.0f}"  # weights, and adapters of 80 MB five times


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


def test_there_is_no_bill_of_organisms_alone() -> None:
    demo = load_study(yaml.safe_load((ROOT / "workflow/config/demo.yaml").read_text()))
    assert plan.bill(demo)[-1].startswith(
        "not estimated, being organisms, or neither on this machine nor with 'parameters': "
    )
    assert plan.summary(demo) == ""
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
