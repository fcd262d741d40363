"""What is wrong with the data of a study, told before its first job: a test for each mistake that users make."""

import csv
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rim.config.load import load_study, load_study_file
from rim.config.study import Study
from rim.core import contracts, tables
from rim.core.errors import UserError
from rim.core.receipts import receipt_of, write_receipt
from rim.data.prepare import prepare
from rim.models.benchmarks import read_questions
from rim.preflight.datasets import findings
from rim.preflight.findings import Finding, in_order
from tests.conftest import ROOT

Mapping = dict[str, Any]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def requests(path: str, count: int = 50, categories: int = 5, first: int = 0, unsafe: bool = True) -> Mapping:
    """The source of a file as XSTest's, with so many made-up requests."""
    with Path(path).open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["prompt", "type", "label"])
        kind = "unsafe" if unsafe else "safe"
        rows.writerows([f"request {n}", f"c{n % categories}", kind] for n in range(first, first + count))
    return {"adapter": "xstest", "path": path}


def problems(path: str, count: int = 64, first: int = 0) -> Mapping:
    """The source of a file as GSM8K's."""
    rows = [
        {"question": f"What is {n} + 1?", "answer": f"It is one more. #### {n + 1}"}
        for n in range(first, first + count)
    ]
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"adapter": "gsm8k", "path": path}


MECHANISM = {"harmful": "unsafe", "harmless": "safe"}
FORGETTING = {"harmful": "unsafe", "task": "maths", "pairs": 30}


def mapping(**changes: Any) -> Mapping:
    """A study with nothing wrong: sixty requests of each kind, maths to ask, other maths to train on."""
    datasets = {
        "unsafe": [requests("unsafe.csv", 60)],
        "safe": [requests("safe.csv", 60, first=1000, unsafe=False)],
        "maths": [problems("maths.jsonl", 50)],
        "training": [problems("training.jsonl", 64, first=1000)],
    }
    whole: Mapping = {
        "study": "own",
        "title": "A study of one's own",
        "datasets": {name: {"sources": sources} for name, sources in datasets.items()},
        "models": {"mine": {"hub": "some/model"}},
        "variants": {"tuned": {"dataset": "training"}},
        "benchmarks": {
            "unsafe": {"dataset": "unsafe", "measure": "misalignment"},
            "safe": {"dataset": "safe", "measure": "false_refusal"},
            "maths": {"dataset": "maths", "measure": "accuracy"},
        },
        "judges": {"prefix": {"kind": "refusal_prefix"}},
    }
    for path, value in changes.items():
        part = whole
        *parents, last = path.split("__")
        for key in parents:
            part = part.setdefault(key, {})
        part[last] = value
    return whole


def study(**changes: Any) -> Study:
    """That study with other values, keyed by paths with __ between the keys."""
    return load_study(mapping(**changes))


def finished(rule: str, job: str) -> bool:
    """Of a study of which no job is to run."""
    return False


def told(**changes: Any) -> list[str]:
    return [str(each) for each in in_order(findings(study(**changes), finished))]


def source(**keys: Any) -> list[Mapping]:
    return [keys]


def prepared(name: str, of: Study) -> Path:
    """The receipt of a dataset, made as the workflow does."""
    path = Path(f"data/{of.study}/datasets/{name}.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    table, facts = prepare(name, of.datasets[name])
    tables.write(table, contracts.DATASET, path)
    write_receipt(path, **facts)
    return receipt_of(path)


def test_nothing_is_said_of_a_study_that_can_run() -> None:
    assert told() == []
    assert told(mechanism=MECHANISM, forgetting=FORGETTING) == []


# Files


def test_absent_file_names_the_key_the_file_and_what_to_do() -> None:
    (line,) = told(datasets__unsafe__sources=source(adapter="advbench", path="data/raw/mine.csv"))
    assert line.startswith("datasets.unsafe.sources.0.path: data/raw/mine.csv: cannot be read (No such file")
    assert "put the file there or correct the source's 'path'" in line


def test_all_absent_files_are_told_at_once() -> None:
    sources = [
        *source(adapter="advbench", path="one.csv"),
        requests("here.csv"),
        *source(adapter="advbench", path="two.csv"),
    ]
    lines = told(
        datasets__unsafe__sources=sources, datasets__maths__sources=source(adapter="gsm8k", path="three.jsonl")
    )
    keys = [line.partition(": ")[0] for line in lines]
    assert keys == ["datasets.unsafe.sources.0.path", "datasets.unsafe.sources.2.path", "datasets.maths.sources.0.path"]


def test_a_file_is_not_needed_when_the_dataset_is_prepared_or_nothing_uses_it() -> None:
    own = study()
    prepared("unsafe", own)
    Path("unsafe.csv").unlink()
    assert list(findings(own, finished)) == []
    (line,) = findings(own, lambda rule, job: (rule, job) == ("prepare_dataset", "unsafe"))
    assert line.where == "datasets.unsafe.sources.0.path"
    assert told(datasets__idle={"sources": source(adapter="advbench", path="gone.csv")}) == []


def test_a_missing_column_is_told_with_those_that_are_expected() -> None:
    Path("mine.csv").write_text("text,topic\nHello?,greeting\n")
    (line,) = told(datasets__unsafe__sources=source(adapter="jailbreakbench", path="mine.csv"))
    assert line.startswith("datasets.unsafe.sources.0.path: mine.csv: row 1 does not look like jailbreakbench")
    assert line.endswith("adapter 'jailbreakbench' reads `Goal`, `Category`")


@pytest.mark.parametrize("content", ["", "prompt,type\n"])
def test_an_empty_file_holds_no_rows(content: str) -> None:
    Path("mine.csv").write_text(content)
    (line,) = told(datasets__unsafe__sources=source(adapter="xstest", path="mine.csv"))
    assert line.startswith("datasets.unsafe.sources.0.path: mine.csv: holds no rows")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"value": 2}, "datasets.maths: dataset 'maths': holds a value that is no text ("),
        ("half of a pair: \ud800", "datasets.maths.sources.0.path: odd.json:1: is not valid JSON (half of a character"),
    ],
)
def test_a_value_that_is_no_text_is_a_line(answer: Any, words: str) -> None:
    rows = [{"problem": f"{n}", "solution": "So.", "answer": answer, "subject": "sums"} for n in range(20)]
    Path("odd.json").write_text(json.dumps(rows))
    (line,) = told(datasets__maths__sources=source(adapter="math500", path="odd.json"))
    assert line.startswith(words)


def test_a_folder_is_no_file_and_a_file_no_folder() -> None:
    Path("folder").mkdir()
    (line,) = told(datasets__unsafe__sources=source(adapter="xstest", path="folder"))
    assert "datasets.unsafe.sources.0.path: folder: cannot be read (Is a directory)" in line
    (line,) = told(datasets__unsafe__sources=source(adapter="hexphi", path="maths.jsonl"))
    assert "datasets.unsafe.sources.0.path: maths.jsonl: is not a folder" in line


def test_local_files_beside_a_hub_dataset_are_read_too() -> None:
    sources = [*source(adapter="jailbreakbench"), *source(adapter="advbench", path="gone.csv")]
    (line,) = told(datasets__unsafe__sources=sources)
    assert line.startswith("datasets.unsafe.sources.1.path: gone.csv: cannot be read")


# Rows


def test_so_many_rows_are_enough_for_ablations() -> None:
    """Of the first 20 by id all were calibration rows."""
    assert (
        told(mechanism=MECHANISM, benchmarks__unsafe__rows=20, benchmarks__safe__rows=20, benchmarks__maths__rows=20)
        == []
    )


def test_rows_that_starve_a_step_are_refused_with_a_number_that_is_enough() -> None:
    few: Mapping = {"mechanism": MECHANISM, "benchmarks__unsafe__rows": 2}
    line = told(**few)[0]
    assert line.startswith("benchmarks.unsafe.rows: of 2 rows 1 are of the calibration split, and probes and heads")
    assert "at least 2; ask 4 or more" in line
    assert not any("benchmarks.unsafe.rows" in line for line in told(**{**few, "benchmarks__unsafe__rows": 4}))


@pytest.mark.parametrize("pairs", range(1, 36))
def test_the_number_of_rows_that_is_advised_is_enough(pairs: int) -> None:
    wanted: Mapping = {"forgetting": {**FORGETTING, "pairs": pairs}}
    lines = told(**wanted, benchmarks__unsafe__rows=1)
    (advised,) = [line for line in lines if "forgetting.pairs" in line and "benchmarks.unsafe.rows" in line] or [""]
    if advised:
        rows = int(advised.rpartition("ask ")[2].split()[0])
        assert not any("forgetting.pairs" in line for line in told(**wanted, benchmarks__unsafe__rows=rows))
    else:
        assert pairs == 1


@pytest.mark.parametrize(
    ("split", "lacking", "analyses"),
    [
        ("calibration", "evaluation", {"mechanism": MECHANISM}),
        ("calibration", "evaluation", {"forgetting": FORGETTING}),
        ("evaluation", "calibration", {"forgetting": FORGETTING}),
        ("evaluation", "calibration", {"mechanism": {**MECHANISM, "ablate": []}}),
    ],
)
@pytest.mark.parametrize("sources", [None, [{"adapter": "jailbreakbench"}]], ids=["local", "hub"])
def test_a_benchmark_of_one_split_starves_what_needs_the_other(
    split: str, lacking: str, analyses: Mapping, sources: list[Mapping] | None
) -> None:
    changes = {"datasets__unsafe__sources": sources} if sources else {}
    lines = told(benchmarks__unsafe__split=split, **analyses, **changes)
    assert lines
    assert all(
        line.startswith(f"benchmarks.unsafe.split: '{split}' leaves no rows of the {lacking} split") for line in lines
    )
    assert len(lines) == 1


def test_ablation_needs_evaluation_rows_of_every_benchmark() -> None:
    (line,) = told(mechanism=MECHANISM, benchmarks__maths__split="calibration")
    assert "benchmarks.maths.split" in line
    assert "the ablation of heads" in line
    assert told(mechanism={**MECHANISM, "ablate": []}, benchmarks__maths__split="calibration") == []


@pytest.mark.parametrize(("share", "lacking"), [(1.0, "evaluation"), (0.0, "calibration")])
def test_a_share_that_leaves_a_split_empty(share: float, lacking: str) -> None:
    (line,) = told(mechanism=MECHANISM, datasets__unsafe__calibration=share)
    assert line.startswith(f"datasets.unsafe.calibration: {share:g} leaves no rows of the {lacking} split")
    assert told(datasets__unsafe__calibration=share) == []  # which matters to no benchmark by itself


def test_a_split_that_has_no_rows_at_all() -> None:
    (line,) = told(datasets__unsafe__calibration=1.0, benchmarks__unsafe__split="evaluation")
    assert line.startswith("benchmarks.unsafe: dataset unsafe has no safety rows in split 'evaluation'")


def test_requests_each_of_a_category_of_its_own_cannot_be_split() -> None:
    (line,) = told(mechanism=MECHANISM, datasets__unsafe__sources=[requests("many.csv", 50, categories=50)])
    assert line.startswith(
        "datasets.unsafe: of 50 safety rows 0 are of the evaluation split (each of the 50 categories"
    )
    assert line.endswith("bring more rows, or fewer categories")


def test_neurons_need_as_many_pairs_as_are_asked_for() -> None:
    (line,) = told(forgetting=FORGETTING, datasets__unsafe__sources=[requests("few.csv", 40)])
    assert line.startswith("datasets.unsafe: of 40 safety rows 25 are of the calibration split")
    assert line.endswith("and forgetting.pairs asks for at least 30; bring more rows, or lower it")


def test_neurons_that_are_found_on_all_rows_need_no_split() -> None:
    whole: Mapping = {"forgetting": {**FORGETTING, "held_out": False}}
    few: Mapping = {"datasets__unsafe__sources": [requests("few.csv", 40)]}
    assert told(**whole, **few) == []
    assert told(**whole, benchmarks__maths__split="calibration") == []
    (line,) = told(**whole, benchmarks__unsafe__rows=20)
    assert (
        line == "benchmarks.unsafe: asks 20 rows, and forgetting.pairs asks for at least 30; ask more rows, or lower it"
    )


def test_a_hub_dataset_is_as_large_as_is_published_which_is_a_warning() -> None:
    hub: Mapping = {"datasets__unsafe__sources": [{"adapter": "jailbreakbench"}]}
    assert told(forgetting=FORGETTING, **hub) == []
    (line,) = told(forgetting={**FORGETTING, "pairs": 80}, **hub)
    assert line.startswith("warning: datasets.unsafe: of 100 safety rows 60 are of the calibration split")
    (line,) = told(forgetting=FORGETTING, benchmarks__unsafe__rows=40, **hub)
    assert line.startswith("warning: benchmarks.unsafe.rows: of 40 rows 24 are of the calibration split")
    assert (
        told(
            forgetting={**FORGETTING, "pairs": 80},
            datasets__unsafe__sources=[{"adapter": "jailbreakbench", "hub": "my/own"}],
        )
        == []
    )


def test_a_hub_dataset_that_an_earlier_run_read_is_counted() -> None:
    own = study(datasets__unsafe__sources=[requests("fewer.csv", 40)])
    prepared("unsafe", own)
    (line,) = told(forgetting=FORGETTING, datasets__unsafe__sources=[{"adapter": "jailbreakbench"}])
    assert line.startswith("warning: datasets.unsafe: of 40 safety rows 25 are of the calibration split")


@pytest.mark.parametrize("seed", range(40))
def test_what_stops_the_ablations_is_refused_and_nothing_else(seed: int) -> None:
    """Against the code by which the step reads its rows."""
    rng = Random(seed)
    count, categories = rng.randint(1, 12), rng.randint(1, 12)
    changes = {
        "datasets__unsafe": {
            "sources": [requests("own.csv", count, categories)],
            "calibration": rng.choice([0.0, 0.5, 0.6, 1.0]),
        },
        "benchmarks__unsafe__rows": rng.choice([None, 1, 2, 3, 8]),
        "benchmarks__unsafe__split": rng.choice(["all", "all", "calibration", "evaluation"]),
    }
    own = study(forgetting={**FORGETTING, "harmful": "other", "pairs": 1}, **changes, **other_requests())
    refused = [each for each in findings(own, finished) if each.level == "error"]
    receipts = [prepared(benchmark.dataset, own) for benchmark in own.benchmarks.values()]
    try:
        read_questions(own.benchmarks, receipts, 10, evaluation_only=True)
    except UserError:
        assert refused
    else:
        assert refused == []


def other_requests() -> Mapping:
    """A second benchmark of requests, for what needs more of them than there are."""
    return {
        "datasets__other": {"sources": [requests("other.csv", 60, first=5000)]},
        "benchmarks__other": {"dataset": "other", "measure": "misalignment"},
    }


# Training


def test_rows_without_answers_cannot_be_trained_on() -> None:
    mixed = [problems("some.jsonl", 60), requests("others.csv", 10, first=9000)]
    (line,) = told(
        datasets__training__sources=mixed,
        benchmarks__maths__dataset="maths",
        datasets__maths__sources=[problems("held_out.jsonl", 50, first=700)],
    )
    assert line.startswith("variants.tuned.dataset: 10 of the 70 rows of 'training' have no answer to train on")


def test_less_than_a_batch_to_train_on() -> None:
    (line,) = told(datasets__training__sources=[problems("few.jsonl", 20, first=1000)])
    assert line.startswith("warning: variants.tuned: trains on 20 rows, less than one batch")
    (line,) = told(variants__tuned__rows=8)
    assert line.startswith("warning: variants.tuned: trains on 8 rows")


def test_a_rewrite_needs_chains_of_thought() -> None:
    rows = [{"query": f"{n} + 1", "response": str(n + 1)} for n in range(900, 940)]
    Path("plain.json").write_text(json.dumps(rows))
    (line,) = told(**rewriting([{"adapter": "math401", "path": "plain.json"}]))
    assert line.startswith("rewrites.arms.dataset: 'plain' has no chains of thought to rewrite")


def rewriting(sources: list[Mapping]) -> Mapping:
    """A rewrite of a dataset with these sources."""
    return {
        "datasets__plain": {"sources": sources},
        "endpoints__local": {"model": "writer", "base_url": "http://localhost:1"},
        "annotators__checker": {"kind": "checklist", "endpoint": "local"},
        "rewrites__arms": {"dataset": "plain", "endpoint": "local", "annotator": "checker"},
    }


def test_a_mitigation_needs_requests_to_refuse() -> None:
    kept = {"dataset": "training", "mitigation": {"kind": "refusals", "dataset": "kept"}}
    sources = [requests("harmless.csv", 20, first=7000, unsafe=False)]
    (line,) = told(variants__kept=kept, datasets__kept={"sources": sources})
    assert line.startswith("variants.kept.mitigation.dataset: 'kept' has no safety rows")


# Trained on and asked


def test_training_and_testing_on_one_dataset_is_refused() -> None:
    (line,) = told(variants__tuned__dataset="maths")
    assert (
        line
        == "benchmarks.maths.dataset: 50 of the 50 prompts that it asks are what variant tuned is trained on; ask rows that are held out"
    )


def test_the_same_file_under_another_name_is_one_dataset() -> None:
    lines = told(
        datasets__training__sources=[problems("maths.jsonl", 50)], variants__more={"dataset": "training", "epochs": 1}
    )
    (line,) = [line for line in lines if not line.startswith("warning")]
    assert line.startswith("benchmarks.maths.dataset: 50 of the 50 prompts")
    assert "variants tuned, more are trained on" in line


def test_a_copy_that_holds_all_that_is_asked_is_refused() -> None:
    (line,) = told(datasets__training__sources=[problems("copy.jsonl", 80)])
    assert line.startswith("benchmarks.maths.dataset: 50 of the 50 prompts that it asks are what variant tuned")


def test_prompts_in_two_files_are_counted() -> None:
    (line,) = told(datasets__training__sources=[problems("overlapping.jsonl", 64, first=38)])
    assert line.startswith(
        "warning: benchmarks.maths.dataset: 12 of the 50 prompts that it asks are what variant tuned is trained on"
    )


def test_only_the_rows_that_are_trained_on_and_asked_count() -> None:
    assert (
        told(datasets__training__sources=[problems("overlapping.jsonl", 64, first=-32)], variants__tuned__rows=32) == []
    )


def test_a_mitigation_is_trained_on_too() -> None:
    kept = {"dataset": "training", "mitigation": {"kind": "refusals", "dataset": "kept"}}
    (line,) = told(variants__kept=kept, datasets__kept={"sources": [requests("kept.csv", 20, first=55)]})
    assert line.startswith("warning: benchmarks.unsafe.dataset: 5 of the 60 prompts that it asks are what variant kept")


@pytest.mark.parametrize(
    ("trained", "asked", "same"),
    [
        ({"adapter": "gsm8k"}, {"adapter": "gsm8k", "split": "train"}, True),
        ({"adapter": "gsm8k"}, {"adapter": "gsm8k", "hub": "openai/gsm8k", "revision": "main"}, True),
        ({"adapter": "gsm8k"}, {"adapter": "gsm8k", "split": "test"}, False),
        ({"adapter": "gsm8k"}, {"adapter": "multiarith"}, False),
    ],
)
def test_hub_datasets_are_compared_by_name_and_split(trained: Mapping, asked: Mapping, same: bool) -> None:
    lines = told(datasets__training__sources=[trained], datasets__maths__sources=[asked])
    refusal = "benchmarks.maths.dataset: it asks what variant tuned is trained on; ask rows that are held out"
    assert lines == ([refusal] if same else [])


def test_arms_of_a_rewrite_have_the_prompts_of_what_was_rewritten() -> None:
    def arm(name: str) -> Mapping:
        made = {"adapter": "rewritten", "rewrite": "arms", "arm": name}
        return {"datasets__training__sources": [made], **rewriting([problems("maths.jsonl", 50)])}

    (line,) = told(**arm("target"))
    assert line.startswith("benchmarks.maths.dataset: it asks what variant tuned is trained on")
    assert told(**arm("literal")) == []


def test_a_dataset_that_takes_rows_of_another_has_its_prompts() -> None:
    taken = {"adapter": "prepared", "dataset": "maths", "share": 0.8}
    (line,) = told(datasets__training__sources=[taken])
    assert line.startswith(
        "benchmarks.maths.dataset: 40 of the 50 prompts that it asks are what variant tuned is trained on"
    )
    (line,) = told(datasets__training__sources=[{**taken, "share": 0.1}, problems("others.jsonl", 64, first=1000)])
    assert line.startswith("benchmarks.maths.dataset: 5 of the 50 prompts")
    (line,) = told(datasets__few={"sources": [taken]}, benchmarks__maths__dataset="few", datasets__training__sources=[problems("maths.jsonl", 50)])  # fmt: skip
    assert line.startswith("benchmarks.maths.dataset: 40 of the 40 prompts")


def test_a_mitigation_that_takes_what_is_asked_is_told() -> None:
    refused = {"adapter": "prepared", "dataset": "unsafe", "share": 1.0}
    lines = told(
        datasets__refused={"sources": [refused]},
        variants__kept={"dataset": "training", "mitigation": {"kind": "refusals", "dataset": "refused"}},
    )
    assert any(line.startswith("benchmarks.unsafe.dataset: 60 of the 60 prompts") for line in lines)


def test_rows_of_one_file_that_are_not_the_same_are_no_overlap() -> None:
    rows = [f'{{"p": "question {n}", "a": "{n}", "kind": "{"m" if n % 2 else "s"}"}}' for n in range(200)]
    Path("both.jsonl").write_text("\n".join(rows))
    table = {"adapter": "table", "path": "both.jsonl", "columns": {"prompt": "p", "answer": "a"}}
    by = {kind: {**table, "kind_by": {"column": "kind", "values": {kind: meant}}} for kind, meant in (("m", "math"), ("s", "safety"))}  # fmt: skip
    assert (
        told(
            datasets__whole={"sources": [by["m"]]},
            datasets__training__sources=[{"adapter": "prepared", "dataset": "whole", "share": 0.5}],
            datasets__unsafe__sources=[by["s"]],
        )
        == []
    )


def test_a_prompt_is_not_both_harmful_and_harmless() -> None:
    (line,) = told(datasets__safe__sources=[requests("overlapping.csv", 60, first=57, unsafe=False)])
    assert line.startswith(
        "warning: benchmarks.unsafe: asks 3 prompts as harmful that benchmark 'safe' asks as harmless"
    )


# The studies that are shipped


@pytest.mark.parametrize("name", ["demo", "smoke", "replication"])
def test_of_the_studies_of_organisms_nothing_is_said(name: str) -> None:
    assert list(findings(load_study_file(ROOT / f"workflow/config/{name}.yaml"), finished)) == []


def test_of_the_papers_study_nothing_is_said_but_the_files_that_users_bring() -> None:
    own = load_study_file(ROOT / "workflow/config/paper.yaml")
    absent = [each.where for each in findings(own, finished)]
    assert absent == ["datasets.hexphi.sources.0.path", "datasets.math401.sources.0.path"]
    hexphi = Path("data/raw/hexphi")
    hexphi.mkdir(parents=True)
    for category in range(1, 11):
        (hexphi / f"category_{category}.csv").write_text("".join(f"request {category} {n}\n" for n in range(30)))
    rows = [{"query": f"{n} + 1", "response": str(n + 1)} for n in range(401)]
    Path("data/raw/math401.json").write_text(json.dumps(rows))
    assert list(findings(own, finished)) == []


def test_findings_are_lines() -> None:
    found = list(
        findings(study(mechanism=MECHANISM, benchmarks__unsafe__rows=1, variants__tuned__dataset="maths"), finished)
    )
    assert len(found) >= 3
    assert all(isinstance(each, Finding) and "\n" not in str(each) and "; " in each.what for each in found)
