"""Results: tables, figures and the report.

In: judgements and grades. Out: results/{study}/tables/*.csv, results/{study}/figures/*.svg, results/{study}/report.html.
"""

TABLES = expand(f"{RESULTS}/tables/{{name}}.csv", name=["rates", "think_effects", "finetune_effects", "pair_effects"])
FIGURES = expand(
    f"{RESULTS}/figures/{{name}}.svg",
    name=["think", *(["finetune"] if STUDY.variants else []), *(["pair"] if STUDY.pairs else [])],
)
MAIN_JUDGE = next(iter(STUDY.judges))


def of_every_run(pattern):
    return [pattern.format(model=model, variant=variant, seed=seed, judge=MAIN_JUDGE) for model, variant, seed in runs()]


rule summarize:
    input:
        judgements=of_every_run(JUDGEMENTS),
        grades=of_every_run(GRADES) if STUDY.measured("accuracy") else [],
    output:
        TABLES,
    params:
        settings=as_json({"study": STUDY, "runs": runs()}),
        folder=f"{RESULTS}/tables",
    log:
        f"{LOG}/summarize.log",
    benchmark:
        f"{TIMING}/summarize/summarize.tsv"
    conda:
        CORE_ENV
    shell:
        "rim summarize --log {log} --settings {params.settings:q} --judgements {input.judgements} --grades {input.grades}"
        " --output {params.folder}"


rule draw_figures:
    input:
        TABLES,
    output:
        FIGURES,
    params:
        tables=f"{RESULTS}/tables",
        folder=f"{RESULTS}/figures",
    log:
        f"{LOG}/draw_figures.log",
    benchmark:
        f"{TIMING}/draw_figures/draw_figures.tsv"
    conda:
        CORE_ENV
    shell:
        "rim draw_figures --log {log} --tables {params.tables} --output {params.folder}"


rule report:
    input:
        TABLES,
        FIGURES,
    output:
        f"{RESULTS}/report.html",
    params:
        settings=as_json(STUDY),
        tables=f"{RESULTS}/tables",
        figures=f"{RESULTS}/figures",
        timings=TIMING,
    log:
        f"{LOG}/report.log",
    conda:
        CORE_ENV
    shell:
        "rim report --log {log} --settings {params.settings:q} --tables {params.tables} --figures {params.figures}"
        " --timings {params.timings} --output {output}"
