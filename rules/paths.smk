"""Where every artifact lies, and which tables and figures a study has."""

NAME = STUDY.study
MAIN_JUDGE = next(iter(STUDY.judges))
RUN = "{model}/{variant}/seed{seed}"
LOG = f"logs/{NAME}"
TIMING = f"data/timings/{NAME}"
RESULTS = f"results/{NAME}"

DATASET = f"data/datasets/{NAME}/{{dataset}}.parquet"
FETCHED = f"data/models/{NAME}/{{model}}.json"
CHECKPOINT = f"data/checkpoints/{NAME}/{RUN}"
ORGANISM = CHECKPOINT.replace("{variant}", BASE)
RESPONSES = f"data/responses/{NAME}/{RUN}.parquet"
JUDGEMENTS = f"data/judgements/{NAME}/{{judge}}/{RUN}.parquet"
GRADES = f"data/grades/{NAME}/{RUN}.parquet"
OUTCOMES = f"data/outcomes/{NAME}.parquet"
REQUESTS = f"data/requests/{NAME}"
ANNOTATIONS = f"data/annotations/{NAME}/{{annotator}}.parquet"
REWRITES = f"data/rewrites/{NAME}/{{rewrite}}.parquet"
INJECTED_RESPONSES = RESPONSES.replace("{variant}", INJECTED)
ACTIVATIONS = f"data/activations/{NAME}/{RUN}"
PROBES = f"data/probes/{NAME}/{RUN}"
HEADS = f"data/heads/{NAME}/{RUN}.parquet"
EFFECTS = f"data/effects/{NAME}/{RUN}.parquet"
NEURONS = f"data/neurons/{NAME}/{RUN}"
METRICS = f"data/metrics/{NAME}/{RUN}.parquet"


def edited(kind):
    """Replies of an edited model or of checkpoints on the way, with what they are judged and graded to be."""
    tables = {"responses": RESPONSES, "judgements": JUDGEMENTS, "grades": GRADES}
    return {name: path.replace(".parquet", f".{kind}.parquet") for name, path in tables.items()}


ABLATED = edited("ablated")
WITHOUT_NEURONS = edited("neurons")
STEPS = edited("steps")


def tables(*names):
    return expand(f"{RESULTS}/tables/{{name}}.csv", name=names)


def figures(*names):
    return expand(f"{RESULTS}/figures/{{name}}.svg", name=names)


TABLES = tables("rates", "think_effects", "finetune_effects", "mitigation_effects", "pair_effects")
JUDGE_TABLES = tables("threshold_sweep", "judge_agreement")
PATTERN_TABLES = tables(
    "pattern_shares", "annotator_agreement", "arm_divergence", "rewrite_outcomes", "injection_effects"
)
MECHANISM_TABLES = tables("probes", "probe_scores", "heads", "head_effects", "ablation_effects")
FORGETTING_TABLES = tables(
    "neuron_layers",
    "neuron_stability",
    "neuron_effects",
    "neuron_effect_summary",
    "checkpoints",
    "checkpoint_rates",
    "correlations",
    "correlations_over_runs",
    "early_warnings",
    "forgetting_predictions",
)
ALL_TABLES = [
    *TABLES,
    *JUDGE_TABLES,
    *(PATTERN_TABLES if STUDY.has_patterns else []),
    *(MECHANISM_TABLES if STUDY.mechanism else []),
    *(FORGETTING_TABLES if STUDY.forgetting else []),
]
FIGURES = [
    *figures("overview", "think"),
    *(figures("finetune") if STUDY.variants else []),
    *(figures("mitigation") if STUDY.has_mitigations else []),
    *(figures("pair") if STUDY.pairs else []),
    *(figures("injection") if STUDY.injection else []),
    *(figures("probes", "probe_areas", "heads", "ablations") if STUDY.mechanism else []),
    *(
        figures("neurons", "neuron_layers", "neuron_effects", "forgetting", "ras", "correlations")
        if STUDY.forgetting
        else []
    ),
]

SUBJECTS = {  # category of Snakemake's own report, and name of its caption -> tables and figures
    "inference": "rates think_effects overview think",
    "patterns": "pattern_shares annotator_agreement arm_divergence rewrite_outcomes injection_effects injection",
    "fine-tuning": "finetune_effects pair_effects mitigation_effects finetune pair mitigation",
    "probes": "probes probe_scores probe_areas",
    "heads": "heads head_effects ablation_effects ablations",
    "neurons": "neuron_layers neuron_stability neuron_effects neuron_effect_summary neurons",
    "forgetting": "checkpoints checkpoint_rates correlations correlations_over_runs early_warnings forgetting_predictions forgetting ras",
    "judges": "threshold_sweep judge_agreement",
}


def shown(paths):
    """Outputs marked for Snakemake's own report (`snakemake --report`)."""
    subjects = {name: subject for subject, names in SUBJECTS.items() for name in names.split()}

    def marks(path):
        subject = subjects[path.stem]
        caption = f"../workflow/report/{subject}.rst"
        return dict(category=subject, subcategory=path.parent.name, labels={"name": path.stem}, caption=caption)

    return [report(path, **marks(Path(path))) for path in paths]
