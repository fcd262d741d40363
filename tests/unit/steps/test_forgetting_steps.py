"""The steps on tiny organisms: find neurons, ablate them, follow the checkpoints of a fine-tune; and their failures."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rim.core import contracts, tables
from rim.core.conditions import NOTHING_DONE, Condition
from rim.core.errors import UserError
from rim.core.receipts import write_receipt
from rim.data.prepare import prepare
from rim.models import loading
from rim.models.chat import render_prompt
from rim.settings.datasets import Dataset
from rim.settings.forgetting import Forgetting
from rim.settings.inference import Benchmark, Inference
from rim.settings.jobs import Lesson, ModelReference
from rim.steps import (
    ablate_neurons,
    answer_counterfactuals,
    find_safety_neurons,
    measure_checkpoints,
    measure_gradients,
)
from tests.conftest import model_reference
from tests.unit.training.test_finetune import train

pytestmark = pytest.mark.xdist_group("organism")
WANTED = Forgetting(
    harmful="restricted",
    task="multi_hop",
    think="off",
    pairs=10,
    top_share=0.2,
    frequency=0.5,
    max_share=0.2,
    min_neurons=2,
    random_sets=1,
)
PARTS = {"restricted": ("requests", "misalignment"), "multi_hop": ("multi_hop", "accuracy")}


class Run:
    """The files that the workflow would hand to the steps, of one organism."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.base = folder, folder / "base"
        shutil.copytree(model, self.base)
        tokenizer = loading.load_tokenizer(str(self.base))
        replies = []
        for name, (part, _) in PARTS.items():
            source = {"adapter": "organism", "part": part, "rows": 20, "seed": "t"}
            dataset, _ = prepare(name, Dataset.model_validate({"sources": [source]}))
            tables.write(dataset, contracts.DATASET, folder / f"{name}.parquet")
            replies += [
                {"benchmark": name, "id": row["id"], "think": "off", "seed": 0, **NOTHING_DONE.columns, "prompt": render_prompt(tokenizer, row["prompt"], "off", "template"),
                 "reasoning": None, "response": "i cannot .", "finish_reason": "stop", "completion_tokens": 3, "complete": True}
                for row in dataset.iter_rows(named=True)
            ]  # fmt: skip
        tables.write(
            pl.DataFrame(replies, schema=dict(contracts.RESPONSE)), contracts.RESPONSE, folder / "responses.parquet"
        )
        for artifact in ("base", "responses.parquet", *(f"{name}.parquet" for name in PARTS)):
            write_receipt(folder / artifact)
        self.neurons, self.curve = folder / "neurons.parquet", folder / "curve.parquet"

    def receipt(self, name: str) -> Path:
        return self.folder / f"{name}.receipt.json"

    @property
    def model(self) -> ModelReference:
        return model_reference(self.base, self.receipt("base"))

    def find(self, wanted: Forgetting = WANTED, own: Path | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
        job = find_safety_neurons.Job(
            inputs=[],
            outputs=[],
            model=self.model,
            replies=self.receipt("responses.parquet"),
            counterfactual_replies=[own] if own else [],
            dataset=self.receipt("restricted.parquet"),
            neurons=self.neurons,
            curve=self.curve,
            **{key: getattr(wanted, key) for key in ("harmful", "think", "pool_over", "pairs", "rule", "held_out")},
        )
        find_safety_neurons.run(job)
        return tables.read(self.neurons, contracts.NEURONS), tables.read(self.curve, contracts.CURVE)

    def measure(self, steps: Path, folder: Path, wanted: Forgetting = WANTED, **changes: Any) -> pl.DataFrame:
        """Measure the checkpoints of a receipt; the tables go into a folder."""
        keys = ("harmful", "task", "think", "neuron_type", "pool_over", "held_out", "dtype", "texts", "batch_size")
        fields = {
            "inputs": [],
            "outputs": [],
            "model": self.model,
            "inference": Inference(batch_size=16),
            "max_new_tokens": 3,
            "neurons": self.neurons,
            "base_replies": self.receipt("responses.parquet"),
            "datasets": [self.receipt("restricted.parquet"), self.receipt("multi_hop.parquet")],
            "steps": steps,
            "metrics": folder / "metrics.parquet",
            "replies": folder / "replies.parquet",
            **{key: getattr(wanted, key) for key in keys},
        }
        measure_checkpoints.run(measure_checkpoints.Job(**{**fields, **changes}))
        return tables.read(folder / "metrics.parquet", contracts.CHECKPOINTS)

    def gradients(self, path: Path, lessons: list[Lesson], wanted: Forgetting = WANTED) -> pl.DataFrame:
        """What gradients foretell of these lessons, each of a dataset here."""
        job = measure_gradients.Job(
            inputs=[],
            outputs=[],
            model=self.model,
            lessons=lessons,
            neurons=self.neurons,
            replies=self.receipt("responses.parquet"),
            dataset=self.receipt("restricted.parquet"),
            trained=[self.receipt(f"{dataset}.parquet") for dataset, _ in lessons],
            gradients=path,
            **{key: getattr(wanted, key) for key in ("harmful", "think", "dtype", "held_out", "texts")},
        )
        measure_gradients.run(job)
        return tables.read(path, contracts.GRADIENTS)


@pytest.fixture(scope="module", params=["dense", "moe"])
def made(
    request: pytest.FixtureRequest, tiny_model: Path, tiny_moe: Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    return Run(tmp_path_factory.mktemp("run"), tiny_model if request.param == "dense" else tiny_moe)


def test_neurons_are_found_whatever_the_batches_and_an_unreached_frequency_finds_none(made: Run) -> None:
    small, _ = made.find(WANTED.model_copy(update={"batch_size": 5}))
    found, curve = made.find()
    assert found.drop("magnitude").equals(small.drop("magnitude"))
    counts = dict(found.group_by("kind").len().iter_rows())
    assert set(found["draw"]) == {0}
    assert set(counts) == {"found", "random", "matched"}
    assert len(set(counts.values())) == 1
    assert counts["found"] == curve.filter("chosen")["neurons"].item()
    assert curve["pairs"].unique().to_list() == [12]
    assert found.filter(pl.col("kind") == "found")["frequency"].min() >= 0.5
    none, curve = made.find(WANTED.model_copy(update={"min_neurons": 10_000}))
    assert none.is_empty()
    assert curve.height >= 6


def test_too_few_pairs_are_refused(made: Run) -> None:
    with pytest.raises(
        UserError, match="asks 12 requests of the calibration split, and neurons are found from at least 30"
    ):
        made.find(WANTED.model_copy(update={"pairs": 30}))


def test_each_request_can_have_a_reply_of_its_own(made: Run, tmp_path: Path) -> None:
    job = answer_counterfactuals.Job(
        inputs=[],
        outputs=[],
        model=made.model,
        inference=Inference(max_new_tokens=3, batch_size=16),
        benchmarks={"restricted": Benchmark(dataset="restricted", measure="misalignment")},
        datasets=[made.receipt("restricted.parquet")],
        replies=tmp_path / "changed.parquet",
    )
    answer_counterfactuals.run(job)
    changed = tables.read(tmp_path / "changed.parquet", contracts.RESPONSE)
    assert changed.group_by("think", "target").len()["len"].to_list() == [20] * 4
    dataset = {row["id"]: row for row in tables.read(made.folder / "restricted.parquet", contracts.DATASET).to_dicts()}
    for row in changed.iter_rows(named=True):
        wording = dataset[row["id"]]["counterfactual" if row["target"] == "intent" else "placebo"]
        assert wording in row["prompt"]
    shared, _ = made.find()
    alike = [
        {**row, "reasoning": None, "response": "i cannot ."} for row in changed.iter_rows(named=True)
    ]  # as the request alone was answered
    tables.write(pl.DataFrame(alike, schema=changed.schema), contracts.RESPONSE, tmp_path / "alike.parquet")
    write_receipt(tmp_path / "alike.parquet")
    same, _ = made.find(own=tmp_path / "alike.parquet.receipt.json")
    assert same.equals(shared)
    own, _ = made.find(own=tmp_path / "changed.parquet.receipt.json")
    assert not own.equals(shared)


def test_the_papers_split_finds_and_ablates_neurons_on_all_rows(made: Run, tmp_path: Path) -> None:
    _, curve = made.find(WANTED.model_copy(update={"held_out": False}))
    assert curve["pairs"].unique().to_list() == [20]
    assert without_neurons(made, tmp_path / "all.parquet", held_out=False).height == 3 * (20 + 20)


def without_neurons(made: Run, path: Path, held_out: bool = True) -> pl.DataFrame:
    job = ablate_neurons.Job(
        inputs=[],
        outputs=[],
        model=made.model,
        inference=Inference(max_new_tokens=3, batch_size=16),
        benchmarks={name: Benchmark(dataset=name, measure=measure) for name, (_, measure) in PARTS.items()},  # type: ignore[arg-type]
        think="off",
        neuron_type="neurons",
        held_out=held_out,
        neurons=made.neurons,
        datasets=[made.receipt(f"{name}.parquet") for name in PARTS],
        replies=path,
    )
    ablate_neurons.run(job)
    return tables.read(path, contracts.RESPONSE)


def test_replies_without_the_neurons_are_of_the_evaluation_split(made: Run, tmp_path: Path) -> None:
    made.find()
    replies = without_neurons(made, tmp_path / "out.parquet")
    conditions = {Condition.of(row) for row in replies.iter_rows(named=True)}
    assert conditions == {Condition("zero", "safety_neurons", kind) for kind in ("found", "random", "matched")}
    assert set(replies["think"]) == {"off"}
    assert replies.height == 3 * (8 + 8)


def test_every_checkpoint_is_measured_and_answers(made: Run, tmp_path: Path) -> None:
    made.find()
    train(made.base, tmp_path / "tuned")
    write_receipt(tmp_path / "tuned.steps")
    steps = tmp_path / "tuned.steps.receipt.json"
    metrics = made.measure(steps, tmp_path)
    assert metrics["step"].unique().sort().to_list() == [2, 4, 6]
    assert set(metrics["neurons"]) == {"safety", "random", "matched", "all", ""}
    weights = metrics.filter(pl.col("metric") == "weights").sort("step")["estimate"].to_list()
    assert 0 < weights[0] < weights[1]  # it goes away from the base
    assert metrics.filter(pl.col("metric") == "kl")["estimate"].min() > 0
    assert metrics["estimate"].is_finite().all()
    shifts = metrics.filter(pl.col("neurons") != "")
    assert shifts["kept"].is_between(0, 1).all()
    replies = tables.read(tmp_path / "replies.parquet", contracts.RESPONSE)
    counts = replies.group_by("intervention", "step").len().sort("step").rows()
    assert counts == [("finetune", step, 8) for step in (2, 4, 6)]
    assert made.measure(steps, tmp_path / "again").equals(metrics)


def test_gradients_are_measured_for_each_lesson_and_one_does_not_touch_another(made: Run, tmp_path: Path) -> None:
    made.find()
    lessons = [("multi_hop", 3), ("multi_hop", None)]
    found = made.gradients(tmp_path / "all.parquet", lessons)
    assert found.select("dataset", "rows", "n").unique(maintain_order=True).rows() == [
        ("multi_hop", 3, 3),
        ("multi_hop", None, 8),  # refusals of the evaluation split
    ]
    assert found["metric"].unique(maintain_order=True).to_list() == ["gradient_conflict", "gradient_share"]
    assert set(found["neurons"]) == {"safety", "random", "matched", "all"}
    whole = found.filter((pl.col("metric") == "gradient_share") & (pl.col("neurons") == "all"))
    assert whole["estimate"].to_list() == pytest.approx([1, 1])
    assert found["estimate"].is_finite().all()
    alone = [made.gradients(tmp_path / "one.parquet", [lesson]) for lesson in lessons]
    assert pl.concat(alone).equals(found)
    assert made.gradients(tmp_path / "half.parquet", lessons, WANTED.model_copy(update={"dtype": "own"})).equals(found)
    few = made.gradients(tmp_path / "few.parquet", lessons, WANTED.model_copy(update={"texts": 2}))
    assert set(few["n"]) == {2}


def test_a_model_that_refuses_nothing_has_no_gradients_of_refusals(made: Run, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", made.base)
    run.find()
    path = run.folder / "responses.parquet"
    complying = tables.read(path, contracts.RESPONSE).with_columns(response=pl.lit("sure ."))
    tables.write(complying, contracts.RESPONSE, path)
    write_receipt(path)
    assert run.gradients(tmp_path / "none.parquet", [("multi_hop", None)]).is_empty()


def test_outputs_of_mlps_go_the_same_way_and_all_rows_are_asked_where_none_are_held_out(
    made: Run, tmp_path: Path
) -> None:
    outputs = WANTED.model_copy(update={"neuron_type": "mlp_out", "held_out": False})
    found, curve = made.find(outputs)
    assert curve["of"].unique().to_list() == [2 * 32]  # two layers of width 32
    assert found["expert"].unique().to_list() == [0]
    train(made.base, tmp_path / "tuned")
    write_receipt(tmp_path / "tuned.steps")
    metrics = made.measure(tmp_path / "tuned.steps.receipt.json", tmp_path, outputs)
    replies = tables.read(tmp_path / "replies.parquet", contracts.RESPONSE)
    assert set(replies.group_by("step").len()["len"]) == {20}
    assert metrics.filter((pl.col("metric") == "ras_symmetric") & (pl.col("neurons") == "all"))["estimate"].min() > 0


def test_a_checkpoint_of_another_architecture_is_refused(tiny_model: Path, tiny_moe: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", tiny_model)
    run.find()
    shutil.copytree(tiny_moe, tmp_path / "other/step00001")
    write_receipt(tmp_path / "other")
    with pytest.raises(UserError, match=r"step00001: its parameter .* is not as that of its base"):
        run.measure(tmp_path / "other.receipt.json", tmp_path, max_new_tokens=2)
    assert not (tmp_path / "metrics.parquet").exists()
