# The site: pages that show all of this run, in a browser, without a server or a network.

import yaml


def drawn_block(name, caption, figures, tables, data):
    """Return what has been drawn of a block, as `fastff site` takes it."""
    return {
        "caption": from_here(caption),
        "figures": figures,
        "tables": tables,
        "data": data,
        "notebook": f"{RESULTS}/notebooks/{name}.ipynb",
    }


def site_plan():
    """Return the files of this run that the site shows, as `fastff site` takes them."""
    blocks = {
        name: drawn_block(
            name,
            caption_of(name, "figures"),
            figures=paths_of(name, "figures", [""]),
            tables=paths_of(name, "tables", [""]),
            data=drawn_from(name),
        )
        for name in CONFIG.drawn()
    }
    ledger = drawn_block(
        "claims",
        CAPTIONS / "claims.rst",
        figures=[f"{FIGURES}/claims"],
        tables=[f"{RESULTS}/claims"],
        data=[f"{RESULTS}/claims.csv"],
    )
    earlier = dict.fromkeys([CONFIG.tables_from, *CONFIG.benchmarks_from])
    return {
        "blocks": blocks,
        "ledger": ledger if CLAIMS is not None else None,
        "table_caption": from_here(CAPTIONS / "tables.rst"),
        "rule_graph": f"{RESULTS}/rule_graph.dot",
        "configfiles": [from_here(path) for path in workflow.configfiles],
        "changes": [f"{k}={v}" for k, v in workflow.config_settings.config.items()],
        "jobs": f"{RESULTS}/benchmarks",
        "datasets": [path for path in prepared_here() if path.endswith(".json")],
        "earlier": [from_here(REPOSITORY / folder) for folder in earlier if folder],
    }


def prepared_here():
    """Return the prepared files of all datasets that this run trains on."""
    if CONFIG.tables_from is not None:
        return []
    blocks = [*CONFIG.experiments.values(), *CONFIG.trained_benchmarks().values()]
    datasets = dict.fromkeys(block.dataset for block in blocks)
    return [path for dataset in datasets for path in prepared(dataset)]


rule rule_graph:
    input:
        workflow=[
            from_here(REPOSITORY / "workflow" / "Snakefile"),
            *map(from_here, sorted((REPOSITORY / "workflow").glob("rules/*.smk"))),
        ],
    output:
        config=f"{RESULTS}/config.yaml",
        graph=f"{RESULTS}/rule_graph.dot",
    log:
        f"{RESULTS}/logs/rule_graph.log",
    conda:
        ENVIRONMENT
    params:
        # with what was changed on the command line; a function, for Snakemake would fill in braces
        config=lambda wildcards: yaml.safe_dump(config, sort_keys=False),
    shell:
        "printf '%s' {params.config:q} > {output.config:q} 2> {log:q}"
        " && snakemake all --rulegraph dot --cores 1 --profile none --workflow-profile none"
        " --snakefile {input.workflow[0]:q} --configfile {output.config:q}"
        " > {output.graph:q} 2>> {log:q}"


rule site:
    input:
        [products(name) for name in CONFIG.drawn()],
        CLAIM_PRODUCTS,
        prepared_here(),
        rules.rule_graph.output.graph,
        captions=[
            from_here(path) for path in sorted(CAPTIONS.glob("*.rst"))
        ],
        config=rules.rule_graph.output.config,
        sources=sources("site"),
    output:
        directory(f"{RESULTS}/site"),
    log:
        f"{RESULTS}/logs/site.log",
    conda:
        ENVIRONMENT
    params:
        plan=lambda wildcards: json.dumps(site_plan()),
    shell:
        "fastff site --configfile {input.config:q} --plan {params.plan:q}"
        " --output {output:q} 2> {log:q}"
