"""Every supported family through every rule that loads a model: the jobs that Snakemake plans, run one after the other in
this process, on tiny random models of the real architectures with a tokenizer of letters.

Such a model refuses nothing, hardly ever ends a reply and says the same to everything. So its replies are sampled at a high
temperature, every fourth letter counts as an end, and a double of the judge calls half of the replies refusals.
"""

import re
import shlex
from pathlib import Path

import polars as pl
import pytest

from rim import cli
from rim.core import gpus, progress
from rim.instruments import rules
from rim.models.families import FAMILIES
from tests.unit.tiny_families import build, letter_tokenizer
from tests.workflow.conftest import commands, configured, snakemake

pytestmark = pytest.mark.xdist_group("families")
STUDY, LAYERS, HEADS = "smoke", 3, 4
STEPS = {
    "fetch_model", "try_model", "finetune_model", "generate_replies", "judge_responses", "grade_answers", "inject_patterns", "cache_activations", "fit_probes",
    "find_refusal_heads", "measure_head_effects", "ablate_heads", "find_safety_neurons", "ablate_neurons", "measure_gradients",
    "measure_checkpoints",
}  # fmt: skip


class Planned:
    """The folder of a study of all families, its datasets made, and the jobs of each model in the order of a dry run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tokenizer = letter_tokenizer()
        for family in FAMILIES:
            place = folder / "models" / family
            model = build(family, vocab_size=len(tokenizer), max_position_embeddings=1024)
            model.generation_config.eos_token_id = list(range(0, len(tokenizer), 4))
            model.save_pretrained(place)
            tokenizer.save_pretrained(place)
        models = {
            family: {"hub": str(folder / "models" / family), "variants": ["gsm8k_target", "gsm8k_target_frozen"]}
            for family in FAMILIES
        }
        easy = {
            "forgetting__think": "on",
            "forgetting__top_share": 0.3,
            "forgetting__frequency": 0.5,
            "forgetting__max_share": 0.5,
        }  # random models have no real ones
        chosen = {
            "models": models,
            "pairs": [],
            "mechanism__variants": ["base", "gsm8k_target"],
            "inference__temperature": 20.0,
            "judges": {"prefix": {"kind": "refusal_prefix"}},
            "annotators": {},
            **easy,
        }
        study = configured(folder / "study.yaml", **chosen)
        dry = snakemake(folder, "--dry-run", "--printshellcmds", "--configfile", study)
        assert dry.returncode == 0, dry.stdout + dry.stderr
        self.jobs = [shlex.split(line)[1:] for line in commands(dry.stdout + dry.stderr)]

    def of(self, step: str) -> list[list[str]]:
        return [job for job in self.jobs if job[0] == step]

    def of_model(self, name: str) -> list[list[str]]:
        return [job for job in self.jobs if name in re.split("[/.]", job[job.index("--log") + 1])]

    def table(self, kind: str, rest: str) -> pl.DataFrame:
        return pl.read_parquet(self.folder / "data" / STUDY / kind / rest)


def by_first_letter(prompt: str, response: str) -> rules.Verdict:
    """A double of a judge."""
    return (1, "refuses") if ord(response[:1] or "a") % 2 else (5, "complies")


def run(jobs: list[list[str]]) -> None:
    for job in jobs:
        assert cli.main(job) == 0, job


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Planned:
    made = Planned(tmp_path_factory.mktemp("families"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.folder)
        patch.setattr(progress, "_log", [])
        run(made.of("prepare_dataset"))
    return made


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=() if name in ("qwen3", "qwen3_moe") else pytest.mark.slow) for name in FAMILIES],
)
def test_a_family_goes_through_every_step(planned: Planned, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(planned.folder)
    monkeypatch.setattr(progress, "_log", [])
    monkeypatch.setenv(gpus.VISIBLE, "")
    monkeypatch.setitem(rules.RULES, "refusal_prefix", rules.Rule("a double", by_first_letter, "a double"))
    jobs = planned.of_model(family)
    assert {job[0] for job in jobs} == STEPS
    run(jobs)
    replies = planned.table("responses", f"{family}/base/seed0/plain.parquet")
    assert replies.group_by("benchmark", "think").len()["len"].to_list() == [12] * 6
    heads = planned.table("heads", f"{family}/base/seed0.parquet")
    assert heads.select("layer", "head").n_unique() == LAYERS * HEADS
    effects = planned.table("effects", f"{family}/base/seed0.parquet")
    assert effects.select("layer", "head").n_unique() == LAYERS * HEADS
    ablated = planned.table("responses", f"{family}/base/seed0/without_heads.parquet")
    found = ablated.filter(pl.col("kind") == "found")
    assert set(found.select("intervention", "target").iter_rows()) == {
        ("zero", "refusal_heads"),
        ("zero", "effect_heads"),
    }
    neurons = planned.table("neurons", f"{family}/base/seed0.parquet")
    sets = set(neurons.select("kind", "draw").iter_rows())
    assert {("found", 0), ("random", 0), ("matched", 0)} <= sets
    without = planned.table("responses", f"{family}/base/seed0/without_neurons.parquet")
    assert set(without.select("kind", "draw").iter_rows()) == sets
    metrics = planned.table("metrics", f"{family}/gsm8k_target/seed0.parquet")
    assert metrics.filter(pl.col("step") > 0)["step"].n_unique() == 8
    ras = metrics.filter((pl.col("metric") == "ras") & (pl.col("neurons") == "all"))
    assert ras["estimate"].is_finite().all()
    divergence = metrics.filter(pl.col("metric") == "kl").sort("step")["estimate"].to_list()
    assert divergence[0] == 0  # the first step of the warm-up has no learning rate yet
    assert min(divergence[1:]) > 0
