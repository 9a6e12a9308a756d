# Figures and tables: one executed notebook per experiment or benchmark, and a target by its name.

for block in CONFIG.drawn():

    rule:
        name:
            f"draw_{block}"
        input:
            data=LAYOUT.drawn_from(block),
            notebook=LAYOUT.notebook_of(block),
        output:
            reported(block, "figures", ".png"),
            reported(block, "tables", ".html"),
            LAYOUT.paths_of(block, "figures", [".pdf", ".svg"]),
            LAYOUT.paths_of(block, "tables", [".csv", ".md", ".tex"]),
            html=f"{RESULTS}/notebooks/{block}.html",
        log:
            # A log outlives its job: the executed notebook shows which cell failed.
            notebook=f"{RESULTS}/notebooks/{block}.ipynb",
            text=f"{RESULTS}/logs/draw/{block}.log",
        benchmark:
            f"{RESULTS}/benchmarks/draw/{block}.tsv"
        priority: 2  # as soon as its tables are there
        group:
            submitted_as("draw")
        conda:
            ENVIRONMENT
        resources:
            **needs("draw"),
        params:
            file=LAYOUT.parameters_file(block),
            values=json.dumps(LAYOUT.notebook_parameters(block)),
            folder=subpath(output.html, parent=True),
            part=f".{block}.part.html",
            sources=stage_digest("analysis"),
        shell:
            DRAW

    rule:
        name:
            block
        input:
            LAYOUT.products(block),
        localrule: True
