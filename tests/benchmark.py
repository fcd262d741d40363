"""Measure what the table of workflow/docs/performance.md says: `make benchmark`, on an otherwise idle machine.

`python tests/benchmark.py language-models` measures only what needs no study. Times are wall clock; CPU time is that of all processes of a run. The share outside model work is estimated as the CPU
time of starting Python and importing what each rule imports, once per job, plus Snakemake itself.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from rim.core.conditions import NOTHING_DONE
from rim.core.contracts import RESPONSE
from rim.instruments.annotate import annotate
from rim.instruments.judges import judge_responses
from rim.instruments.llm.client import Client
from rim.settings.instruments import Annotator, Endpoint, Judge

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
TRAINING = (
    "import torch, peft; from transformers import AutoModelForCausalLM, Qwen3ForCausalLM, PreTrainedTokenizerFast"
)
IMPORTS = {
    "prepare_dataset": "import rim.steps.prepare_dataset",
    "train_organism": "import rim.steps.train_organism; " + TRAINING,
    "finetune_model": "import rim.steps.finetune_model; from transformers import Trainer; " + TRAINING,
    "generate_replies": "import rim.steps.generate_replies; " + TRAINING,
    "judge_responses": "import rim.steps.judge_responses",
    "inject_patterns": "import rim.steps.inject_patterns; " + TRAINING,
    "annotate_patterns": "import rim.steps.annotate_patterns",
    "compare_judges": "import rim.steps.compare_judges, statsmodels.stats.inter_rater",
    "summarize_patterns": "import rim.steps.summarize_patterns",
    "grade_answers": "import rim.steps.grade_answers, math_verify",
    "cache_activations": "import rim.steps.cache_activations; " + TRAINING,
    "fit_probes": "import rim.steps.fit_probes, safetensors.numpy",
    "find_refusal_heads": "import rim.steps.find_refusal_heads",
    "measure_head_effects": "import rim.steps.measure_head_effects; " + TRAINING,
    "ablate_heads": "import rim.steps.ablate_heads; " + TRAINING,
    "find_safety_neurons": "import rim.steps.find_safety_neurons; " + TRAINING,
    "ablate_neurons": "import rim.steps.ablate_neurons; " + TRAINING,
    "measure_gradients": "import rim.steps.measure_gradients; " + TRAINING,
    "measure_checkpoints": "import rim.steps.measure_checkpoints; " + TRAINING,
    "summarize_forgetting": "import rim.steps.summarize_forgetting",
    "summarize_mechanism": "import rim.steps.summarize_mechanism",
    "summarize_replies": "import rim.steps.summarize_replies",
    "draw_figures": "import rim.steps.draw_figures, altair, vl_convert",
    "write_report": "import rim.steps.write_report, jinja2",
}


def run(command: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a command and all it starts."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - begun, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def snakemake(directory: str, study: str, *options: str) -> list[str]:
    config = str(ROOT / f"workflow/config/{study}.yaml")
    return [
        str(BIN / "snakemake"),
        "-s",
        str(ROOT / "Snakefile"),
        "-d",
        directory,
        "-c",
        "2",
        *options,
        "--configfile",
        config,
    ]


def judge_by_language_model() -> None:
    """A thousand judgements by a server double that takes 200 ms for each, 32 at a time; then all of them again."""
    double = [sys.executable, str(ROOT / "tests/language_model.py"), "--delay", "0.2"]
    with subprocess.Popen(double, stdout=subprocess.PIPE, text=True) as server, tempfile.TemporaryDirectory() as folder:
        assert server.stdout is not None
        endpoint = Endpoint(model="double", base_url=server.stdout.readline().strip(), concurrency=32)
        row = {"benchmark": "b", "think": "on", "seed": 0, **NOTHING_DONE.columns, "prompt": "x", "reasoning": None}
        row |= {"finish_reason": "stop", "completion_tokens": 1, "complete": True}
        rows = [{**row, "id": str(i), "response": f"sure, number {i}."} for i in range(1000)]
        responses = pl.DataFrame(rows, schema=dict(RESPONSE))
        for note in ("asked", "read from the store"):
            client = Client("double", endpoint, Path(folder, "store.jsonl"))
            begun, used = time.monotonic(), time.process_time()
            judge_responses("llm", Judge(kind="rubric", endpoint="double"), responses, client)
            wall, cpu, ideal = time.monotonic() - begun, time.process_time() - used, -(-1000 // 32) * 0.2
            print(f"| 1000 judgements, {note} | {wall:.2f} | {cpu:.2f} | ideal when asked {ideal:.1f} s |", flush=True)
        server.terminate()


def annotate_gsm8k(file: Path) -> None:
    """The deterministic annotator on GSM8K's training solutions, from a local copy."""
    texts = [json.loads(line)["answer"] for line in file.read_text().splitlines()]
    begun, used = time.monotonic(), time.process_time()
    annotate(Annotator(kind="organism_phrases"), None, texts, "benchmark")
    wall, cpu = time.monotonic() - begun, time.process_time() - used
    print(f"| {len(texts)} chains of thought annotated | {wall:.2f} | {cpu:.2f} | |", flush=True)


def main() -> None:
    print("| what | wall time, s | CPU time, s | notes |\n|---|---|---|---|", flush=True)
    judge_by_language_model()
    if (gsm8k := ROOT.parent / "shared/data/gsm8k/train.jsonl").exists():
        annotate_gsm8k(gsm8k)
    if sys.argv[1:] == ["language-models"]:
        return
    with tempfile.TemporaryDirectory() as directory:
        for study in ("smoke", "demo"):
            wall, cpu = run(snakemake(directory, study))
            peak = max(
                pl.read_csv(f, separator="\t")["max_rss"][0]
                for f in Path(directory, f"data/{study}/timings").rglob("*.tsv")
            )
            print(
                f"| {study} study from clean data | {wall:.0f} | {cpu:.0f} | peak {peak:.0f} MB per job |", flush=True
            )
        idle = min(run(snakemake(directory, "demo")) for _ in range(3))
        print(f"| demo, nothing to do | {idle[0]:.1f} | {idle[1]:.1f} | |")
        jobs = {rule: len(list(Path(directory, "data/demo/timings", rule).rglob("*.tsv"))) or 1 for rule in IMPORTS}
    imports = {rule: min(run([sys.executable, "-c", code])[1] for _ in range(2)) for rule, code in IMPORTS.items()}
    outside = idle[1] + sum(imports[rule] * jobs[rule] for rule in IMPORTS)
    print(
        f"| outside model work in the demo | | {outside:.0f} | {outside / cpu:.0%} of its CPU time, {sum(jobs.values())} jobs |"
    )
    with tempfile.TemporaryDirectory() as directory:
        wall, used = run(snakemake(directory, "paper", "--dry-run"))
        print(f"| dry run of the paper's study | {wall:.1f} | {used:.1f} | |")


if __name__ == "__main__":
    main()
