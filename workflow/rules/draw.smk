# Figures and tables: one executed notebook per experiment, and a target by its name.

for experiment in CONFIG.experiments:

    rule:
        name:
            f"draw_{experiment}"
        input:
            tidy=expand(f"{RESULTS}/tidy/{experiment}/{{table}}.csv", table=TABLES),
            notebook=notebook_of(experiment),
            sources=sources("analysis"),
        output:
            reported(figure_paths(experiment, [".png"]), experiment, "figures"),
            reported(table_paths(experiment, [".csv"]), experiment, "tables"),
            figure_paths(experiment, [".pdf", ".svg"]),
            table_paths(experiment, [".md", ".tex"]),
            html=f"{RESULTS}/notebooks/{experiment}.html",
        log:
            # A log outlives its job: the executed notebook shows which cell failed.
            notebook=f"{RESULTS}/notebooks/{experiment}.ipynb",
            text=f"{RESULTS}/logs/draw/{experiment}.log",
        benchmark:
            f"{RESULTS}/benchmarks/draw/{experiment}.tsv"
        conda:
            ENVIRONMENT
        params:
            values=notebook_parameters(experiment),
            folder=subpath(output.html, parent=True),
            page=subpath(output.html, basename=True),
        shell:
            "papermill {input.notebook:q} {log.notebook:q} --parameters_yaml {params.values:q}"
            " --kernel python3 --no-progress-bar > {log.text:q} 2>&1"
            " && jupyter nbconvert --to html {log.notebook:q} --output-dir {params.folder:q}"
            " --output {params.page:q} >> {log.text:q} 2>&1"

    rule:
        name:
            experiment
        input:
            products(experiment),
        localrule: True
