"""Claims: in how many organisms each claim of the paper is borne out.

In: tables of results. Out: the table of results `claim_verdicts`.
"""

from rim.results.verdicts import TABLES_READ


rule judge_claims:
    input:
        tables=[table_path(name) for name in TABLES_READ if table_path(name) in ALL_TABLES],
    output:
        tables_by("judge_claims"),
    log:
        logs("judge_claims"),
    benchmark:
        timings("judge_claims")
    conda:
        CORE_ENV
    params:
        code=code("judge_claims", CORE_ENV),
        job=job("judge_claims", {"study": SUMMARIZED, "folder": TABLE_FOLDER}),
    shell:
        step("judge_claims")
