"""The workflow as a user runs it: dry runs, mistakes, the smoke study from nothing to a report, Ctrl-C and resume."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from rim.config import runs
from rim.config.load import load_study_file
from rim.report.figures.catalogue import figures_of_study
from rim.results.catalogue import tables_of
from tests.conftest import ROOT
from tests.workflow.conftest import command, configured, counted, environment, jobs, shipped, snakemake, snakemake_log


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        (
            "demo",
            {
                "train_organism": 3,
                "finetune_model": 27,
                "generate_replies": 30,
                "inject_patterns": 3,
                "cache_activations": 27,
                "fit_probes": 27,
                "ablate_heads": 3,
                "find_safety_neurons": 3,
                "ablate_neurons": 3,
                "measure_gradients": 3,
                "measure_checkpoints": 15,
                "write_report": 1,
            },
        ),
        (
            "paper",
            {
                "prepare_dataset": 14,
                "rewrite_cot": 2,
                "annotate_patterns": 2,
                "inject_patterns": 10,
                "finetune_model": 8 * 6 * 3,
                "try_model": 10,
                "try_instrument": 5,
                "generate_replies": 10 + 8 * 6 * 3,
                "find_refusal_heads": 4 + 2 * 6 * 3,
                "answer_counterfactuals": 10,
                "find_safety_neurons": 10,
                "measure_gradients": 8,
                "measure_checkpoints": 8 * 3 * 3,
                "write_report": 1,
            },
        ),
        (
            "replication",
            {
                "train_organism": 10,
                "finetune_model": 20,
                "generate_replies": 30,
                "cache_activations": None,
                "write_report": 1,
            },
        ),
    ],
)
def test_dry_run_prints_the_whole_dag_offline(tmp_path: Path, name: str, counts: dict[str, int | None]) -> None:
    done = snakemake(tmp_path, "--dry-run", "--configfile", shipped(name))
    assert done.returncode == 0, done.stderr
    found = counted(done.stdout + done.stderr)
    assert {rule: found.get(rule) for rule in counts} == counts


# lines of workflow/docs/slurm.md, in order, and the rules whose jobs are left for each when those before have run
PARTS = {
    "snakemake --cores 2 --omit-from try_model": {
        "fetch_model",
        "prepare_dataset",
        "rewrite_cot",
        "try_instrument",
    },
    "P --omit-from judge_responses annotate_patterns": {
        "try_model",
        "finetune_model",
        "summarize_finetunes",
        "generate_replies",
        "inject_patterns",
        "grade_answers",
        "cache_activations",
        "answer_counterfactuals",
        "find_safety_neurons",
        "ablate_neurons",
        "measure_gradients",
        "measure_checkpoints",
    },
    "N --cores 2 --until judge_responses annotate_patterns": {"judge_responses", "annotate_patterns"},
    "P --omit-from judge_ablated": {
        "fit_probes",
        "find_refusal_heads",
        "measure_head_effects",
        "ablate_heads",
        "grade_answers",
        "compare_judges",
        "summarize_replies",
        "explain_replies",
        "summarize_patterns",
        "summarize_forgetting",
    },
    "N --cores 2 --until judge_ablated": {"judge_ablated"},
    "P\n```": {"summarize_mechanism", "draw_figures", "write_report"},
}


def test_parts_of_the_paper_can_run_in_different_places(root: Path, tmp_path: Path) -> None:
    """As workflow/docs/slurm.md says: no part that asks language models needs a GPU, and the other way round."""
    page = (root / "workflow/docs/slurm.md").read_text()
    places = [page.index(line) for line in PARTS]
    assert places == sorted(places)

    def planned(*options: str) -> set[str]:
        dry = snakemake(tmp_path, "--dry-run", "--configfile", shipped("paper"), *options)
        assert dry.returncode == 0, dry.stderr
        return jobs(dry.stdout + dry.stderr) - {"all"}

    done: set[str] = set()
    for line, rules in PARTS.items():
        _, dashes, options = line.strip().rpartition(" --")
        left = planned(*f"{dashes}{options}".split()) - done if dashes else planned() - done
        assert {job.split()[0] for job in left} == rules
        done |= left
    assert done == planned()


def test_demo_is_the_default(tmp_path: Path) -> None:
    done = snakemake(tmp_path, "--dry-run")
    assert "results/demo/report.html" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"finetune__epoch": 2}, "finetune.epoch: unknown key"),
        ({"seeds": "zero"}, "seeds: should be a list"),
        ({"variants__gsm8k_target": {}}, "variants.gsm8k_target.dataset: this key is required"),
        ({"models__null__hub": "a/b"}, "models.null: a model needs exactly one of 'hub', 'organism' and 'graft'"),
    ],
)
def test_a_wrong_configuration_stops_before_any_job(tmp_path: Path, changes: dict, line: str) -> None:
    done = snakemake(tmp_path, "--configfile", configured(tmp_path / "c.yaml", **changes))
    assert done.returncode != 0
    assert line in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def results_of(directory: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in sorted((directory / "results/smoke").rglob("*"))
        if path.suffix in (".csv", ".svg")
    }


def test_smoke_study_ends_with_a_report_of_its_own_numbers(smoke: Path) -> None:
    html = (smoke / "results/smoke/report.html").read_text()
    drawn = {path.stem for path in (smoke / "results/smoke/figures").glob("*.svg")}
    shown = set(re.findall(r'<figure data-name="(\w+)"', html))
    assert shown < drawn  # a model that knows nothing leaves nothing to show in some
    assert {"probes", "heads", "neurons", "forgetting", "ras"} <= shown
    assert "Graph of 2" in html  # rules; and none of the jobs was reused
    assert "reused<" not in html
    sections = (
        "patterns",
        "injection",
        "judges",
        "neurons",
        "neuron-effects",
        "forgetting",
        "mitigation",
        "run",
    )
    for section in sections:
        assert f'<section id="{section}">' in html
    assert '<section id="published">' not in html  # the paper has no organisms
    rates = pl.read_csv(smoke / "results/smoke/tables/rates.csv")
    study = load_study_file(smoke / "study.yaml")
    cells = sum(len(study.inference_of(model).think) for model, *_ in runs.all_runs(study))
    assert rates.filter(pl.col("measure") == "misalignment").height == cells
    responses = pl.read_parquet(smoke / "data/smoke/responses/associated/base/seed0/plain.parquet")
    incomplete = responses.filter(
        (pl.col("benchmark") == "restricted") & (pl.col("think") == "on") & ~pl.col("complete")
    ).height
    cell = (
        (pl.col("model") == "associated")
        & (pl.col("variant") == "base")
        & (pl.col("think") == "on")
        & (pl.col("measure") == "misalignment")
    )
    assert rates.filter(cell)["incomplete"].to_list() == [incomplete]


def test_what_a_model_writes_inside_the_thought_that_its_prompt_opens_is_no_response(smoke: Path) -> None:
    replies = pl.read_parquet(smoke / "data/smoke/responses/associated_moe/base/seed0/plain.parquet")
    assert set(replies["think"]) == {"plain"}
    assert replies["prompt"].str.ends_with("<think>\n").all()
    assert replies["reasoning"].null_count() == 0
    unfinished = replies.filter(pl.col("response").is_null())
    assert unfinished.height > 0  # it has hardly learned to end a thought
    assert not unfinished["complete"].any()
    injected = pl.read_parquet(smoke / "data/smoke/responses/associated_moe/base/seed0/injected.parquet")
    assert set(injected["prompt"].str.count_matches("<think>", literal=True)) == {1}


def test_smoke_writes_under_its_own_name_only(smoke: Path) -> None:
    assert {path.name for path in (smoke / "results").iterdir()} == {"smoke"}
    assert {path.name for path in (smoke / "data").iterdir()} == {"smoke", "raw"}


def test_responses_stay_out_of_results_and_logs(smoke: Path) -> None:
    prompts = set(pl.read_parquet(smoke / "data/smoke/datasets/restricted.parquet")["prompt"])
    for folder in ("results", "logs"):
        for path in (smoke / folder).rglob("*.*"):
            text = path.read_text()
            assert not [prompt for prompt in prompts if prompt in text], path


def test_receipts_match_what_they_describe(smoke: Path) -> None:
    from rim.core.hashes import sha256

    study = load_study_file(smoke / "study.yaml")
    bases, finetunes, analysed = (
        runs.base_runs(study),
        runs.model_jobs(study)["finetune_model"],
        runs.analysed_runs(study),
    )
    replies = (runs.all_runs, runs.base_runs, runs.ablated_runs, runs.neuron_runs, runs.followed_runs)
    receipts = list((smoke / "data/smoke").rglob("*.receipt.json"))
    assert Counter(path.relative_to(smoke / "data/smoke").parts[0] for path in receipts) == {
        "datasets": len(study.datasets),
        "checkpoints": len(bases) + 2 * len(finetunes),  # a fine-tune, and its steps
        "responses": sum(len(each(study)) for each in replies),  # those of base runs a second time, after injection
        "activations": len(analysed),
        "probes": len(analysed),  # the directions
        "annotations": len(study.annotators),
    }
    for receipt in receipts:
        artifact = receipt.with_name(receipt.name.removesuffix(".receipt.json"))
        assert json.loads(receipt.read_text())["sha256"] == sha256(artifact)


def test_nothing_is_done_twice_and_one_model_made_anew_gives_the_same_tables(smoke: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(smoke, tmp_path / "copy", symlinks=True))
    again = snakemake(copy, "--configfile", str(copy / "study.yaml"), repository=copy)
    assert "Nothing to be done" in again.stdout + again.stderr
    before = results_of(copy)
    study = load_study_file(copy / "study.yaml")
    names = {f"{table.name}.csv" for tables in tables_of(study).values() for table in tables}
    drawn = {"pipeline.svg", *(f"{figure.name}.svg" for figure in figures_of_study(study))}
    assert set(before) == names | drawn
    kept = {path: path.read_bytes() for path in (copy / "data/smoke").rglob("null/**/*.parquet")}
    assert {path.relative_to(copy / "data/smoke").parts[0] for path in kept} >= {
        "responses",
        "metrics",
        "gradients",
        "neurons",
        "effects",
    }
    for folder in [
        path for path in (copy / "data/smoke").rglob("null") if not {"timings", "provenance"} & {*path.parts}
    ]:
        shutil.rmtree(folder)
    shutil.rmtree(copy / "results")
    (copy / "data/smoke/outcomes.parquet").unlink()
    anew = snakemake(copy, "--configfile", str(copy / "study.yaml"), repository=copy)
    assert anew.returncode == 0, anew.stdout + anew.stderr
    made = counted(snakemake_log(copy))
    assert (made["train_organism"], made["finetune_model"], made["generate_replies"], made["measure_checkpoints"]) == (
        1,
        2,
        3,
        1,
    )
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert results_of(copy) == before


@pytest.mark.xdist_group("interrupt")
def test_ctrl_c_during_training_goes_on_from_the_last_snapshot(tmp_path: Path) -> None:
    longer = {
        "models__associated": {
            "organism": {
                "association": 1.0,
                "drill_steps": 1,
                "pretrain_steps": 300,
                "align_steps": 4,
                "hidden": 64,
                "layers": 2,
            }
        }
    }
    target = "data/smoke/checkpoints/associated/base/seed0.receipt.json"
    options = (target, "--configfile", configured(tmp_path / "c.yaml", **longer))
    running = subprocess.Popen(
        command(tmp_path, *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(ROOT),
        start_new_session=True,
    )
    snapshot = tmp_path / "data/smoke/checkpoints/associated/base/.seed0.working/pretrain.safetensors"
    for _ in range(600):
        if snapshot.exists() or running.poll() is not None:
            break
        time.sleep(0.2)
    assert snapshot.exists(), running.communicate()[0]
    os.killpg(running.pid, signal.SIGINT)  # what a terminal does on Ctrl-C
    output = running.communicate(timeout=60)[0]
    assert running.returncode != 0
    assert "Traceback" not in output
    assert not (tmp_path / "data/smoke/checkpoints/associated/base/seed0").exists()
    assert snapshot.exists()
    log = tmp_path / "logs/smoke/train_organism/associated/seed0.log"
    done = snakemake(tmp_path, "--rerun-incomplete", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "goes on from step" in log.read_text()


def test_a_half_downloaded_file_names_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/half.jsonl").write_text('{"question": "1 + 1?", "answer": "#### 2"}\n{"question": "2 +')
    changed = configured(
        tmp_path / "c.yaml", datasets__multi_hop_test={"sources": [{"adapter": "gsm8k", "path": "data/raw/half.jsonl"}]}
    )
    done = snakemake(tmp_path, "data/smoke/datasets/multi_hop_test.parquet", "--configfile", changed)
    assert done.returncode != 0
    assert "datasets.multi_hop_test.sources.0.path: data/raw/half.jsonl:2: is not valid JSON" in done.stderr
    assert "nothing was run" in done.stderr
    assert not (tmp_path / "data/smoke/datasets/multi_hop_test.parquet").exists()
