"""Results: tables, figures and the report.

In: judgements and grades. Out: data/{study}/outcomes.parquet (what each reply counts as), and in git
results/{study}/metrics/*.json, results/{study}/tables/*.csv, results/{study}/figures/*.svg, results/{study}/report.html.
"""

ALL_RUNS = runs.all_runs(STUDY)


rule summarize_replies:
    input:
        judgements=per_run(judgements("plain"), ALL_RUNS),
        grades=per_run(grades("plain"), ALL_RUNS) if STUDY.measured("accuracy") else [],
    output:
        tables_by("summarize_replies"),
        outcomes=OUTCOMES,
        metrics=[f"{RESULTS}/metrics/{model}.json" for model in dict.fromkeys(model for model, *_ in ALL_RUNS)],
    log:
        logs("summarize_replies"),
    benchmark:
        timings("summarize_replies")
    conda:
        CORE_ENV
    params:
        code=code("summarize_replies", CORE_ENV),
        job=job("summarize_replies", {"study": SUMMARIZED, "runs": ALL_RUNS, "folder": TABLE_FOLDER}),
    shell:
        step("summarize_replies")


ASKED_HARM = STUDY.measured("misalignment")
HARM_RECEIPTS = benchmark_receipts(ASKED_HARM)
ALL_REPLIES = [receipt(path) for path in per_run(responses("plain"), ALL_RUNS)]


rule explain_replies:
    input:
        artifacts_of(*HARM_RECEIPTS, *ALL_REPLIES),
        judgements=per_run(judgements("plain"), ALL_RUNS),
        datasets=HARM_RECEIPTS,
        replies=ALL_REPLIES,
    output:
        tables_by("explain_replies"),
    log:
        logs("explain_replies"),
    benchmark:
        timings("explain_replies")
    conda:
        CORE_ENV
    params:
        code=code("explain_replies", CORE_ENV),
        job=job(
            "explain_replies",
            {"study": SUMMARIZED, "runs": ALL_RUNS, "benchmarks": ASKED_HARM, "folder": TABLE_FOLDER},
        ),
    shell:
        step("explain_replies")


DRAWN = {name for each in figure_catalogue.figures_of_study(STUDY) for name in each.tables}


DRAWING = {
    "names": [each.name for each in figure_catalogue.figures_of_study(STUDY)],
    "labels": names_of(STUDY),
    "tables": TABLE_FOLDER,
    "figures": FIGURE_FOLDER,
}


rule draw_figures:
    input:
        [table_path(name) for name in sorted(DRAWN)],
    output:
        figures(),
    log:
        logs("draw_figures"),
    benchmark:
        timings("draw_figures")
    conda:
        CORE_ENV
    params:
        code=code("draw_figures", CORE_ENV),
        job=job("draw_figures", DRAWING),
    shell:
        step("draw_figures")


MANIFESTS = [receipt(FETCHED.format(model=name)) for name, model in STUDY.models.items() if model.hub]


rule write_report:
    input:
        ALL_TABLES,
        FIGURES,
        artifacts_of(*MANIFESTS),
        manifests=MANIFESTS,
    output:
        report=report(f"{RESULTS}/report.html", category="report", caption="../workflow/report/report.rst"),
        pipeline=figure_path("pipeline"),
    log:
        logs("write_report"),
    conda:
        CORE_ENV
    params:
        code=code("write_report", CORE_ENV),
        files=[sha256(path) for path in report_files()],
        job=job(
            "write_report",
            {
                "study": STUDY,
                "tables": TABLE_FOLDER,
                "figures": FIGURE_FOLDER,
                "timings": TIMING,
                "requests": REQUESTS,
                "records": RECORDS,
                "run_logs": ".snakemake/log",
            },
        ),
    shell:
        step("write_report")
