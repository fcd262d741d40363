"""Where every artifact lies, and which tables and figures a study has."""

from rim.report.figures import catalogue as figure_catalogue
from rim.results import catalogue as table_catalogue

NAME = STUDY.study
MAIN_JUDGE = runs.main_judge(STUDY)
RUN = "{model}/{variant}/seed{seed}"
RESULTS = f"results/{NAME}"
TABLE_FOLDER, FIGURE_FOLDER = f"{RESULTS}/tables", f"{RESULTS}/figures"
TIMING = f"data/timings/{NAME}"
REQUESTS = f"data/requests/{NAME}"

DATASET = f"data/datasets/{NAME}/{{dataset}}.parquet"
FETCHED = f"data/models/{NAME}/{{model}}.json"
CHECKPOINT = f"data/checkpoints/{NAME}/{RUN}"
ORGANISM = CHECKPOINT.replace("{variant}", BASE)
REPLIES = ("plain", "injected", "without_heads", "without_neurons", "checkpoints")
RESPONSES = f"data/responses/{NAME}/{RUN}/{{replies}}.parquet"
JUDGEMENTS = f"data/judgements/{NAME}/{{judge}}/{RUN}/{{replies}}.parquet"
GRADES = f"data/grades/{NAME}/{RUN}/{{replies}}.parquet"
OUTCOMES = f"data/outcomes/{NAME}.parquet"
ANNOTATIONS = f"data/annotations/{NAME}/{{annotator}}.parquet"
REWRITES = f"data/rewrites/{NAME}/{{rewrite}}.parquet"
ACTIVATIONS = f"data/activations/{NAME}/{RUN}"
PROBES = f"data/probes/{NAME}/{RUN}"
HEADS = f"data/heads/{NAME}/{RUN}.parquet"
EFFECTS = f"data/effects/{NAME}/{RUN}.parquet"
NEURONS = f"data/neurons/{NAME}/{RUN}.parquet"
CURVES = f"data/neurons/{NAME}/{RUN}.curve.parquet"
METRICS = f"data/metrics/{NAME}/{RUN}.parquet"


def responses(replies):
    """The replies of the model as it is ("plain") or of another kind."""
    return RESPONSES.replace("{replies}", replies)


def judgements(replies, judge=MAIN_JUDGE):
    """What a judge says of such replies."""
    return JUDGEMENTS.replace("{replies}", replies).replace("{judge}", judge)


def grades(replies):
    """Whether such replies to maths problems are right."""
    return GRADES.replace("{replies}", replies)


def logs(rule, job="all"):
    """The log of a job."""
    return f"logs/{NAME}/{rule}/{job}.log"


def timings(rule, job="all"):
    """Snakemake's benchmark file of a job."""
    return f"{TIMING}/{rule}/{job}.tsv"
