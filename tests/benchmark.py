"""Measure what the README's table says: `make benchmark`, on an otherwise idle machine.

Times are wall clock; CPU time is that of all processes of a run. The share outside model work is estimated as the CPU
time of starting Python and importing what each rule imports, once per job, plus Snakemake itself.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
TRAINING = (
    "import torch, peft; from transformers import AutoModelForCausalLM, Qwen3ForCausalLM, PreTrainedTokenizerFast"
)
IMPORTS = {
    "prepare_dataset": "import rim.steps.prepare_dataset",
    "train_organism": "import rim.steps.train_organism; " + TRAINING,
    "finetune": "import rim.steps.finetune; from transformers import Trainer; " + TRAINING,
    "infer": "import rim.steps.infer; " + TRAINING,
    "judge_responses": "import rim.steps.judge_responses",
    "grade_answers": "import rim.steps.grade_answers, math_verify",
    "cache_activations": "import rim.steps.cache_activations; " + TRAINING,
    "fit_probes": "import rim.steps.fit_probes, safetensors.numpy",
    "find_refusal_heads": "import rim.steps.find_refusal_heads",
    "sweep_heads": "import rim.steps.sweep_heads; " + TRAINING,
    "ablate": "import rim.steps.ablate; " + TRAINING,
    "summarize_mechanism": "import rim.steps.summarize_mechanism, statsmodels.stats.multitest",
    "summarize": "import rim.steps.summarize, statsmodels.stats.multitest",
    "draw_figures": "import rim.steps.draw_figures, altair, vl_convert",
    "report": "import rim.steps.report, jinja2",
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


def main() -> None:
    print("| what | wall time, s | CPU time, s | notes |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        for study in ("smoke", "demo"):
            wall, cpu = run(snakemake(directory, study))
            peak = max(
                pl.read_csv(f, separator="\t")["max_rss"][0]
                for f in Path(directory, f"data/timings/{study}").rglob("*.tsv")
            )
            print(
                f"| {study} study from clean data | {wall:.0f} | {cpu:.0f} | peak {peak:.0f} MB per job |", flush=True
            )
        idle = min(run(snakemake(directory, "demo")) for _ in range(3))
        print(f"| demo, nothing to do | {idle[0]:.1f} | {idle[1]:.1f} | |")
        jobs = {rule: len(list(Path(directory, "data/timings/demo", rule).rglob("*.tsv"))) or 1 for rule in IMPORTS}
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
