# The site: pages that show all of this run, in a browser, without a server or a network.


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
    localrule: True
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
        captions=[from_here(path) for path in sorted(CAPTIONS.glob("*.rst"))],
        documents=[from_here(path) for path in [REPOSITORY / "README.md", *documents()]],
        config=rules.rule_graph.output.config,
    output:
        directory(f"{RESULTS}/site"),
    log:
        f"{RESULTS}/logs/site.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        plan=lambda wildcards: json.dumps(site_plan()),
        sources=stage_digest("site"),
    shell:
        "fastff site --configfile {input.config:q} --plan {params.plan:q}"
        " --output {output:q} 2> {log:q}"
