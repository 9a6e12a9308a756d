# Figures and tables: one executed notebook per experiment, and a target by its name.

FORMATS = (".pdf", ".png", ".svg")
TABLE_FORMATS = (".csv", ".md", ".tex")
CAPTIONS = Path(workflow.basedir) / "report"


def figure_stems(experiment):
    names = CONFIG.experiments[experiment].expand("figures", experiment)
    return [f"{FIGURES}/{name}" for name in names]


def table_stems(experiment):
    names = CONFIG.experiments[experiment].expand("tables", experiment)
    return [f"{RESULTS}/tables/{name}" for name in names]


def products(experiment):
    """Return every figure, table and executed notebook of an experiment."""
    return [
        *(stem + end for stem in figure_stems(experiment) for end in FORMATS),
        *(stem + end for stem in table_stems(experiment) for end in TABLE_FORMATS),
        f"{RESULTS}/notebooks/{experiment}.html",
    ]


def notebook_of(experiment):
    return CONFIG.experiments[experiment].notebook or experiment


def reported(paths, experiment, kind):
    """Return the paths as entries of the report, with their caption."""
    caption = CAPTIONS / f"{notebook_of(experiment)}.rst"
    if kind == "tables" or not caption.exists():
        caption = CAPTIONS / f"{kind}.rst"
    entries = []
    for path in paths:
        labels = {"name": Path(path).stem, "kind": kind}
        category = CONFIG.experiments[experiment].title
        entry = report(path, caption=str(caption), category=category, labels=labels)
        entries.append(entry)
    return entries


def notebook_parameters(experiment):
    """Return the parameters of an experiment's notebook, as papermill takes them."""
    block = CONFIG.experiments[experiment]
    return json.dumps(
        {
            "experiment": experiment,
            "title": block.title,
            "tidy": f"{RESULTS}/tidy/{experiment}",
            "figures": FIGURES,
            "tables": f"{RESULTS}/tables",
            "comparisons": [comparison.model_dump() for comparison in block.comparisons],
        }
    )


for experiment in CONFIG.experiments:

    rule:
        name:
            f"draw_{experiment}"
        input:
            tidy=expand(f"{RESULTS}/tidy/{experiment}/{{table}}.csv", table=TABLES),
            notebook=from_here(REPOSITORY / "notebooks" / f"{notebook_of(experiment)}.ipynb"),
            sources=sources("analysis"),
        output:
            reported([f"{stem}.png" for stem in figure_stems(experiment)], experiment, "figures"),
            reported([f"{stem}.csv" for stem in table_stems(experiment)], experiment, "tables"),
            [stem + end for stem in figure_stems(experiment) for end in FORMATS if end != ".png"],
            [stem + end for stem in table_stems(experiment) for end in TABLE_FORMATS if end != ".csv"],
            html=f"{RESULTS}/notebooks/{experiment}.html",
        log:
            # A log outlives its job: the executed notebook shows which cell failed.
            notebook=f"{RESULTS}/notebooks/{experiment}.ipynb",
            text=f"{RESULTS}/logs/draw/{experiment}.log",
        benchmark:
            f"{RESULTS}/benchmarks/draw/{experiment}.tsv"
        params:
            values=notebook_parameters(experiment),
        conda:
            ENVIRONMENT
        shell:
            "papermill {input.notebook:q} {log.notebook:q} --parameters_yaml {params.values:q}"
            " --kernel python3 --no-progress-bar > {log.text:q} 2>&1"
            " && jupyter nbconvert --to html {log.notebook:q} --output-dir $(dirname {output.html:q})"
            " --output $(basename {output.html:q}) >> {log.text:q} 2>&1"

    rule:
        name:
            experiment
        localrule: True
        input:
            products(experiment),
