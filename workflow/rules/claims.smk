# The ledger: which claims of the papers hold for this config's results, and by which rule.


if CLAIMS is not None:

    CAPTION = str(CAPTIONS / "claims.rst")

    rule ledger:
        input:
            tables=LAYOUT.claim_tables(),
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
            folders=LAYOUT.claim_folders(),
            only=LAYOUT.claimed(),
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
            report(
                f"{FIGURES}/claims_times.png",
                caption=CAPTION,
                category="claims: Which claims hold?",
                labels={"result": "figure claims_times"},
            ),
            multiext(f"{FIGURES}/claims", ".pdf", ".svg"),
            multiext(f"{FIGURES}/claims_times", ".pdf", ".svg"),
            html=f"{RESULTS}/notebooks/claims.html",
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
            file=LAYOUT.parameters_file("claims"),
            values=json.dumps(LAYOUT.claim_parameters()),
            folder=subpath(output.html, parent=True),
            part=".claims.part.html",
            sources=stage_digest("analysis"),
        shell:
            DRAW

    rule claims:
        input:
            LAYOUT.claim_products(),
        localrule: True
