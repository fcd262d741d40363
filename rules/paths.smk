"""Where every artifact lies, and which tables and figures a study has.

All that is heavy lies under data/{study}, so that a pull of one study cannot touch another.
"""

from rim.report.figures import catalogue as figure_catalogue
from rim.report.labels import names_of
from rim.results import catalogue as table_catalogue

NAME = STUDY.study
MAIN_JUDGE = runs.main_judge(STUDY)
RUN = "{model}/{variant}/seed{seed}"
DATA, RESULTS = f"data/{NAME}", f"results/{NAME}"
RECORDS = str(records_of(NAME))
TABLE_FOLDER, FIGURE_FOLDER = f"{RESULTS}/tables", f"{RESULTS}/figures"
TIMING = f"{DATA}/timings"
REQUESTS = f"{DATA}/requests"

DATASET = f"{DATA}/datasets/{{dataset}}.parquet"
FETCHED = f"{DATA}/models/{{model}}.json"
CHECKPOINT = f"{DATA}/checkpoints/{RUN}"
ORGANISM = CHECKPOINT.replace("{variant}", BASE)
REPLIES = ("plain", "injected", "without_heads", "without_neurons", "counterfactuals", "checkpoints")
TRIAL_OF_MODEL = f"{DATA}/trials/models/{RUN}.json"
TRIAL_OF_INSTRUMENT = f"{DATA}/trials/{{role}}/{{name}}.json"
RESPONSES = f"{DATA}/responses/{RUN}/{{replies}}.parquet"
JUDGEMENTS = f"{DATA}/judgements/{{judge}}/{RUN}/{{replies}}.parquet"
GRADES = f"{DATA}/grades/{RUN}/{{replies}}.parquet"
OUTCOMES = f"{DATA}/outcomes.parquet"
ANNOTATIONS = f"{DATA}/annotations/{{annotator}}.parquet"
REWRITES = f"{DATA}/rewrites/{{rewrite}}.parquet"
ACTIVATIONS = f"{DATA}/activations/{RUN}"
PROBES = f"{DATA}/probes/{RUN}"
HEADS = f"{DATA}/heads/{RUN}.parquet"
ATTENTION = f"{DATA}/heads/{RUN}.attention.parquet"
EFFECTS = f"{DATA}/effects/{RUN}.parquet"
EFFECT_SKEWNESS = f"{DATA}/effects/{RUN}.skewness.parquet"
NEURONS = f"{DATA}/neurons/{RUN}.parquet"
CURVES = f"{DATA}/neurons/{RUN}.curve.parquet"
PART_SCORES = f"{DATA}/part_scores/{RUN}.parquet"
GRADIENTS = f"{DATA}/gradients/{RUN}.parquet"
METRICS = f"{DATA}/metrics/{RUN}.parquet"


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


def table_path(name):
    return f"{TABLE_FOLDER}/{name}.csv"


def figure_path(name):
    return f"{FIGURE_FOLDER}/{name}.svg"


def for_snakemake_report(path, declared):
    """An output marked for Snakemake's own report (`snakemake --report`); `declared` is its table or figure."""
    return report(
        path,
        category=declared.subject,
        subcategory=Path(path).parent.name,
        labels={"name": declared.name},
        caption=f"../workflow/report/{declared.subject}.rst",
    )


def tables_by(step):
    """The tables that a summary step writes."""
    return [for_snakemake_report(table_path(each.name), each) for each in table_catalogue.TABLES[step]]


def figures():
    """The figures of the study."""
    drawn = figure_catalogue.figures_of_study(STUDY)
    return [for_snakemake_report(figure_path(each.name), each) for each in drawn]


ALL_TABLES = [table_path(each.name) for tables in table_catalogue.tables_of(STUDY).values() for each in tables]
FIGURES = [figure_path(each.name) for each in figure_catalogue.figures_of_study(STUDY)]
