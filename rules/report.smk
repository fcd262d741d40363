"""Results: tables, figures and the report.

In: judgements and grades. Out: data/outcomes/{study}.parquet (what each reply counts as), and in git
results/{study}/metrics.json, results/{study}/tables/*.csv, results/{study}/figures/*.svg, results/{study}/report.html.
"""


rule summarize:
    input:
        judgements=of_every_run(JUDGEMENTS),
        grades=of_every_run(GRADES) if STUDY.measured("accuracy") else [],
    output:
        tables=shown(TABLES),
        outcomes=OUTCOMES,
        metrics=f"{RESULTS}/metrics.json",
    log:
        f"{LOG}/summarize.log",
    benchmark:
        f"{TIMING}/summarize/summarize.tsv"
    conda:
        CORE_ENV
    params:
        code=code("summarize", CORE_ENV),
        settings=as_json({"study": STUDY, "runs": runs()}),
        folder=lambda w, output: str(Path(output.tables[0]).parent),
    shell:
        "rim summarize --log {log} --settings {params.settings:q} --judgements {input.judgements} --grades {input.grades}"
        " --output {params.folder} --outcomes {output.outcomes} --metrics {output.metrics}"


rule draw_figures:
    input:
        tables=[path for path in ALL_TABLES if path not in JUDGE_TABLES],
    output:
        shown(FIGURES),
    log:
        f"{LOG}/draw_figures.log",
    benchmark:
        f"{TIMING}/draw_figures/draw_figures.tsv"
    conda:
        CORE_ENV
    params:
        code=code("draw_figures", CORE_ENV),
        settings=as_json(
            {
                **{name: bool(getattr(STUDY, name)) for name in ("injection", "mechanism", "forgetting")},
                "labels": {name: variant.label or name for name, variant in STUDY.variants.items()},
            }
        ),
        tables=lambda w, input: str(Path(input.tables[0]).parent),
        folder=lambda w, output: str(Path(output[0]).parent),
    shell:
        "rim draw_figures --log {log} --settings {params.settings:q} --tables {params.tables} --output {params.folder}"


rule report:
    input:
        tables=ALL_TABLES,
        figures=FIGURES,
    output:
        report(f"{RESULTS}/report.html", category="report", caption="../workflow/report/report.rst"),
    log:
        f"{LOG}/report.log",
    conda:
        CORE_ENV
    params:
        code=code("report", CORE_ENV),
        files=[sha256(path) for path in report_files()],
        settings=as_json(STUDY),
        tables=lambda w, input: str(Path(input.tables[0]).parent),
        figures=lambda w, input: str(Path(input.figures[0]).parent),
        timings=TIMING,
        requests=REQUESTS,
        records="data/provenance",
        logs=".snakemake/log",
    shell:
        "rim report --log {log} --settings {params.settings:q} --tables {params.tables} --figures {params.figures}"
        " --timings {params.timings} --requests {params.requests} --records {params.records} --logs {params.logs} --output {output}"
