"""The runs of a study, (model, variant, seed), and which of them each analysis looks at.

The rules and the bill both ask here, so that what is planned is what is counted.
"""

from __future__ import annotations

from rim.config.study import Study
from rim.settings.common import BASE
from rim.settings.forgetting import Forgetting
from rim.settings.inference import Benchmark
from rim.settings.jobs import Lesson, Run
from rim.settings.mechanism import Mechanism


def judges_alike(study: Study) -> list[list[str]]:
    """The names of judges that differ in nothing but their wording and which variants they judge, two or more together."""
    groups: dict[str, list[str]] = {}
    for name, judge in study.judges.items():
        rest = judge.model_copy(update={"wording": "usual", "variants": None})
        groups.setdefault(rest.model_dump_json(), []).append(name)
    return [names for names in groups.values() if len({study.judges[name].wording for name in names}) > 1]


def main_judge(study: Study) -> str:
    """The judge that the report goes by: the first."""
    return next(iter(study.judges))


def all_runs(study: Study) -> list[Run]:
    """Every variant of every model, the base among them, in every seed."""
    return [
        (model, variant, seed)
        for model in study.models
        for variant in [BASE, *study.variants_of(model)]
        for seed in study.seeds_of(model, variant)
    ]


def base_runs(study: Study) -> list[Run]:
    """The models before fine-tuning."""
    return [run for run in all_runs(study) if run[1] == BASE]


def tuned_runs(study: Study) -> list[Run]:
    """The models after fine-tuning."""
    return [run for run in all_runs(study) if run[1] != BASE]


def base_run(study: Study, run: Run) -> Run:
    """The model before fine-tuning that a run began from; a hub model's is that of the first seed."""
    model, _, seed = run
    seeds = study.seeds_of(model, BASE)
    return model, BASE, seed if seed in seeds else seeds[0]


def tried_runs(study: Study) -> list[Run]:
    """Every hub model before fine-tuning, once."""
    return [(name, BASE, study.seeds_of(name, BASE)[0]) for name, model in study.models.items() if model.hub]


def judged_runs(study: Study, judge: str) -> list[Run]:
    """The runs that a judge looks at; the main judge looks at all of them."""
    only = study.judges[judge].variants
    return [run for run in all_runs(study) if only is None or run[1] in only]


def analysed_runs(study: Study) -> list[Run]:
    """The runs whose activations are read."""
    if study.mechanism is None:
        return []
    only = study.mechanism.variants
    return [run for run in all_runs(study) if only is None or run[1] in only]


def head_runs(study: Study) -> list[Run]:
    """Those of them whose attention can be compared between thinking on and off at an empty think span."""
    return [
        run
        for run in analysed_runs(study)
        if {"on", "off"} <= set(study.inference_of(run[0]).think) and study.models[run[0]].think_switch == "template"
    ]


def ablated_runs(study: Study) -> list[Run]:
    """The runs on which heads are ablated."""
    return [run for run in head_runs(study) if study.mechanism and run[1] in study.mechanism.ablate]


def ablated_benchmarks(study: Study, section: Mechanism | Forgetting) -> dict[str, Benchmark]:
    """The benchmarks that are asked where a section of the study ablates heads or neurons."""
    only = section.benchmarks
    return {name: benchmark for name, benchmark in study.benchmarks.items() if only is None or name in only}


def neuron_runs(study: Study) -> list[Run]:
    """The models in which safety-critical neurons are looked for."""
    return base_runs(study) if study.forgetting else []


def counterfactual_runs(study: Study) -> list[Run]:
    """The models that answer requests with intent spelled out."""
    return base_runs(study) if study.forgetting and study.forgetting.asks_counterfactuals else []


def followed_runs(study: Study) -> list[Run]:
    """The fine-tunes whose checkpoints are measured."""
    return [run for run in all_runs(study) if study.forgetting and run[1] in study.forgetting.variants]


def gradient_runs(study: Study) -> list[Run]:
    """The models whose gradients are measured before fine-tunes of theirs are followed."""
    asked = study.forgetting and study.forgetting.gradients and study.forgetting.neuron_type == "neurons"
    return list(dict.fromkeys(base_run(study, run) for run in followed_runs(study))) if asked else []


def lesson(study: Study, variant: str) -> Lesson:
    """What a variant is trained on."""
    return study.variants[variant].dataset, study.variants[variant].rows


def lessons(study: Study, model: str) -> list[Lesson]:
    """What the fine-tunes of a model that are followed are trained on, each once."""
    return list(dict.fromkeys(lesson(study, variant) for name, variant, _ in followed_runs(study) if name == model))


def scored_runs(study: Study) -> list[Run]:
    """The organisms with a graft, in which every method that looks for safety is graded by what is known."""
    rule = study.forgetting
    asked = rule and rule.neuron_type == "neurons" and rule.replies == "shared" and study.measured("false_refusal")
    return [run for run in base_runs(study) if asked and study.models[run[0]].graft]


def model_jobs(study: Study) -> dict[str, list[Run]]:
    """Rules that load a model -> the runs of their jobs."""
    jobs = {
        "try_model": tried_runs(study),
        "finetune_model": tuned_runs(study),
        "generate_replies": all_runs(study),
        "inject_patterns": base_runs(study) if study.injection else [],
        "cache_activations": analysed_runs(study),
        "measure_head_effects": ablated_runs(study),
        "ablate_heads": ablated_runs(study),
        "answer_counterfactuals": counterfactual_runs(study),
        "find_safety_neurons": neuron_runs(study),
        "ablate_neurons": neuron_runs(study),
        "measure_gradients": gradient_runs(study),
        "measure_checkpoints": followed_runs(study),
        "score_parts": scored_runs(study),
    }
    return {rule: runs for rule, runs in jobs.items() if runs}
