# The ledger: which claims of the papers hold for this config's results, and by which rule.


CLAIM_PRODUCTS = []

if CLAIMS is not None:

    CLAIM_FIGURES = [f"{FIGURES}/claims{end}" for end in FIGURE_FORMATS]
    CLAIM_PAGE = f"{RESULTS}/notebooks/claims.html"
    CLAIM_PRODUCTS = [
        *(f"{RESULTS}/claims{end}" for end in TABLE_FORMATS),
        *CLAIM_FIGURES,
        CLAIM_PAGE,
    ]
    CAPTION = str(CAPTIONS / "claims.rst")

    rule ledger:
        input:
            tables=claim_tables(),
        output:
            report(
                f"{RESULTS}/claims.html",
                caption=CAPTION,
                category="claims: Which claims hold?",
                labels={"result": "table claims"},
            ),
            multiext(f"{RESULTS}/claims", ".csv", ".md", ".tex"),
        log:
            f"{RESULTS}/logs/ledger.log",
        benchmark:
            f"{RESULTS}/benchmarks/ledger.tsv"
        group:
            submitted_as("claims")
        conda:
            ENVIRONMENT
        resources:
            **needs("ledger"),
        params:
            config=KEPT,
            claims=from_here(REPOSITORY / CONFIG.claims),
            read=CLAIMS.model_dump_json(exclude_defaults=True),
            folders=claim_folders(),
            only=claimed(),
            stem=subpath(output[0], strip_suffix=".html"),
            sources=stage_digest("claims"),
        shell:
            "fastff claims --config {params.config:q} --claims {params.claims:q}"
            " --tables {params.folders:q} --only {params.only:q} --output {params.stem:q}"
            " 2> {log:q}"

    rule draw_claims:
        input:
            ledger=f"{RESULTS}/claims.csv",
            notebook=from_here(REPOSITORY / "notebooks" / "claims.ipynb"),
        output:
            report(
                f"{FIGURES}/claims.png",
                caption=CAPTION,
                category="claims: Which claims hold?",
                labels={"result": "figure claims"},
            ),
            multiext(f"{FIGURES}/claims", ".pdf", ".svg"),
            html=CLAIM_PAGE,
        log:
            notebook=f"{RESULTS}/notebooks/claims.ipynb",
            text=f"{RESULTS}/logs/draw/claims.log",
        benchmark:
            f"{RESULTS}/benchmarks/draw/claims.tsv"
        group:
            submitted_as("claims")
        conda:
            ENVIRONMENT
        resources:
            **needs("draw"),
        params:
            file=file_of("claims"),
            values=json.dumps(claim_parameters()),
            folder=subpath(output.html, parent=True),
            part=".claims.part.html",
            sources=stage_digest("analysis"),
        shell:
            DRAW

    rule claims:
        input:
            CLAIM_PRODUCTS,
        localrule: True
